//! Requests over HTTP: each counts once, however often it comes and on whichever lanes, and is in the rows when it
//! is answered.

use std::sync::Arc;

use serde_json::{Value, json};
use tidemark_ledger::{Call, Lane, Ledger, LedgerError, Options, Receipt, Store};
use tidemark_model::ingest::{Ingested, RequestId, ingest};
use tidemark_model::metric::OVERFLOW;
use tidemark_model::stream::{Accepted, Stream};
use tidemark_model::time::DAY_MS;
use tidemark_model::{Batch, Change, Key, Measures, Settings, State, activity, decode, metric};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::MemoryStore;
use tidemark_tests::values::{TAKEN_MS, metric as point, tracked, with, without};
use tidemark_tests::{NOW_MS, call, documents, invocation, options};

fn settings() -> Settings {
    Settings { now_ms: NOW_MS, ..Settings::default() }
}

fn read(stream: &Stream, values: &[Value], request: &RequestId) -> Ingested {
    let values: Vec<String> = values.iter().map(Value::to_string).collect();
    ingest(stream, &values, request, &settings(), |_| true)
}

fn keyed(key: &str) -> RequestId {
    RequestId::keyed("caller", key)
}

/// What good values say.
fn changes(stream: &Stream, values: &[Value], request: &RequestId) -> Vec<Change> {
    let Ingested { changes, results } = read(stream, values, request);
    assert!(results.iter().all(|result| *result == Ok(Accepted::Counted)), "{results:?}");
    changes
}

async fn commit<S: Store>(store: S, changes: &[Change], seed: u64) -> (Receipt, Result<(), LedgerError>) {
    Ledger::new(store, options(seed)).ingest(changes.to_vec(), 1_000, call()).await
}

async fn committed<S: Store>(store: S, changes: &[Change], seed: u64) -> Receipt {
    let (receipt, outcome) = commit(store, changes, seed).await;
    outcome.unwrap();
    receipt
}

fn rows(store: &MemoryStore) -> Vec<(Key, Measures)> {
    store.tables().rows
}

/// The rows of a request that comes once, to nothing, undisturbed.
async fn alone(changes: &[Change]) -> Vec<(Key, Measures)> {
    let store = MemoryStore::default();
    committed(store.clone(), changes, 0).await;
    rows(&store)
}

/// Events of an app: with an id, without one, without one and any time, and equal ones.
fn events(app: &str) -> Vec<Value> {
    let event = tracked(app, "u");
    vec![
        with(&event, json!({"eventId": "1", "sessionId": "s"})),
        with(&event, json!({"eventId": "1", "sessionId": "s"})),
        event.clone(),
        event.clone(),
        with(&without(&event, "timestamp"), json!({"eventType": "click"})),
        tracked(app, "v"),
    ]
}

/// Points of an app: with an id and without, of two series, and equal ones.
fn points(app: &str) -> Vec<Value> {
    vec![
        point(app, 1, json!({})),
        with(&point(app, 5, json!({})), json!({"eventId": "1"})),
        with(&point(app, 5, json!({})), json!({"eventId": "1"})),
        point(app, 1, json!({})),
        point(app, -3, json!({"pod": "a"})),
    ]
}

/// A mix of all that a request may hold, of events and of points, as one.
fn mixed(app: &str, key: &str) -> Vec<Change> {
    let request = keyed(&format!("{key} of {app}"));
    let events = changes(&activity::TRACKED, &events(app), &request);
    [events, changes(&metric::STREAM, &points(app), &request)].concat()
}

#[tokio::test]
async fn a_fault_at_any_request_leaves_an_answer_true_and_counts_once() {
    let changes = mixed("app", "k");
    let expected = alone(&changes).await;
    for fault in Fault::ALL {
        for at in 0.. {
            let store = MemoryStore::default();
            let faulty = Faulty::new(store.clone(), fault, at);
            let (_, outcome) = commit(faulty.clone(), &changes, at as u64).await;
            let happened = faulty.sent() > at;
            assert_eq!(outcome.is_err(), happened && matches!(fault, Fault::CrashBefore | Fault::CrashAfter));
            // On another lane, mostly.
            for seed in 0..2 {
                if seed == 1 || outcome.is_err() {
                    committed(store.clone(), &changes, 100 + seed).await;
                }
                assert_eq!(rows(&store), expected, "{fault:?} at {at}: not all of it is in the rows, or twice");
            }
            // What is left pending is nothing that counts.
            let ledger = Ledger::new(store.clone(), options(0));
            ledger.sweep(i64::MAX, call()).await.unwrap();
            assert!(store.items().cursors.values().all(|cursor| !cursor.pending), "the sweeper finds all lanes");
            assert_eq!(rows(&store), expected, "{fault:?} at {at}, swept");
            if !happened {
                break;
            }
        }
    }
}

