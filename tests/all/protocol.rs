//! The commit protocol against faults: crashes and lost answers at every request, zombies,
//! conflicts, epochs, sweeping.

use std::time::Duration;

use serde_json::Value;
use tidemark_ledger::{Call, LedgerError, Store};
use tidemark_runtime::telemetry::chain;
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{NOW_MS, aggregate, call, catalogue, envelope, fail, handle, invocation, oracle, product};

fn events() -> Vec<String> {
    vec![
        product(1, "Created", 1, "s", "c", "2.50", 3),
        product(2, "Created", 2, "s", "d", "4", 30),
        product(1, "Updated", 3, "t", "c", "3", 12),
        "broken".to_owned(),
        product(2, "Deleted", 4, "s", "d", "0", 0),
        product(3, "Created", 5, "t", "d", "7.25", 9),
    ]
}

fn truth(events: &[String]) -> Value {
    oracle::products(events.iter().filter(|event| *event != "broken").map(String::as_bytes))
}

fn rejected(store: &MemoryStore) -> Option<i64> {
    let rows = store.tables().rows;
    rows.iter().find(|(key, _)| key.pk == "REJECTS#product.updated")?.1.get("records").to_whole()
}

/// Runs the batch with a fault at each request in turn; the batch comes again until it succeeds,
/// and once more.
#[tokio::test]
async fn a_fault_at_any_request_changes_no_total() {
    let events = events();
    for fault in Fault::ALL {
        let mut requests = 0;
        for at in 0.. {
            let store = MemoryStore::default();
            // An earlier batch, so that the faulty one meets states, marks and a cursor.
            let first = aggregate(store.clone(), MemoryObjects::default(), 1);
            handle(&first, invocation("product.updated", 0, 0, &events[..2])).await;
            let faulty = Faulty::new(store.clone(), fault, at);
            let function = aggregate(faulty.clone(), MemoryObjects::default(), at as u64);
            let (_, outcome) = function.handle(invocation("product.updated", 0, 2, &events[2..]), call()).await;
            let happened = faulty.sent() > at;
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            assert_eq!(outcome.is_err(), happened && crashes, "{fault:?} at {at}");
            for grouping in [2..4, 2..6, 3..6] {
                let again = aggregate(store.clone(), MemoryObjects::default(), 7);
                let payload = invocation("product.updated", 0, grouping.start as i64, &events[grouping]);
                handle(&again, payload).await;
            }
            assert_eq!(catalogue(&store.tables()), truth(&events), "{fault:?} at {at}");
            assert_eq!(rejected(&store), Some(1), "{fault:?} at {at}: a reject is counted once");
            requests = at;
            if !happened {
                break;
            }
        }
        assert!(requests > 10, "{fault:?}: a batch takes more requests than {requests}");
    }
}

/// A store on which the process died while it applied the plan of these events.
async fn left_pending(events: &[String]) -> MemoryStore {
    let payload = || invocation("product.updated", 0, 0, events);
    // A dry run counts the requests; all but the last few are let through.
    let dry = Faulty::new(MemoryStore::default(), Fault::CrashBefore, usize::MAX);
    handle(&aggregate(dry.clone(), MemoryObjects::default(), 0), payload()).await;
    let store = MemoryStore::default();
    let faulty = Faulty::new(store.clone(), Fault::CrashBefore, dry.sent() - 3);
    fail(&aggregate(faulty, MemoryObjects::default(), 0), payload()).await;
    assert!(store.items().cursors.values().all(|cursor| cursor.pending));
    store
}

#[tokio::test]
async fn a_plan_left_pending_is_finished_before_the_next_and_by_the_sweeper() {
    let events = events();
    let store = left_pending(&events).await;
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let report = handle(&function, invocation("product.updated", 0, 0, &events)).await;
    assert_eq!(report.redone, 1);
    assert_eq!(catalogue(&store.tables()), truth(&events));

    let store = left_pending(&events).await;
    let ledger = &aggregate(store.clone(), MemoryObjects::default(), 0).ledger;
    let young = ledger.sweep(NOW_MS, call()).await.unwrap();
    assert_eq!((young.lanes, young.finished), (1, 0), "an invocation may still be at work on it");
    let swept = ledger.sweep(NOW_MS + 1, call()).await.unwrap();
    assert_eq!(swept.finished, 1);
    assert_eq!(catalogue(&store.tables()), truth(&events));
    assert_eq!(ledger.sweep(NOW_MS + 1, call()).await.unwrap().finished, 0);
}

