//! What a commit sends, waits for and reports. Its effect on the rows is the other tests' business.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_ledger::{Call, Cursor, Lane, Ledger, LedgerError, PlanId, Store};
use tidemark_model::{Batch, Rows, Settings, decode};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::MemoryStore;
use tidemark_tests::values::{TAKEN_MS, change, metric, order, tracked, with};
use tidemark_tests::{NOW_MS, call, invocation, options, product};
use tokio::time::Instant;

const PRODUCTS: &str = "product.updated";

fn batch(payload: &Bytes) -> Arc<Batch> {
    Arc::new(decode(payload, &Settings::default()).unwrap().remove(0))
}

fn products(partition: i32, offset: i64, events: &[String]) -> Arc<Batch> {
    batch(&invocation(PRODUCTS, partition, offset, events))
}

fn created(ids: std::ops::Range<i64>) -> Vec<String> {
    ids.map(|id| product(id, "Created", 1, "s", "c", "1", 30)).collect()
}

fn ledger<S: Store>(store: S) -> Ledger<S> {
    Ledger::new(store, options(0))
}

/// A store that counts what is sent.
fn counted(store: &MemoryStore) -> Faulty<MemoryStore> {
    Faulty::new(store.clone(), Fault::CrashBefore, usize::MAX)
}

#[tokio::test]
async fn a_commit_reports_what_it_did_and_sent() {
    let store = MemoryStore::default();
    let faulty = counted(&store);
    let ledger = ledger(faulty.clone());
    let (first, outcome) = ledger.commit(&products(0, 0, &created(0..2)), call()).await;
    outcome.unwrap();
    assert_eq!(first.lane, store.items().lanes.keys().next().unwrap().to_string());
    assert_eq!((first.plans, first.entities, first.duplicates, first.conflicts), (1, 2, 0, 0));
    assert_eq!((first.requests, first.retries), (faulty.sent(), 0));

    let (second, outcome) = ledger.commit(&products(0, 2, &created(2..4)), call()).await;
    outcome.unwrap();
    assert_eq!(second.requests, first.requests - 1, "a lane is registered once");

    // An old version beside a new one, and one that is only old.
    let again = [created(0..2), vec![product(0, "Updated", 2, "s", "c", "2", 30)]].concat();
    let (third, outcome) = ledger.commit(&products(0, 4, &again), call()).await;
    outcome.unwrap();
    assert_eq!((third.plans, third.entities, third.duplicates), (1, 1, 2));
}

#[tokio::test]
async fn all_rows_that_changed_are_counted_tallies_among_them() {
    let store = MemoryStore::default();
    let value = change("orders", "c", 1, Value::Null, order(1, "10", "paid")).to_string();
    let (receipt, outcome) =
        ledger(store.clone()).commit(&batch(&invocation("db.public.orders", 0, 0, &[value])), call()).await;
    outcome.unwrap();
    assert_eq!(receipt.rows, store.tables().rows.len());
    assert!(receipt.rows > 2, "{receipt:?}");
}

/// The first read may be cheap and stale: the counters catch it. What it missed is then read strongly.
#[tokio::test]
async fn a_stale_read_costs_one_more_round() {
    let store = MemoryStore::default();
    ledger(store.clone()).commit(&products(0, 0, &created(0..2)), call()).await.1.unwrap();
    let updated = [0, 1].map(|id| product(id, "Updated", 2, "t", "c", "2", 30));
    let stale = Faulty::new(store.clone(), Fault::Stale, 0);
    let (receipt, outcome) = ledger(stale).commit(&products(1, 0, &updated), call()).await;
    outcome.unwrap();
    assert_eq!((receipt.plans, receipt.entities, receipt.conflicts), (2, 2, 2));
    assert_eq!(receipt.duplicates, 0, "what one round committed is no duplicate in the next");
    let rows: Rows = store.tables().rows.into_iter().collect();
    assert_eq!(rows.into_sorted(), store.recomputed().into_sorted());
}

