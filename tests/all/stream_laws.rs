//! The laws of orders, activity and metrics, over arbitrary small streams: in any order and any parts they
//! come to the same, and through the function to the brute-force truth.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};
use tidemark_local::delivery::chaotic;
use tidemark_local::feed::{Log, Record, logs_of, payload};
use tidemark_local::play::play;
use tidemark_model::fold::{Fold, effects, fold};
use tidemark_model::metric::{Admission, Point};
use tidemark_model::stream::STREAMS;
use tidemark_model::{Change, Key, Known, Map, Measures, Rows, Settings, State, Transition, Version, decode};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{SALES, aggregate, oracle, views};

/// The first ms of 2025.
const NEW_YEAR_MS: i64 = 1_735_689_600_000;
/// Stands for a large value that an update left as it was.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A stream's name, and a value that it carries.
type Sent = (&'static str, String);

fn values(sent: &[Sent]) -> impl Iterator<Item = &[u8]> {
    sent.iter().map(|(_, value)| value.as_bytes())
}

/// Which of the values come again, the very same, at the end.
fn again() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..6)
}

fn with_repeats(mut sent: Vec<Sent>, again: &[Index]) -> Vec<Sent> {
    if !sent.is_empty() {
        let repeats: Vec<Sent> = again.iter().map(|at| at.get(&sent).clone()).collect();
        sent.extend(repeats);
    }
    sent
}

/// One change of a row of the shop's database.
#[derive(Clone, Debug)]
struct Told {
    table: &'static str,
    id: i64,
    op: &'static str,
    /// Its place in the log, in streams that say so.
    lsn: i64,
    /// When it was written, in ms of the new year.
    at: i64,
    columns: Value,
}

impl Told {
    /// Of which row and how new it is; what shares that would be a tie.
    fn version(&self, logged: bool) -> (&'static str, i64, i64, i64) {
        (self.table, self.id, if logged { self.lsn } else { self.at }, self.at)
    }

    fn value(&self, logged: bool) -> String {
        let ms = NEW_YEAR_MS + self.at;
        let mut source = json!({"ts_ms": ms, "table": self.table});
        if logged {
            source["lsn"] = self.lsn.into();
        }
        let key = json!({"id": self.id});
        let mut image = self.columns.clone();
        image["id"] = self.id.into();
        let (before, after) = match self.op {
            "d" => (key, Value::Null),
            "u" => (key, image),
            _ => (Value::Null, image),
        };
        json!({"before": before, "after": after, "source": source, "op": self.op, "ts_ms": ms + 7}).to_string()
    }
}

fn told(table: &'static str, columns: impl Strategy<Value = Value>) -> impl Strategy<Value = Told> {
    // A row may be made, deleted and made again, and be read anew by a snapshot.
    let ops = select(vec!["c", "u", "u", "r", "d"]);
    (0_i64..4, ops, 0_i64..12, 0_i64..12, columns).prop_map(move |(id, op, lsn, at, columns)| Told {
        table,
        id,
        op,
        lsn,
        at,
        columns,
    })
}

fn order_columns() -> impl Strategy<Value = Value> {
    let customers = select(vec![json!(1), json!(2), json!("c#3"), Value::Null, json!(UNAVAILABLE)]);
    // A refund is a negative amount.
    let totals = ["0", "0.01", "136.19", "-136.19", "999999999999.99", UNAVAILABLE].map(Value::from).to_vec();
    let statuses = select(vec![json!("pending"), json!("paid"), json!("é#"), Value::Null, json!(UNAVAILABLE)]);
    let made_us = select(vec![-86_400_000_001_i64, -1, 0]);
    (customers, select(totals), statuses, made_us).prop_map(|(customer, total, status, made_us)| {
        let created_at = NEW_YEAR_MS * 1_000 + made_us;
        json!({"customer_id": customer, "total_amount": total, "status": status, "created_at": created_at})
    })
}

