//! Records that were set aside: known as such exactly when their lane has passed them, read back from the bucket, and
//! redriven once.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_archive::{Quarantine, Quarantined, Wanted};
use tidemark_ledger::{Call, Ledger, Options, Redriven, Store};
use tidemark_model::kafka::RawRecord;
use tidemark_model::stream::Routes;
use tidemark_model::time::DAY_MS;
use tidemark_model::{Key, Settings, State};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{change, item, metric, order, tracked, user_event, with};
use tidemark_tests::{
    NOW_MS, aggregate, aggregate_with, call, documents, fail, handle, invocation, options, product, records,
};

const METRICS: &str = "analytics.metrics";

/// As of the release that reads every stream.
fn today() -> Settings {
    Settings { now_ms: NOW_MS, ..Settings::default() }
}

/// As of one that knows no topic, and sets all aside.
fn ignorant() -> Settings {
    Settings { routes: Routes::of([]), ..today() }
}

/// A point without an identity.
fn point(value: i64) -> String {
    metric("app", value, json!({})).to_string()
}

/// All views but that of the records set aside.
fn counted(store: &MemoryStore) -> Value {
    let mut views = documents(&store.tables());
    views.as_object_mut().unwrap().remove("rejects").unwrap();
    views
}

/// How many records of a topic were set aside, and redriven.
fn rejects(store: &MemoryStore, topic: &str) -> (String, String) {
    let topic = documents(&store.tables())["rejects"][topic].clone();
    (topic["records"].as_str().unwrap().to_owned(), topic["redriven"].as_str().unwrap().to_owned())
}

async fn read_back(objects: &MemoryObjects) -> Vec<Quarantined> {
    Quarantine::new(objects.clone(), 0).records(&Wanted::default()).await.unwrap()
}

async fn redrive<S: Store>(store: S, record: &Quarantined) -> Redriven {
    let text = record.fixed.clone().unwrap_or_else(|| record.record.clone());
    Ledger::new(store, options(7)).redrive(&record.origin, text, &today(), call()).await.unwrap()
}

/// Offsets that are known as set aside, and how far their lane is through.
fn known(store: &MemoryStore) -> (Vec<i64>, Option<i64>) {
    let items = store.items();
    let offset = |key: &Key| key.sk_parts()[1].parse().unwrap();
    let known = items.entities.keys().filter(|key| key.is_of("SETASIDE")).map(offset).collect();
    (known, items.cursors.values().next().and_then(|cursor| cursor.through))
}

/// However a batch is split into plans, and wherever it dies.
#[tokio::test]
async fn a_record_is_known_as_set_aside_exactly_when_its_lane_has_passed_it() {
    let values: Vec<String> = (0..12)
        .map(|n| if n % 3 == 0 { "broken".to_owned() } else { metric(&format!("app{n}"), n, json!({})).to_string() })
        .collect();
    let broken: Vec<i64> = (0..12).step_by(3).collect();
    let mut halves = 0;
    for (plan_bytes, fault) in
        [360, 400_000].into_iter().flat_map(|n| [(n, Fault::CrashBefore), (n, Fault::CrashAfter)])
    {
        for at in 0.. {
            let store = MemoryStore::default();
            let faulty = Faulty::new(store.clone(), fault, at);
            let mut function = aggregate(faulty.clone(), MemoryObjects::default(), at as u64);
            let small = Options { plan_bytes, ..options(at as u64) };
            Arc::get_mut(&mut function).unwrap().ledger = Ledger::new(faulty.clone(), small);
            let (_, outcome) = function.handle(invocation(METRICS, 0, 0, &values), call()).await;
            let what = format!("{plan_bytes} bytes, {fault:?} at {at}");
            // What a death leaves pending is finished by whoever comes next.
            let later = Call { now_ms: NOW_MS + 1, deadline: None };
            Ledger::new(store.clone(), options(1)).sweep(NOW_MS + 1, later).await.unwrap();
            let (known, through) = known(&store);
            let passed: Vec<i64> = broken.iter().copied().filter(|offset| Some(*offset) <= through).collect();
            assert_eq!(known, passed, "{what}: through {through:?}");
            halves += usize::from(!known.is_empty() && known.len() < broken.len());
            if outcome.is_ok() {
                assert_eq!(known, broken, "{what}");
                assert_eq!(rejects(&store, METRICS), ("4".to_owned(), "0".to_owned()), "{what}");
                break;
            }
        }
    }
    assert!(halves > 10, "a batch that is split is seen in part {halves} times only");
}

