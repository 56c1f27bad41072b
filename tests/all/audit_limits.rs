//! What an audit cannot know, or cannot finish: what was forgotten, what does not read, what stopped it.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use serde_json::json;
use tidemark_ledger::{AuditOptions, Call, Ledger, LedgerError, PlanId};
use tidemark_local::cli;
use tidemark_local::stack::{Stack, VIEWS_TABLE};
use tidemark_model::time::DAY_MS;
use tidemark_model::{Decimal, Key};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::TAKEN_MS;
use tidemark_tests::{NOW_MS, aggregate, call, envelope, handle, options, product, records};
use tokio::time::{Instant, advance};

use crate::audit::{Damage, current, everything, found, held_audit, looking, repairing, swapped};

/// An operator who knows nothing of what was forgotten.
fn unsure() -> AuditOptions {
    AuditOptions { nothing_forgotten: false, ..repairing() }
}

fn later(days: i64) -> Call {
    Call { now_ms: TAKEN_MS + days * DAY_MS, deadline: None }
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::default();
    handle(&aggregate(store.clone(), MemoryObjects::default(), 1), everything()).await;
    store
}

/// The requests of one look.
async fn requests_of_a_look(store: &MemoryStore) -> usize {
    let counting = Faulty::new(store.clone(), Fault::CrashBefore, usize::MAX);
    Ledger::new(counting.clone(), options(1)).audit(&looking(), call()).await.unwrap();
    counting.sent()
}

#[tokio::test]
async fn what_cannot_be_recomputed_is_said_and_not_repaired() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    handle(&function, everything()).await;
    let rows = |name: &str| store.items().rows.keys().filter(|key| key.is_of(name)).count();

    let apps = rows("APP");
    let soon = function.ledger.audit(&looking(), later(29)).await.unwrap();
    assert_eq!((soon.views["apps"].skipped, soon.views["eventTotals"].skipped), (0, 0));
    // The last day of what is kept for 30 days and one more.
    let late = function.ledger.audit(&looking(), later(31)).await.unwrap();
    assert_eq!((late.views["apps"].rows, late.views["apps"].skipped), (apps, apps));

    // The events expire, and a product that was deleted.
    store.items().entities.retain(|key, _| !key.is_of("USER") && key.pk != "PRODUCT#4");
    let audit = function.ledger.audit(&unsure(), later(31)).await.unwrap();
    assert_eq!(audit.views["eventTotals"].forgotten, 1);
    assert_eq!(audit.total().forgotten, audit.views.values().map(|view| view.forgotten).sum::<usize>());
    assert_eq!(audit.views["sellers"].drifted, 1, "an active product is never forgotten: {audit:?}");
    assert!(audit.drift.iter().all(|drift| drift.measure != "total"), "its seller's total may be a tombstone's");
    let total = |row: &str| store.items().rows[&current(row)].measures.get("total").to_whole().unwrap();
    assert_eq!(total("SELLER#s1"), 7, "and is left as it is");
    let strict = function.ledger.audit(&repairing(), later(31)).await.unwrap();
    assert_eq!((strict.views["sellers"].repaired, total("SELLER#s1")), (1, 6), "where tombstones are kept");

    // Less than what is left is drift everywhere.
    let key = Key::parts(&["EVENTS"], &["SERVICE", "app", "page_view"]);
    store.items().rows.get_mut(&key).unwrap().measures.set("events", Decimal::whole(-2));
    let less = function.ledger.audit(&looking(), later(31)).await.unwrap();
    assert_eq!(less.views["eventTotals"].drifted, 1);
}

#[tokio::test]
async fn a_tombstone_that_was_forgotten_is_no_drift_unless_the_operator_says_that_none_was() {
    let store = filled().await;
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    let gone = product(4, "Deleted", 90, "s1", "c0", "2.50", 0);
    handle(&function, envelope(&json!({"product.deleted-0": records("product.deleted", 0, &[gone])}))).await;
    store.items().entities.retain(|key, _| key.pk != "PRODUCT#4");
    let before = store.tables().rows;
    // Today's settings keep tombstones for ever, and say nothing of former ones.
    let audit =
        archive::audit(&function.ledger, &AuditOptions { repair: true, ..AuditOptions::default() }, call()).await;
    assert_eq!((audit.total().drifted, audit.views["sellers"].forgotten), (0, 1), "{audit:?}");
    assert_eq!(store.tables().rows, before);
    assert!(archive::audit(&function.ledger, &looking(), call()).await.total().drifted > 0);
}