#[tokio::test]
async fn upkeep_finishes_what_was_left_pending_and_places_all_rows() {
    let events = events();
    let store = left_pending(&events).await;
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let later = Call { now_ms: NOW_MS + 900_001, deadline: None };
    assert_eq!(
        archive::upkeep(&function.ledger, call()).await.unwrap().finished,
        0,
        "an invocation may still be at work on it"
    );
    let done = archive::upkeep(&function.ledger, later).await.unwrap();
    assert_eq!((done.lanes, done.finished, done.floors), (1, 1, 0));
    assert_eq!(catalogue(&store.tables()), truth(&events));
    assert_eq!(archive::upkeep(&function.ledger, later).await.unwrap().finished, 0);
}

#[tokio::test]
async fn the_sweeper_pages_through_all_lanes() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    for partition in 0..7 {
        handle(&function, invocation("product.updated", partition, 0, &events())).await;
    }
    assert_eq!(function.ledger.sweep(NOW_MS, call()).await.unwrap().lanes, 7);
}

/// Two lanes change the same products, each reading before the other wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_meet_on_an_entity_conflict_and_agree() {
    let mut conflicts = 0;
    for seed in 0..50 {
        let store = MemoryStore::default();
        let all: Vec<String> =
            (0..40).map(|n| product(n % 5, "Updated", n, &format!("s{}", n % 3), "c", "1.10", n)).collect();
        let tasks = all.chunks(4).zip(0..).map(|(events, partition)| {
            let function = aggregate(store.clone(), MemoryObjects::default(), seed);
            let payload = invocation("product.updated", partition, 0, events);
            tokio::spawn(async move { handle(&function, payload).await.conflicts })
        });
        for task in tasks.collect::<Vec<_>>() {
            conflicts += task.await.unwrap();
        }
        assert_eq!(catalogue(&store.tables()), truth(&all), "seed {seed}");
    }
    assert!(conflicts > 0, "no lanes ever met: the test shows nothing");
}

/// A batch whose transitions exceed one item is committed as several plans; the reject that
/// stands among them is counted once.
#[tokio::test]
async fn a_batch_larger_than_a_plan_is_committed_as_several() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut noise = |n: usize| (0..n).map(|_| rng.alphanumeric()).collect::<String>();
    let mut events: Vec<String> = (0..400)
        .map(|n| {
            product(n, "Created", n, &noise(400), &noise(400), "1", 1).replace("\"n\"", &format!("\"{}\"", noise(2500)))
        })
        .collect();
    events.insert(10, "broken".to_owned());
    let store = MemoryStore::default();
    for _ in 0..2 {
        let function = aggregate(store.clone(), MemoryObjects::default(), 0);
        handle(&function, invocation("product.updated", 0, 0, &events)).await;
    }
    let plans = store.items().plans.values().map(Vec::len).collect::<Vec<_>>();
    assert!(plans.len() > 2 && plans.iter().all(|bytes| *bytes <= tidemark_ledger::MAX_PLAN_BYTES), "{plans:?}");
    assert_eq!(catalogue(&store.tables()), truth(&events));
    assert_eq!(rejected(&store), Some(1));
}

#[tokio::test]
async fn a_recreated_topic_fails_closed_until_the_epoch_is_raised() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    handle(&function, invocation("product.updated", 0, 0, &events())).await;
    let error = fail(&function, newer(invocation("product.updated", 0, 0, &events()))).await;
    assert!(error.needs_epoch());
    assert!(chain(&error).contains("raise the parameter SourceEpoch"), "{error:?}");

    handle(&in_epoch(1, &store), newer(invocation("product.updated", 0, 0, &events()))).await;
    assert_eq!(rejected(&store), Some(2), "the new topic's broken record is another one");
    assert_eq!(catalogue(&store.tables()), truth(&events()));
}

#[tokio::test]
async fn throttling_is_outlasted_until_the_attempts_are_used_up() {
    let store = Faulty::new(MemoryStore::default(), Fault::CrashBefore, 0);
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let error = fail(&function, invocation("product.updated", 0, 0, &events())).await;
    assert!(chain(&error).contains("request failed after 1 attempts"));
    assert_eq!(store.sent(), 1, "what is refused for good is not repeated");
}

/// One partition is throttled to death, the other's topic was recreated: the operator must hear of
/// both, and of what was spent.
#[tokio::test]
async fn a_failure_hides_no_other_and_no_cost() {
    let store = MemoryStore::default();
    let payload = |first| {
        let list = |partition| json_records(invocation("product.updated", partition, first, &events()));
        let (a, b) = (list(0), list(1));
        envelope(&serde_json::json!({"product.updated-0": a, "product.updated-1": b}))
    };
    handle(&aggregate(store.clone(), MemoryObjects::default(), 0), payload(0)).await;
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let (report, outcome) = function.handle(newer(payload(0)), call()).await;
    assert!(outcome.is_err());
    assert_eq!(report.epoch_errors, 2);
    assert!(report.read_units > 0.0, "{report:?}");
}

fn json_records(payload: bytes::Bytes) -> Value {
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    payload["records"].as_object().unwrap().values().next().unwrap().clone()
}