fn item_columns() -> impl Strategy<Value = Value> {
    let products = select(vec![json!(7), json!(8), json!("p%"), Value::Null, json!(UNAVAILABLE)]);
    let prices = select(vec![json!("0"), json!("2.50"), json!("33.333333333333"), Value::Null]);
    (products, select(vec![-2_i64, 0, 1, 20]), prices).prop_map(|(product, quantity, price)| {
        json!({"order_id": 1, "product_id": product, "quantity": quantity, "price": price})
    })
}

/// A few orders and items, customers, products and moments, so that everything collides.
fn order_stream() -> impl Strategy<Value = Vec<Sent>> {
    let row = prop_oneof![told("orders", order_columns()), told("order_items", item_columns())];
    (any::<bool>(), prop::collection::vec(row, 0..30), again()).prop_map(|(logged, rows, again)| {
        let mut versions = BTreeSet::new();
        let rows = rows.into_iter().filter(|row| versions.insert(row.version(logged)));
        let sent = rows.map(|row| ("orders", row.value(logged))).collect();
        with_repeats(sent, &again)
    })
}

fn properties() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!({}),
        json!({"x": 1, "y": [2, 1]}),
        json!({"y": [2, 1], "x": 1}),
        json!({"y": [1, 2], "x": 1}),
        json!({"ip_address": "192.0.2.1"}),
    ])
}

/// Times around midnight, two of them in two spellings.
fn iso_times() -> Vec<Value> {
    let times = ["2024-12-31T23:59:59.999Z", "2025-01-01T00:00:00Z", "2025-01-01T00:15:00.000700Z"];
    times.map(Value::from).to_vec()
}

fn tracked() -> impl Strategy<Value = Sent> {
    let times = [iso_times(), vec![json!(NEW_YEAR_MS - 1), json!(NEW_YEAR_MS), json!(NEW_YEAR_MS + 1)]].concat();
    let sessions = select(vec![Value::Null, json!(""), json!("s"), json!("u")]);
    let (apps, users) = (select(vec!["a", "é#"]), select(vec!["u", "v%"]));
    let (kinds, names) = (select(vec!["login", "click"]), select(vec!["login", "b#c"]));
    (apps, users, kinds, names, sessions, properties(), select(times), any::<bool>()).prop_map(
        |(app, user, kind, name, session, properties, time, has_id)| {
            // What has one id says the same.
            let id = format!("{kind} {name} {session} {properties} {time}");
            let event = json!({
                "appId": app, "userId": user, "eventType": kind, "eventName": name, "sessionId": session,
                "properties": properties, "timestamp": time, "eventId": has_id.then_some(id),
            });
            ("activity", event.to_string())
        },
    )
}

/// A service may be an app, too, and its event one that was tracked.
fn user_event() -> impl Strategy<Value = Sent> {
    let kinds = ["user.login", "user_login", "user.search_performed", "user_search", "user.odd", "click"];
    let (services, users) = (select(vec!["a", "auth"]), select(vec!["u", "v%"]));
    (services, users, select(kinds.to_vec()), properties(), select(iso_times()), any::<bool>()).prop_map(
        |(service, user, kind, data, time, has_id)| {
            let id = format!("{kind} {data} {time}");
            let event = json!({
                "event_type": kind, "user_id": user, "service": service, "timestamp": time, "data": data,
                "event_id": has_id.then_some(id),
            });
            ("user-events", event.to_string())
        },
    )
}

fn activity_stream() -> impl Strategy<Value = Vec<Sent>> {
    let event = prop_oneof![tracked(), user_event()];
    (prop::collection::vec(event, 0..30), again()).prop_map(|(sent, again)| with_repeats(sent, &again))
}