#[tokio::test]
async fn windows_whose_retention_may_have_changed_are_not_repaired() {
    let apps = |store: &MemoryStore| -> Vec<_> {
        store.tables().rows.into_iter().filter(|(key, _)| key.is_of("APP")).collect()
    };
    // It was raised, and the entities went first.
    let store = filled().await;
    store.items().entities.retain(|key, _| !key.is_of("USER"));
    let (before, ledger) = (apps(&store), Ledger::new(store.clone(), options(1)));
    let audit = ledger.audit(&unsure(), call()).await.unwrap();
    assert_eq!(audit.views["apps"].drifted, 0, "{audit:?}");
    assert!(audit.views["apps"].forgotten > 0);
    assert_eq!(apps(&store), before);
    assert!(ledger.audit(&looking(), call()).await.unwrap().views["apps"].drifted > 0);

    // It was lowered, and the rows went first.
    let store = filled().await;
    store.items().rows.retain(|key, _| !key.is_of("APP"));
    let ledger = Ledger::new(store.clone(), options(1));
    let audit = ledger.audit(&unsure(), call()).await.unwrap();
    let found = audit.views["apps"];
    assert_eq!((found.rows, found.skipped, found.drifted), (before.len(), before.len(), 0), "{audit:?}");
    assert!(apps(&store).is_empty());
    let strict = ledger.audit(&repairing(), call()).await.unwrap();
    assert_eq!((strict.views["apps"].repaired, apps(&store)), (before.len(), before));
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_an_audit_goes_on_is_no_drift() {
    let store = filled().await;
    store.items().entities.retain(|key, _| !key.is_of("USER"));
    let requests = requests_of_a_look(&store).await;
    let quick = Ledger::new(store.clone(), options(1)).audit(&looking(), later(29)).await.unwrap();
    assert!(quick.views["apps"].drifted > 0, "{quick:?}");
    for at in 0..requests {
        let slow = held_audit(&store, at, later(29), async || advance(Duration::from_hours(48)).await).await;
        assert_eq!(slow.views["apps"].drifted, 0, "held at {at}: {slow:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_does_not_read_is_said_and_the_other_rows_are_repaired() {
    let stack = Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap();
    handle(&stack.aggregate, everything()).await;
    let odd = [
        ("SELLER#s1", AttributeValue::N("0.30000000000000004".to_owned())),
        ("SELLER#s2", AttributeValue::S("five".to_owned())),
        ("CATEGORY#c2", AttributeValue::N("1".to_owned())),
    ];
    for (row, value) in odd {
        let update = stack.clients.dynamodb.update_item().table_name(VIEWS_TABLE).update_expression("SET #n = :n");
        let update = update
            .key("PK", AttributeValue::S(row.to_owned()))
            .key("SK", AttributeValue::S(current(row).sk.to_string()));
        let update = update.expression_attribute_names("#n", "value").expression_attribute_values(":n", value);
        update.send().await.unwrap();
    }
    let audit = archive::audit(&stack.aggregate.ledger, &repairing(), call()).await;
    let said: Vec<_> =
        audit.drift.iter().map(|d| (d.pk.as_str(), d.measure.as_str(), d.repaired, d.unreadable)).collect();
    let wanted = [
        ("CATEGORY#c2", "value", true, false),
        ("SELLER#s1", "value", false, true),
        ("SELLER#s2", "value", false, false),
    ];
    assert_eq!(said, wanted, "{audit:?}");
    assert_eq!((audit.remaining(), audit.unfinished), (2, false));
}

#[tokio::test(start_paused = true)]
async fn what_was_found_before_the_time_was_up_is_said() {
    let store = filled().await;
    let requests = requests_of_a_look(&store).await;
    Damage::Number("SUMMARY", "orders", 2).do_in_memory(&store);
    // The first repair is never answered.
    let ledger = Ledger::new(Faulty::new(store.clone(), Fault::Held, requests), options(1));
    let soon = Call { now_ms: NOW_MS, deadline: Some(Instant::now() + Duration::from_mins(1)) };
    let audit = ledger.audit(&repairing(), soon).await.unwrap();
    assert!(audit.unfinished);
    assert_eq!(found(&audit).into_iter().collect::<Vec<_>>(), ["SUMMARY orders: 2 -> 20"]);
    assert_eq!((audit.rounds, audit.remaining()), (1, 1));
}

#[tokio::test]
async fn an_audit_that_has_no_time_left_says_so() {
    let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 1);
    let past = Call { now_ms: NOW_MS, deadline: Some(Instant::now()) };
    assert!(matches!(function.ledger.audit(&looking(), past).await, Err(LedgerError::Deadline)));
    let audit = archive::audit(&function.ledger, &looking(), past).await;
    assert_eq!((audit.unfinished, audit.rounds), (true, 0));
}

#[tokio::test]
async fn a_plan_in_flight_that_is_not_there_leaves_rows_undecided() {
    // Not at all, or another one that was written for the same seq and lost.
    for lost in [false, true] {
        undecided_without_the_plan(lost).await;
    }
}

async fn undecided_without_the_plan(lost: bool) {
    let store = swapped().await;
    let function = aggregate(store.clone(), MemoryObjects::default(), 2);
    Damage::Number("SUMMARY", "orders", 9).do_in_memory(&store);
    let (lane, plan, seq) = {
        let mut items = store.items();
        let (lane, cursor) = items.cursors.iter_mut().next().unwrap();
        cursor.pending = true;
        (lane.clone(), cursor.plan.clone(), cursor.seq)
    };
    let body = store.items().plans.remove(&(lane.clone(), plan)).unwrap();
    if lost {
        store.items().plans.insert((lane, PlanId::new(seq, 77)), body);
    }
    let audit = function.ledger.audit(&looking(), call()).await.unwrap();
    assert_eq!((audit.total().drifted, audit.total().undecided), (0, 1), "{lost}: {audit:?}");
}