fn kinds() -> Vec<(&'static str, Value)> {
    let product: Value = serde_json::from_str(&product(1, "Created", 1, "s", "c", "2.50", 3)).unwrap();
    vec![
        ("product.created", product),
        ("db.public.orders", change("orders", "c", 1, Value::Null, order(1, "10", "paid"))),
        ("db.public.order_items", change("order_items", "c", 1, Value::Null, item(1, 7, 2, "5"))),
        ("analytics.events", tracked("app", "u")),
        ("user-events", user_event("auth", "u")),
        (METRICS, with(&metric("app", 5, json!({})), json!({"eventId": "e"}))),
        (METRICS, metric("app", 5, json!({}))),
    ]
}

#[tokio::test]
async fn each_kind_of_record_counts_once_however_often_it_is_redriven() {
    for (topic, value) in kinds() {
        let payload = || invocation(topic, 0, 5, &[value.to_string()]);
        let truth = MemoryStore::default();
        handle(&aggregate(truth.clone(), MemoryObjects::default(), 0), payload()).await;
        let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
        handle(&aggregate_with(store.clone(), objects.clone(), 0, ignorant()), payload()).await;
        assert_ne!(counted(&store), counted(&truth), "{topic}");
        assert_eq!(rejects(&store, topic), ("1".to_owned(), "0".to_owned()));

        let [record] = &read_back(&objects).await[..] else { panic!("one record") };
        let through = known(&store).1;
        let both = tokio::join!(redrive(store.clone(), record), redrive(store.clone(), record));
        assert!(matches!(both, (Redriven::Counted, _) | (_, Redriven::Counted)), "{topic}: {both:?}");
        assert_eq!(redrive(store.clone(), record).await, Redriven::Before, "{topic}");
        assert_eq!(counted(&store), counted(&truth), "{topic}");
        assert_eq!(rejects(&store, topic), ("1".to_owned(), "1".to_owned()));
        let cursors: Vec<_> = store.items().cursors.values().filter_map(|cursor| cursor.through).collect();
        assert_eq!(cursors, Vec::from_iter(through), "{topic}: no other lane has a `through`");

        // The original, with a decoder that reads it.
        handle(&aggregate(store.clone(), objects.clone(), 1), payload()).await;
        assert_eq!(counted(&store), counted(&truth), "{topic}: it comes again");
        assert_eq!(store.recomputed().into_sorted().len(), store.tables().rows.len(), "{topic}");
    }
}

/// A batch stood in the bucket and died; a later release reads the record, and counts it.
#[tokio::test]
async fn what_was_not_committed_as_set_aside_is_refused() {
    let payload =
        |values: std::ops::Range<i64>| invocation(METRICS, 0, values.start, &values.map(point).collect::<Vec<_>>());
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    // The settings are read; the cursor is not.
    let dying = Faulty::new(store.clone(), Fault::CrashBefore, 1);
    fail(&aggregate_with(dying, objects.clone(), 0, ignorant()), payload(0..2)).await;
    let records = read_back(&objects).await;
    assert_eq!(records.len(), 2);
    assert_eq!(redrive(store.clone(), &records[0]).await, Redriven::Unknown, "nothing was committed yet");
    handle(&aggregate(store.clone(), objects.clone(), 1), payload(0..2)).await;
    let truth = counted(&store);
    for record in &records {
        assert_eq!(redrive(store.clone(), record).await, Redriven::Unknown);
    }
    assert_eq!(counted(&store), truth);
}