/// Points of which some or all have an identity.
fn metric_stream() -> impl Strategy<Value = Vec<Sent>> {
    let tags = select(vec![
        Value::Null,
        json!({}),
        json!({"r": "eu"}),
        json!({"r": "us", "é#": "%"}),
        json!({"é#": "%", "r": "us"}),
    ]);
    let (apps, metrics, kinds) = (select(vec!["a", "b#"]), select(vec!["m", "n"]), select(vec!["gauge", "timer"]));
    let measured = select(vec![json!(0), json!(-1.5), json!(183.2), json!(0.001), json!(1_000_000)]);
    let times = select(vec![-1_i64, 0, 59_999, 60_000, 900_000]);
    let point = (apps, metrics, kinds, tags, measured, times, prop::option::of(0_u8..2));
    (any::<bool>(), prop::collection::vec(point, 0..30), again()).prop_map(|(identified, points, again)| {
        let sent = points.into_iter().map(|(app, metric, kind, tags, value, at, n)| {
            // What has one id says the same.
            let id = n.or(identified.then_some(0)).map(|n| format!("{kind} {tags} {value} {at} {n}"));
            let point = json!({
                "appId": app, "metricName": metric, "metricType": kind, "value": value, "tags": tags,
                "timestamp": NEW_YEAR_MS + at, "eventId": id,
            });
            ("metrics", point.to_string())
        });
        with_repeats(sent.collect(), &again)
    })
}

fn logs(sent: &[Sent], partitions: i32) -> Vec<Log> {
    let of_stream =
        |name: &'static str| sent.iter().filter(move |(of, _)| *of == name).map(|(_, value)| value.as_bytes());
    STREAMS.iter().flat_map(|stream| logs_of(stream, of_stream(stream.name), partitions)).collect()
}

/// What the values say, at the offsets that they have on partitions of their own.
fn said(sent: &[Sent]) -> (Vec<Change>, Vec<Point>) {
    let logs = logs(sent, 1);
    let slices: Vec<&[Record]> = logs.iter().map(|log| log.records.as_slice()).collect();
    let (mut changes, mut points) = (Vec::new(), Vec::new());
    for batch in decode(&payload(&slices).unwrap(), &Settings::default()).unwrap() {
        assert!(batch.rejects.is_empty(), "{batch:?}");
        changes.extend(batch.changes);
        points.extend(batch.points);
    }
    (changes, points)
}

/// States and rows under the fold, without a store.
#[derive(Clone, Debug, Default)]
struct Folded {
    known: Map<Key, Known>,
    rows: Rows,
}

impl Folded {
    /// As a commit does: tag sets are admitted before anything of theirs is counted.
    fn apply(&mut self, changes: &[Change], points: &[Point]) {
        let Fold { mut transitions, .. } = fold(changes, &self.known);
        let admission = Admission::new(&self.known, Settings::default().max_tag_sets);
        let of_points = points.iter().map(|point| (&point.series, &point.day, point.day.end_ms));
        let of_samples = transitions.iter().filter_map(|transition| match &transition.after {
            State::Sample(sample) => Some((&sample.series, &sample.day, sample.expires)),
            _ => None,
        });
        let admitting = admission.steps(of_points.chain(of_samples));
        if !admitting.is_empty() {
            self.step(admitting);
            return self.apply(changes, points);
        }
        admission.settle(&mut transitions);
        self.rows.merge(admission.rows(points));
        self.rows.merge(effects(&transitions));
        self.step(transitions);
    }

    fn step(&mut self, transitions: Vec<Transition>) {
        for Transition { key, counter, version, after, .. } in transitions {
            self.known.insert(key, Known { counter: counter + 1, version, state: after });
        }
    }

    fn rows(&self) -> Vec<(Key, Measures)> {
        self.rows.clone().into_sorted()
    }

    fn states(&self) -> Vec<(Key, Version, State)> {
        let state = |(key, known): (&Key, &Known)| {
            let mut state = known.state.clone();
            if let State::TagSets(sets) = &mut state {
                // Any time that outlasts the day's points will do.
                sets.expires = 0;
            }
            (key.clone(), known.version, state)
        };
        let mut states: Vec<_> = self.known.iter().map(state).collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }
}