/// Requests of several apps, each some times, at once and through faults: whenever one is answered, its app's rows
/// are whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_at_once_and_again_are_in_the_rows_when_they_are_answered() {
    let (mut answered, mut redone, mut conflicts) = (0, 0, 0);
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let store = MemoryStore::default();
        let http_lanes = rng.u16(1..4);
        let mut tasks = Vec::new();
        let requests: Vec<(String, Vec<Change>)> =
            (0..3).map(|n| (format!("app{n}"), mixed(&format!("app{n}"), "k"))).collect();
        for n in 0..12 {
            let (app, changes) = requests[n % requests.len()].clone();
            let fault = rng.choice(Fault::ALL).unwrap();
            let faulty = Faulty::new(store.clone(), fault, rng.usize(0..40));
            let ledger = Ledger::new(faulty, Options { http_lanes, ..options(rng.u64(..)) });
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                let (receipt, outcome) = ledger.ingest(changes.clone(), 1_000, call()).await;
                let found = rows(&store);
                if outcome.is_ok() {
                    let of_app = |rows: Vec<(Key, Measures)>| -> Vec<(Key, Measures)> {
                        rows.into_iter().filter(|(key, _)| key.pk_parts().iter().any(|part| *part == app)).collect()
                    };
                    let expected = of_app(alone(&changes).await);
                    assert!(expected.len() > 5, "{expected:?}");
                    assert_eq!(of_app(found), expected, "seed {seed}, {app}");
                }
                (receipt, outcome.is_ok())
            }));
        }
        for task in tasks {
            let (receipt, is_ok) = task.await.unwrap();
            answered += usize::from(is_ok);
            redone += receipt.redone;
            conflicts += receipt.conflicts;
        }
        for (_, changes) in &requests {
            committed(store.clone(), changes, seed).await;
        }
        Ledger::new(store.clone(), options(0)).sweep(i64::MAX, call()).await.unwrap();
        let all: Vec<Change> = requests.into_iter().flat_map(|(_, changes)| changes).collect();
        assert_eq!(rows(&store), alone(&all).await, "seed {seed}");
    }
    assert!(answered > 100 && redone > 20 && conflicts > 20, "{answered} {redone} {conflicts}: it shows little");
}

#[tokio::test]
async fn what_names_a_value_decides_what_is_the_same() {
    let count = |store: &MemoryStore, kind: &str, name: &str| -> i64 {
        let rows = rows(store).into_iter().filter(|(key, _)| key.is_of(kind));
        rows.map(|(_, row)| row.get(name).to_whole().unwrap()).sum()
    };
    let events_in = |store: &MemoryStore| {
        let items = store.items();
        items.entities.values().filter(|entity| matches!(entity.known.state, State::Event(_))).count()
    };
    // With a key, each place is another event, but an id says more.
    for (request, expected) in [(keyed("k"), 5), (RequestId::random(1), 4)] {
        let store = MemoryStore::default();
        let said = changes(&activity::TRACKED, &events("app"), &request);
        for _ in 0..2 {
            committed(store.clone(), &said, 0).await;
        }
        assert_eq!(events_in(&store), expected, "{request:?}");
        // Under another name the places are others; ids and fingerprints are not.
        let again = changes(&activity::TRACKED, &events("app"), &RequestId::keyed("caller", "another"));
        committed(store.clone(), &again, 0).await;
        assert_eq!(events_in(&store), expected + 4);
    }
    // Points without an id are the request's.
    let store = MemoryStore::default();
    for (request, expected) in [
        (keyed("k"), 4),
        (keyed("k"), 4),
        (RequestId::keyed("other", "k"), 7),
        (RequestId::random(1), 10),
        (RequestId::random(1), 10),
        (RequestId::random(2), 13),
    ] {
        committed(store.clone(), &changes(&metric::STREAM, &points("app"), &request), 0).await;
        assert_eq!(count(&store, "METRIC", "count"), 2 * expected, "in both windows, after {request:?}");
    }
}