/// The same where the batch died between two of its plans: some records are known as set aside, the others are
/// counted by the later release.
#[tokio::test]
async fn of_a_batch_that_died_between_two_plans_each_record_counts_once() {
    let values: Vec<String> = (0..6).map(point).collect();
    let payload = || invocation(METRICS, 0, 0, &values);
    let truth = MemoryStore::default();
    handle(&aggregate(truth.clone(), MemoryObjects::default(), 0), payload()).await;
    let mut seen = [false; 2];
    for at in 0.. {
        let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
        let faulty = Faulty::new(store.clone(), Fault::CrashAfter, at);
        let mut dying = aggregate_with(faulty.clone(), objects.clone(), 0, ignorant());
        let small = Options { plan_bytes: 360, ..options(0) };
        Arc::get_mut(&mut dying).unwrap().ledger = Ledger::new(faulty.clone(), small);
        let (_, outcome) = dying.handle(payload(), call()).await;
        handle(&aggregate(store.clone(), objects.clone(), 1), payload()).await;
        for record in read_back(&objects).await {
            let redriven = redrive(store.clone(), &record).await;
            assert!(matches!(redriven, Redriven::Counted | Redriven::Unknown), "{at}: {redriven:?}");
            seen[usize::from(redriven == Redriven::Counted)] = true;
        }
        assert_eq!(counted(&store), counted(&truth), "died after request {at}");
        if outcome.is_ok() {
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[tokio::test]
async fn a_fault_at_any_request_of_a_redrive_changes_no_total() {
    for (topic, value) in kinds() {
        let payload = || invocation(topic, 0, 5, &[value.to_string()]);
        let truth = MemoryStore::default();
        handle(&aggregate(truth.clone(), MemoryObjects::default(), 0), payload()).await;
        for fault in Fault::ALL {
            for at in 0.. {
                let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
                handle(&aggregate_with(store.clone(), objects.clone(), 0, ignorant()), payload()).await;
                let [record] = &read_back(&objects).await[..] else { panic!("one record") };
                let faulty = Faulty::new(store.clone(), fault, at);
                let ledger = Ledger::new(faulty.clone(), options(at as u64));
                let _may_die = ledger.redrive(&record.origin, record.record.clone(), &today(), call()).await;
                redrive(store.clone(), record).await;
                assert_eq!(counted(&store), counted(&truth), "{topic}, {fault:?} at {at}");
                assert_eq!(rejects(&store, topic), ("1".to_owned(), "1".to_owned()), "{topic}, {fault:?} at {at}");
                if faulty.sent() <= at {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_mended_record_counts_and_one_that_is_still_bad_stays() {
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    let function = aggregate(store.clone(), objects.clone(), 0);
    handle(&function, invocation("product.created", 3, 8, &["broken", "worse"])).await;
    let quarantine = Quarantine::new(objects.clone(), 0);
    let wanted = Wanted { topic: Some("product.created".to_owned()), partition: Some(3), offset: Some(9) };
    let only = async || quarantine.records(&wanted).await.unwrap().remove(0);
    let bad = only().await;
    assert_eq!((bad.origin.offset, &bad.fixed), (9, &None));
    let redriven = redrive(store.clone(), &bad).await;
    assert!(matches!(&redriven, Redriven::Rejected(reason) if *reason == bad.reason), "{redriven:?}");

    let mended = |record: &str, value: &str| RawRecord::parse(record).unwrap().with_value(value.as_bytes()).to_json();
    let key = quarantine.fix(&bad.origin, mended(&bad.record, "still broken")).await.unwrap();
    assert_eq!(key, "quarantine/product.created/3/9.fixed.json");
    assert!(matches!(redrive(store.clone(), &only().await).await, Redriven::Rejected(_)));
    assert_eq!(rejects(&store, "product.created"), ("2".to_owned(), "0".to_owned()));

    let good = product(1, "Created", 1, "s", "c", "2.50", 3);
    let elsewhere = mended(&bad.record, &good).replace("\"offset\":9", "\"offset\":8");
    quarantine.fix(&bad.origin, elsewhere).await.unwrap();
    assert_eq!(
        redrive(store.clone(), &only().await).await,
        Redriven::Rejected("it is the record of another place".to_owned())
    );
    quarantine.fix(&bad.origin, mended(&bad.record, &good)).await.unwrap();
    assert_eq!(only().await.record, bad.record, "the original stays");
    assert_eq!(redrive(store.clone(), &only().await).await, Redriven::Counted);
    assert_eq!(redrive(store.clone(), &only().await).await, Redriven::Before);
    assert_eq!(counted(&store)["sellers"][0]["totalValue"], "7.5");
    assert_eq!(rejects(&store, "product.created"), ("2".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn what_is_late_by_now_or_was_forgotten_is_refused() {
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    let function = aggregate_with(store.clone(), objects.clone(), 0, ignorant());
    handle(&function, invocation(METRICS, 0, 0, &[point(1)])).await;
    let [Quarantined { origin, record, .. }] = &read_back(&objects).await[..] else { panic!("one record") };
    let days_later = async |days: i64| {
        let call = Call { now_ms: NOW_MS + days * DAY_MS, deadline: None };
        let settings = Settings { now_ms: call.now_ms, ..today() };
        Ledger::new(store.clone(), options(1)).redrive(origin, record.clone(), &settings, call).await.unwrap()
    };
    assert_eq!(days_later(40).await, Redriven::Late, "metrics are kept for 30 days");
    assert_eq!(days_later(91).await, Redriven::Unknown, "records set aside are known for 90 days and one");
    assert_eq!(rejects(&store, METRICS), ("1".to_owned(), "0".to_owned()));
}

/// A tombstone, which another release took for a record that must have a value.
#[tokio::test]
async fn a_record_that_says_nothing_is_settled() {
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    let mut tombstone = records("db.public.orders", 0, &["x"]);
    tombstone[0]["value"] = Value::Null;
    let payload: Bytes = tidemark_tests::envelope(&json!({"x": tombstone}));
    handle(&aggregate_with(store.clone(), objects.clone(), 0, ignorant()), payload).await;
    let [record] = &read_back(&objects).await[..] else { panic!("one record") };
    assert_eq!(redrive(store.clone(), record).await, Redriven::Empty);
    assert_eq!(redrive(store.clone(), record).await, Redriven::Before);
    assert_eq!(rejects(&store, "db.public.orders"), ("1".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn each_record_is_read_back_once_in_its_order_whatever_files_it_stands_in() {
    let objects = MemoryObjects::default();
    for (topic, partition, epoch, range) in
        [("b", 1, 0, 0..3), ("b", 1, 0, 1..5), ("b", 10, 0, 2..3), ("b", 1, 1, 0..1), ("a/../#", 0, 0, 7..8)]
    {
        let values: Vec<String> = range.clone().map(|n| format!("broken {n}")).collect();
        let mut function = aggregate(MemoryStore::default(), objects.clone(), 0);
        Arc::get_mut(&mut function).unwrap().quarantine = Quarantine::new(objects.clone(), epoch);
        handle(&function, invocation(topic, partition, range.start, &values)).await;
    }
    let found = async |wanted: Wanted| {
        let records = Quarantine::new(objects.clone(), 0).records(&wanted).await.unwrap();
        records
            .into_iter()
            .map(|r| (r.origin.topic, r.origin.partition, r.origin.epoch, r.origin.offset))
            .collect::<Vec<_>>()
    };
    let of = |topic: &str, partition, epoch, offsets: std::ops::Range<i64>| {
        offsets.map(|offset| (topic.to_owned(), partition, epoch, offset)).collect::<Vec<_>>()
    };
    let first = of("b", 1, 0, 0..5);
    let (again, tenth, odd) = (of("b", 1, 1, 0..1), of("b", 10, 0, 2..3), of("a/../#", 0, 0, 7..8));
    let all = [odd.clone(), first.clone(), again.clone(), tenth.clone()].concat();
    assert_eq!(found(Wanted::default()).await, all);
    let wanted = |topic: &str, partition, offset| Wanted { topic: Some(topic.to_owned()), partition, offset };
    assert_eq!(found(wanted("a/../#", None, None)).await, odd);
    assert_eq!(found(wanted("b", Some(1), None)).await, [first, again].concat());
    assert_eq!(found(wanted("b", Some(10), Some(2))).await, tenth);
    assert_eq!(found(wanted("b", Some(1), Some(4))).await, of("b", 1, 0, 4..5));
    assert_eq!(found(wanted("c", None, None)).await, []);
}

/// The audit knows these rows as entities' sums: what is missing is found, and repaired.
#[tokio::test]
async fn the_audit_compares_what_was_set_aside() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    handle(&function, invocation("product.created", 0, 0, &["broken", "worse"])).await;
    let states = store.items().entities.values().map(|entity| entity.known.state.clone()).collect::<Vec<_>>();
    assert!(matches!(&states[..], [State::SetAside(_), State::SetAside(_)]), "{states:?}");
    let key = Key::of("REJECTS", "product.created", "METRICS#CURRENT");
    store.items().rows.get_mut(&key).unwrap().measures.set("records", tidemark_model::Decimal::whole(1));
    let options = tidemark_ledger::AuditOptions { repair: true, ..tidemark_ledger::AuditOptions::default() };
    let audit = function.ledger.audit(&options, call()).await.unwrap();
    assert_eq!((audit.views["rejects"].drifted, audit.remaining()), (1, 0), "{audit:?}");
    assert_eq!(rejects(&store, "product.created"), ("2".to_owned(), "0".to_owned()));
}