/// What a batch request left out is asked for again, after a wait.
#[tokio::test(start_paused = true)]
async fn what_was_answered_in_part_is_repeated_after_a_wait() {
    let mut repeated = 0;
    let mut clean = None;
    for at in (0..).map(|at| if at == 0 { usize::MAX } else { at - 1 }) {
        let store = MemoryStore::default();
        ledger(store.clone()).commit(&products(0, 0, &created(0..4)), call()).await.1.unwrap();
        // Stale, so that inserts are refused and the lane's marks are read, too.
        let faulty = Faulty::new(Faulty::new(store.clone(), Fault::Stale, 0), Fault::Halved, at);
        let start = Instant::now();
        let updated: Vec<String> = (0..4).map(|id| product(id, "Updated", 2, "t", "c", "2", 30)).collect();
        let (receipt, outcome) = ledger(faulty.clone()).commit(&products(1, 0, &updated), call()).await;
        outcome.unwrap();
        let clean = *clean.get_or_insert(receipt.requests);
        assert_eq!(receipt.requests, clean + receipt.retries, "halved at {at}");
        assert_eq!(receipt.requests, faulty.sent(), "halved at {at}");
        assert_eq!(start.elapsed() > Duration::ZERO, receipt.retries > 0, "halved at {at}");
        repeated += receipt.retries;
        if at != usize::MAX && at >= clean {
            break;
        }
    }
    // Entities read and written, in both rounds; marks read, in the first.
    assert_eq!(repeated, 5);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_lets_nothing_be_sent() {
    let store = counted(&MemoryStore::default());
    let deadline = Some(Instant::now());
    let call = Call { now_ms: NOW_MS, deadline };
    let (_, outcome) = ledger(store.clone()).commit(&products(0, 0, &created(0..2)), call).await;
    assert!(matches!(outcome, Err(LedgerError::Deadline)), "{outcome:?}");
    assert_eq!(store.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_taken_if_it_ends_before_the_deadline_and_not_begun_else() {
    for (seconds, outlasted) in [(3_600, true), (1, false)] {
        let store = Faulty::new(MemoryStore::default(), Fault::Throttled, 3);
        // The default's first wait is two seconds or more.
        let ledger = Ledger::new(store.clone(), tidemark_ledger::Options::default());
        let start = Instant::now();
        let call = Call { now_ms: NOW_MS, deadline: Some(start + Duration::from_secs(seconds)) };
        let (receipt, outcome) = ledger.commit(&products(0, 0, &created(0..2)), call).await;
        assert_eq!((outcome.is_ok(), receipt.retries), (outlasted, usize::from(outlasted)), "{outcome:?}");
        assert_eq!(start.elapsed() > Duration::ZERO, outlasted);
    }
}

/// One id for two lanes would let each take the other's marks for its own.
#[tokio::test]
async fn a_lane_whose_id_another_has_fails_closed() {
    let store = MemoryStore::default();
    let batch = products(0, 0, &created(0..2));
    let lane = Lane::of(&batch, 0);
    let cursor = Cursor {
        seq: 1,
        plan: PlanId::new(1, 1),
        pending: false,
        through: None,
        through_ts: None,
        since_ms: 0,
        name: "another lane".to_owned(),
    };
    store.items().cursors.insert(lane.id.clone(), cursor.clone());
    let (_, outcome) = ledger(store.clone()).commit(&batch, call()).await;
    assert!(matches!(outcome, Err(LedgerError::LaneCollision { .. })), "{outcome:?}");
    assert_eq!(store.items().cursors[&lane.id], cursor);
    assert!(store.items().entities.is_empty() && store.items().plans.is_empty());
}

/// To the ms: a row must not come back with one share alone once it may be gone.
#[tokio::test]
async fn a_window_is_left_out_from_the_moment_it_may_be_gone() {
    let settings = Settings { sales_retention_ms: Some(86_400_000), ..Settings::default() };
    let value = change("orders", "c", 1, Value::Null, order(1, "10", "paid")).to_string();
    let batch = Arc::new(decode(&invocation("db.public.orders", 0, 0, &[value]), &settings).unwrap().remove(0));
    let expiring = |store: &MemoryStore| {
        let rows = store.tables().rows;
        rows.iter().filter_map(|(_, row)| row.expires_ms()).collect::<Vec<_>>()
    };
    let store = MemoryStore::default();
    ledger(store.clone()).commit(&batch, call()).await.1.unwrap();
    let [gone_ms] = expiring(&store)[..] else { panic!("a day of sales is the only window") };
    for (now_ms, late) in [(gone_ms - 1, 0), (gone_ms, 1)] {
        let store = MemoryStore::default();
        let (receipt, outcome) = ledger(store.clone()).commit(&batch, Call { now_ms, deadline: None }).await;
        outcome.unwrap();
        assert_eq!((receipt.late, expiring(&store).len()), (late, 1 - late));
    }
}

#[tokio::test]
async fn points_that_come_again_among_new_ones_count_once() {
    let store = MemoryStore::default();
    let values: Vec<String> = (0..6).map(|value| metric("app", value, json!({})).to_string()).collect();
    for offsets in [0..3, 2..5, 0..6] {
        let payload = invocation("analytics.metrics", 0, offsets.start as i64, &values[offsets]);
        ledger(store.clone()).commit(&batch(&payload), call()).await.1.unwrap();
    }
    let all = MemoryStore::default();
    ledger(all.clone()).commit(&batch(&invocation("analytics.metrics", 0, 0, &values)), call()).await.1.unwrap();
    assert_eq!(store.tables().rows, all.tables().rows);
}

/// Sightings come with every event: their repetition says nothing about the source.
#[tokio::test]
async fn a_repeated_sighting_is_no_duplicate_but_a_repeated_event_is() {
    let store = MemoryStore::default();
    let events = [0, 1].map(|ms| with(&tracked("app", "u"), json!({"timestamp": TAKEN_MS + ms})).to_string());
    let mut found = Vec::new();
    for offset in [0, 2] {
        let payload = invocation("analytics.events", 0, offset, &events);
        let (receipt, outcome) = ledger(store.clone()).commit(&batch(&payload), call()).await;
        outcome.unwrap();
        found.push((receipt.entities, receipt.duplicates));
    }
    assert_eq!(found, [(3, 0), (0, 2)]);
}