#[test]
fn each_value_is_told_what_became_of_it() {
    let late = TAKEN_MS - 31 * DAY_MS;
    let values = [
        tracked("app", "u"),
        json!({"appId": "app"}),
        with(&tracked("app", "u"), json!({"timestamp": late})),
        json!(7),
        tracked("secret", "u"),
        with(&tracked("app", "u"), json!({"timestamp": NOW_MS + 2 * DAY_MS})),
    ];
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    let Ingested { changes, results } =
        ingest(&activity::TRACKED, &texts, &keyed("k"), &settings(), |app| app == "app");
    let told: Vec<_> = results.iter().map(|result| result.as_ref().map_err(String::as_str)).collect();
    assert_eq!(told[0], Ok(&Accepted::Counted));
    assert_eq!(told[1], Err("eventType is missing"));
    assert_eq!(told[2], Ok(&Accepted::Late));
    assert!(told[3].unwrap_err().contains("object"), "{told:?}");
    assert_eq!(told[4], Err("app `secret` is not the caller's"));
    assert!(told[5].unwrap_err().contains("more than 24 h past"), "{told:?}");
    assert_eq!(changes.len(), 2, "an event and its user's sighting");
}

/// In whatever state its values are by then: a value that is late now was in its part before.
#[test]
fn a_request_that_comes_later_falls_into_the_same_parts() {
    let hour = |n: i64| TAKEN_MS - 29 * DAY_MS + n * 3_600_000;
    let values: Vec<String> =
        (0..500).map(|n| with(&point("app", n, json!({})), json!({"timestamp": hour(n)})).to_string()).collect();
    let parts = |now_ms: i64| -> Vec<(Key, Vec<i64>)> {
        let settings = Settings { now_ms, ..Settings::default() };
        let said = ingest(&metric::STREAM, &values, &keyed("k"), &settings, |_| true);
        let part = |change: Change| {
            let State::Parcel(parcel) = change.state else { panic!("{change:?}") };
            let mut at: Vec<i64> = parcel.strands.into_iter().flat_map(|s| s.points).map(|(at, _)| at).collect();
            at.sort_unstable();
            (change.key, at)
        };
        said.changes.into_iter().map(part).collect()
    };
    let first = parts(NOW_MS);
    assert_eq!(first.iter().map(|(_, at)| at.len()).collect::<Vec<_>>(), [128, 128, 128, 116]);
    let now_ms = NOW_MS + 8 * DAY_MS;
    let still_kept = |(key, at): &(Key, Vec<i64>)| {
        let kept: Vec<i64> = at.iter().copied().filter(|at| *at >= now_ms - 30 * DAY_MS).collect();
        (!kept.is_empty()).then(|| (key.clone(), kept))
    };
    let expected: Vec<_> = first.iter().filter_map(still_kept).collect();
    assert!(expected.len() == 3 && expected[0].1.len() < 128, "{expected:?}");
    assert_eq!(parts(now_ms), expected);
}

/// 500 points with a bucket each in one row, and 500 series with long tags: more than one addition, one item.
#[tokio::test]
async fn the_largest_requests_fit() {
    let buckets: Vec<Value> =
        (0..500).map(|n| with(&point("app", 0, json!({})), json!({"value": 1.05_f64.powi(n)}))).collect();
    let long = "é".repeat(200);
    let series: Vec<Value> = (0..500).map(|n| point("app", n, json!({"long": format!("{n}{long}")}))).collect();
    for (values, rows_of_each) in [(buckets, 1), (series, 500)] {
        let said = changes(&metric::STREAM, &values, &keyed("k"));
        assert!(said.iter().all(|change| serde_json::to_vec(&change.state).unwrap().len() < 150_000));
        let store = MemoryStore::default();
        for _ in 0..2 {
            committed(store.clone(), &said, 0).await;
        }
        let rows = rows(&store).into_iter().filter(|(key, _)| key.is_of("METRIC"));
        let counts: Vec<i64> = rows.map(|(_, row)| row.get("count").to_whole().unwrap()).collect();
        assert_eq!((counts.len(), counts.iter().sum::<i64>()), (2 * rows_of_each, 2 * 500));
    }
}

#[tokio::test]
async fn tag_sets_beyond_the_limit_share_one_series() {
    let values: Vec<Value> = (0..12)
        .map(|n| {
            let value = point("app", n, json!({"pod": format!("p{}", n % 6)}));
            if n % 2 == 0 { value } else { with(&value, json!({"eventId": n.to_string()})) }
        })
        .collect();
    let said = changes(&metric::STREAM, &values, &keyed("k"));
    let store = MemoryStore::default();
    for overflow in [6, 0] {
        let ledger = Ledger::new(store.clone(), options(0));
        let (receipt, outcome) = ledger.ingest(said.clone(), 3, call()).await;
        outcome.unwrap();
        assert_eq!(receipt.overflow, overflow);
    }
    let views = documents(&store.tables());
    let series = views["metrics"].as_array().unwrap();
    let counts = |is_overflow: bool| -> Vec<&str> {
        let of = series.iter().filter(|series| (series["tags"] == json!({OVERFLOW: "true"})) == is_overflow);
        of.map(|series| series["count"].as_str().unwrap()).collect()
    };
    assert_eq!((counts(false), counts(true)), (vec!["2"; 3], vec!["6"]));
}