/// The same records with later Kafka timestamps.
fn newer(payload: bytes::Bytes) -> bytes::Bytes {
    String::from_utf8_lossy(&payload).replace("\"timestamp\":17356", "\"timestamp\":17357").into()
}

/// Records that change nothing leave no work, but a trace: coming again they are no recreated topic.
#[tokio::test]
async fn a_duplicate_that_comes_again_is_no_recreated_topic() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let at = |offset: i64, timestamp: i64, event: &str| {
        let payload = String::from_utf8_lossy(&invocation("product.updated", 0, offset, &[event])).into_owned();
        payload.replace(&format!("{}", 1_735_689_600_000 + offset), &timestamp.to_string()).into()
    };
    let (first, second) = (product(1, "Created", 1, "s", "c", "1", 30), product(2, "Created", 1, "s", "c", "1", 30));
    handle(&function, at(10, 98, &first)).await;
    // A duplicate with a later timestamp, then a new record with an earlier one, then the duplicate.
    handle(&function, at(11, 100, &first)).await;
    handle(&function, at(12, 99, &second)).await;
    handle(&function, at(11, 100, &first)).await;
    let cursor = store.items().cursors.values().next().unwrap().clone();
    assert_eq!((cursor.through, cursor.through_ts), (Some(12), Some(100)));
    let plans = store.items().plans.len();
    handle(&function, at(12, 99, &second)).await;
    assert_eq!(store.items().plans.len(), plans, "what is covered needs no plan");
}

/// The epoch is raised while a plan of the old lane is pending: its rows' share must not be lost.
#[tokio::test]
async fn raising_the_epoch_loses_no_pending_plan() {
    let events = events();
    for recreated in [false, true] {
        let store = left_pending(&events).await;
        let payload = || invocation("product.updated", 0, 0, &events);
        if recreated {
            // The recreated topic's records fail, but the plan is finished on the way.
            assert!(fail(&aggregate(store.clone(), MemoryObjects::default(), 0), newer(payload())).await.needs_epoch());
            assert!(store.items().cursors.values().all(|cursor| !cursor.pending));
        }
        let report = handle(&in_epoch(1, &store), newer(payload())).await;
        assert_eq!(report.redone, usize::from(!recreated));
        assert_eq!(catalogue(&store.tables()), truth(&events));
        assert!(store.items().cursors.values().all(|cursor| !cursor.pending));
    }
}

fn in_epoch(epoch: u32, store: &MemoryStore) -> std::sync::Arc<aggregate::Aggregate<MemoryStore, MemoryObjects>> {
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let options = tidemark_ledger::Options { epoch, ..tidemark_ledger::Options::default() };
    std::sync::Arc::get_mut(&mut function).unwrap().ledger = tidemark_ledger::Ledger::new(store.clone(), options);
    function
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_past_the_deadline() {
    let store = Faulty::new(MemoryStore::default(), Fault::Throttled, 3);
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let inner = std::sync::Arc::get_mut(&mut function).unwrap();
    inner.ledger = tidemark_ledger::Ledger::new(store.clone(), tidemark_ledger::Options::default());
    // The first retry waits for two seconds or more.
    let deadline = Some(tokio::time::Instant::now() + Duration::from_secs(1));
    let payload = invocation("product.updated", 0, 0, &events());
    let (_, outcome) = function.handle(payload, Call { now_ms: NOW_MS, deadline }).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, aggregate::AggregateError::Commit { source: LedgerError::Deadline, .. }), "{error:?}");
    assert_eq!(store.sent(), 4);
    assert!(store.read_cursor(&tidemark_ledger::LaneId::stored("x")).await.is_ok());
}

/// Four partitions in one invocation, and another beside it.
#[tokio::test]
async fn all_lanes_together_have_no_more_requests_in_flight_than_allowed() {
    for concurrency in [1, 3, 8] {
        let store = Faulty::new(MemoryStore::default(), Fault::Throttled, 40);
        let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
        let options = tidemark_ledger::Options { concurrency, ..tidemark_tests::options(0) };
        std::sync::Arc::get_mut(&mut function).unwrap().ledger = tidemark_ledger::Ledger::new(store.clone(), options);
        let payload = |first| {
            let list = |partition| {
                let event =
                    |n: i64| product(100 * (first + partition) + n, "Created", 1, &format!("s{n}"), "c", "1", 30);
                let events: Vec<String> = (0..60).map(event).collect();
                let records = json_records(invocation("product.updated", partition as i32, first, &events));
                (format!("product.updated-{partition}"), records)
            };
            envelope(&Value::Object((first..first + 4).map(list).collect()))
        };
        tokio::join!(handle(&function, payload(0)), handle(&function, payload(4)));
        assert_eq!(store.most_in_flight(), concurrency, "all that is allowed is used, and no more");
    }
}