fn comes_to_the_same_in_any_parts_and_order(sent: &[Sent], size: usize, seed: u64) -> TestCaseResult {
    let (mut changes, mut points) = said(sent);
    let mut whole = Folded::default();
    whole.apply(&changes, &points);
    let mut rng = fastrand::Rng::with_seed(seed);
    rng.shuffle(&mut changes);
    rng.shuffle(&mut points);
    let mut parts = Folded::default();
    changes.chunks(size).for_each(|changes| parts.apply(changes, &[]));
    points.chunks(size).for_each(|points| parts.apply(&[], points));
    // All of it once more, but for points: those are counted by their offsets, outside of the fold.
    parts.apply(&changes, &[]);
    prop_assert_eq!(whole.rows(), parts.rows());
    prop_assert_eq!(whole.states(), parts.states());
    Ok(())
}

/// What the store holds after the values came to the real function, as badly as they may.
fn played(sent: &[Sent], seed: u64) -> MemoryStore {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = MemoryStore::default();
    runtime.block_on(async {
        let logs = logs(sent, 3);
        let waves = chaotic(&logs, 5, 4, seed);
        let played = play(&aggregate(store.clone(), MemoryObjects::default(), seed), &logs, waves).await.unwrap();
        assert!(played.rejects.is_empty() && played.late == 0, "{played:?}");
    });
    store
}

/// I1, where no row has points: each is the sum of what the states add to it, each tally of what is there.
fn rows_are_the_sums_of_states(store: &MemoryStore) -> TestCaseResult {
    let stored: Rows = store.tables().rows.into_iter().collect();
    prop_assert_eq!(stored.into_sorted(), store.recomputed().into_sorted());
    Ok(())
}

fn without_quantiles(mut views: Value) -> Value {
    for metric in views["metrics"].as_array_mut().unwrap() {
        for quantile in ["p50", "p95", "p99"] {
            metric.as_object_mut().unwrap().remove(quantile).unwrap();
        }
    }
    views
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn orders_come_to_the_same_in_any_order(sent in order_stream(), size in 1_usize..30, seed: u64) {
        comes_to_the_same_in_any_parts_and_order(&sent, size, seed)?;
    }

    #[test]
    fn activity_comes_to_the_same_in_any_order(sent in activity_stream(), size in 1_usize..30, seed: u64) {
        comes_to_the_same_in_any_parts_and_order(&sent, size, seed)?;
    }

    #[test]
    fn metrics_come_to_the_same_in_any_order(sent in metric_stream(), size in 1_usize..30, seed: u64) {
        comes_to_the_same_in_any_parts_and_order(&sent, size, seed)?;
    }

    #[test]
    fn orders_through_the_function_read_the_truth(sent in order_stream(), seed: u64) {
        let store = played(&sent, seed);
        let found = views(&store.tables(), &SALES);
        prop_assert_eq!(oracle::sorted(&found), oracle::sorted(&oracle::orders(values(&sent))));
        rows_are_the_sums_of_states(&store)?;
    }

    #[test]
    fn activity_through_the_function_reads_the_truth(sent in activity_stream(), seed: u64) {
        let store = played(&sent, seed);
        let found = views(&store.tables(), &["apps", "eventTotals"]);
        prop_assert_eq!(oracle::sorted(&found), oracle::sorted(&oracle::activity(values(&sent))));
        rows_are_the_sums_of_states(&store)?;
    }

    #[test]
    fn metrics_through_the_function_read_the_truth(sent in metric_stream(), seed: u64) {
        let store = played(&sent, seed);
        let found = without_quantiles(views(&store.tables(), &["metrics"]));
        prop_assert_eq!(oracle::sorted(&found), oracle::sorted(&oracle::metrics(values(&sent))));
        // A row that counts points has no other source than the stream.
        if sent.iter().all(|(_, value)| value.contains("\"eventId\":\"")) {
            rows_are_the_sums_of_states(&store)?;
        }
    }
}