/// Leaves a plan pending on a lane, all but finished, so long ago.
async fn leave_pending(store: &MemoryStore, lane: u16, ms_ago: i64) {
    let changes = mixed(&format!("of{lane}"), "k");
    let batch = Batch { partition: i32::from(lane), ..Batch::of_changes("http", "ingest", changes) };
    let batch = Arc::new(Batch { max_tag_sets: 1_000, ..batch });
    let call = Call { now_ms: NOW_MS - ms_ago, deadline: None };
    let dry = Faulty::new(MemoryStore::default(), Fault::CrashBefore, usize::MAX);
    Ledger::new(dry.clone(), options(0)).commit(&batch, call).await.1.unwrap();
    let faulty = Faulty::new(store.clone(), Fault::CrashBefore, dry.sent() - 1);
    Ledger::new(faulty, options(0)).commit(&batch, call).await.1.unwrap_err();
    assert!(store.items().cursors[&Lane::new("http", "ingest", i32::from(lane), 0).id].pending);
}

#[tokio::test]
async fn a_lane_at_work_is_left_alone_while_another_is_free() {
    let changes = mixed("app", "k");
    for (lanes, ms_ago, most_redone) in [(7, 2_999, 0), (8, 2_999, 1), (7, 3_000, 7)] {
        let left = MemoryStore::default();
        for lane in 0..lanes {
            leave_pending(&left, lane, ms_ago).await;
        }
        let mut redone = 0;
        for seed in 0..20 {
            let store = MemoryStore::default();
            *store.items() = left.items().clone();
            let receipt = committed(store.clone(), &changes, seed).await;
            let pending = store.items().cursors.values().filter(|cursor| cursor.pending).count();
            assert_eq!(pending, usize::from(lanes) - receipt.redone, "{receipt:?}");
            redone = redone.max(receipt.redone);
        }
        assert!(redone <= most_redone && (redone > 0) == (most_redone > 0), "{lanes} lanes, {ms_ago} ms: {redone}");
    }
}

/// The same events come by Kafka, and that invocation dies anywhere.
#[tokio::test]
async fn what_another_sources_pending_plan_holds_is_in_the_rows_too() {
    let events: Vec<Value> = events("app").into_iter().filter(|event| event["timestamp"].is_number()).collect();
    let said = changes(&activity::TRACKED, &events, &RequestId::random(1));
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    let payload = invocation("analytics.events", 0, 0, &texts);
    let batch = Arc::new(decode(&payload, &settings()).unwrap().remove(0));
    let (expected, mut redone) = (alone(&said).await, 0);
    for at in 0.. {
        let store = MemoryStore::default();
        let faulty = Faulty::new(store.clone(), Fault::CrashBefore, at);
        let (_, outcome) = Ledger::new(faulty, options(0)).commit(&batch, call()).await;
        redone += committed(store.clone(), &said, 0).await.redone;
        assert_eq!(rows(&store), expected, "died at {at}");
        if outcome.is_ok() {
            break;
        }
    }
    assert!(redone > 2, "{redone}");
}

#[tokio::test]
async fn a_new_epochs_lanes_finish_what_the_old_ones_left() {
    let store = MemoryStore::default();
    leave_pending(&store, 0, 0).await;
    let ledger = Ledger::new(store.clone(), Options { epoch: 1, http_lanes: 1, ..options(0) });
    let (receipt, outcome) = ledger.ingest(mixed("app", "k"), 1_000, call()).await;
    outcome.unwrap();
    assert_eq!(receipt.redone, 1);
    assert!(store.items().cursors.values().all(|cursor| !cursor.pending));
}

#[tokio::test]
async fn lanes_tell_what_their_plans_have_cost() {
    let store = MemoryStore::default();
    let mut plans = 0;
    for seed in 0..10 {
        plans += committed(store.clone(), &mixed(&format!("app{seed}"), "k"), seed).await.plans as u64;
    }
    let stats = store.lane_stats().await.unwrap().value;
    assert!(stats.len() > 2 && stats.iter().all(|(cursor, _)| cursor.name.starts_with("http ingest ")), "{stats:?}");
    assert!(stats.iter().all(|(cursor, stats)| stats.plans == cursor.seq), "{stats:?}");
    assert_eq!(stats.iter().map(|(_, stats)| stats.plans).sum::<u64>(), plans);
    assert_eq!(stats.iter().flat_map(|(_, stats)| stats.took).sum::<u64>(), plans);
}
