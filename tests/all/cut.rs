//! Cuts through running commits: exact whatever runs beside them, and restored, they go on.

use std::sync::Arc;

use aggregate::Aggregate;
use bytes::Bytes;
use clap::Parser;
use serde_json::json;
use tidemark_archive::Quarantine;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Cursors, Cut, Ledger, LedgerError, Logged, Options, Row, Store};
use tidemark_local::stack::Stack;
use tidemark_local::{cli, tables};
use tidemark_model::fold::sum;
use tidemark_model::{Decimal, Key, Known, Measures, Rows, Settings};
use tidemark_tests::archived::{Archived, Carried, archive, archive_from};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::metric;
use tidemark_tests::{aggregate, call, handle, invocation, options, product};
use tokio::task::yield_now;

use crate::audit::{ORDERS, everything, order};

const PRODUCTS: &str = "product.updated";
const METRICS: &str = "analytics.metrics";

/// A batch of a partition's, which competes with the others' for the same products.
fn products(partition: i32, batch: i64) -> Bytes {
    let event = |n: i64| {
        let (seller, version) = (format!("s{}", (n + batch) % 3), batch * 10 + i64::from(partition));
        product((n * 2 + i64::from(partition)) % 7, "Updated", version, &seller, "c", "2.50", batch % 20)
    };
    invocation(PRODUCTS, partition, batch * 4, &[0, 1, 2, 3].map(event))
}

fn orders(partition: i32, batch: i64) -> Bytes {
    let event =
        |n: i64| order(batch * 10 + i64::from(partition), (n + batch) % 9, &format!("c{}", batch % 5), "7.25", "paid");
    invocation(ORDERS, partition, batch * 3, &[0, 1, 2].map(event))
}

fn points(partition: i32, batch: i64) -> Bytes {
    let values: Vec<String> = (0..3).map(|n| metric("app", batch * 3 + n, json!({})).to_string()).collect();
    invocation(METRICS, partition, batch * 3, &values)
}

fn ledger<S: Store>(store: S) -> Ledger<S> {
    Ledger::new(store, options(7))
}

/// Every row of entities is the sum over the entities of the cut.
fn check_sums(carried: &Carried) {
    let of_entities = |(key, _): &(Key, Measures)| !key.is_of("METRIC") && !key.is_of("REJECTS");
    let rows: Rows = carried.rows.iter().filter(|row| of_entities(row)).cloned().collect();
    let mut expected = sum(carried.entities.iter().map(|(_, known)| &known.state)).into_sorted();
    expected.retain(of_entities);
    assert_eq!(rows.into_sorted(), expected);
}

fn rows(store: &MemoryStore) -> Vec<(Key, Measures)> {
    store.tables().rows.into_iter().filter(|(_, row)| !row.is_empty()).collect()
}

/// The places of rows in rankings.
fn ranks(store: &MemoryStore) -> Vec<Option<Decimal>> {
    store.items().rows.values().filter(|row| !row.measures.is_empty()).map(|row| row.rank).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_running_commits_on_dynamodb_a_cut_is_exact_and_goes_on_when_restored() {
    const BATCHES: i64 = 25;
    let stack = Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap();
    let of: [fn(i32, i64) -> Bytes; 3] = [products, orders, points];
    let lanes: Vec<_> = of.iter().flat_map(|of| [(of, 0), (of, 1)]).collect();
    let deliver = |(of, partition): (&fn(i32, i64) -> Bytes, i32)| {
        let (function, of) = (Arc::clone(&stack.aggregate), *of);
        tokio::spawn(async move {
            for batch in 0..BATCHES {
                handle(&function, of(partition, batch)).await;
            }
        })
    };
    let tasks: Vec<_> = lanes.iter().copied().map(deliver).collect();
    let mut cuts: Vec<Archived> = Vec::new();
    while tasks.iter().any(|task| !task.is_finished()) {
        cuts.push(archive(&stack.aggregate.ledger, call()).await.unwrap());
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(cuts.iter().any(|cut| !cut.log.is_empty()), "nothing was committed beside a cut");
    cuts.iter().for_each(|cut| check_sums(&cut.carried()));
    let expected = stack.aggregate.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap();
    for (at, cut) in [(0, cuts.first()), (1, cuts.get(cuts.len() / 2))] {
        let names = Tables { state: format!("cut-{at}-state"), views: format!("cut-{at}-views") };
        for (resource, table) in [("StateTable", &names.state), ("ViewsTable", &names.views)] {
            tables::create(&stack.clients.dynamodb, resource, table).await.unwrap();
        }
        let store = DynamoStore::new(stack.clients.dynamodb.clone(), names);
        let ledger = Ledger::new(store.clone(), Options::default());
        cut.unwrap().carried().restore(&ledger, call()).await.unwrap();
        let function = Aggregate::new(ledger, Quarantine::new(MemoryObjects::default(), 0), Settings::default());
        for (of, partition) in &lanes {
            for batch in 0..BATCHES {
                handle(&function, of(*partition, batch)).await;
            }
        }
        let found = store.read_tables(tidemark_tests::NOW_MS).await.unwrap();
        assert_eq!(found.rows, expected.rows, "cut {at} of {}", cuts.len());
        assert_eq!(found.listed, expected.listed, "cut {at} of {}", cuts.len());
    }
}

/// The end is read lane by lane. What a later lane's plan builds on may be beyond an earlier one's.
#[tokio::test]
async fn a_plan_beyond_the_end_lends_what_the_log_builds_on() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    handle(&function, products(0, 0)).await;
    handle(&function, products(1, 0)).await;
    let of = |lane: usize| store.items().cursors.values().nth(lane).unwrap().name.contains(" 1 0");
    let (first, second) = if of(0) { (1, 0) } else { (0, 1) };
    // Cursors, one page of rows, one of entities; then the lanes, and the second's cursor.
    let dry = Faulty::new(store.clone(), Fault::Held, usize::MAX);
    let one = Options { concurrency: 1, ..options(7) };
    let dry_ledger = Ledger::new(dry.clone(), one.clone());
    let cut = dry_ledger.begin_cut(call()).await.unwrap();
    let begun = dry.sent();
    archive_from(&dry_ledger, &cut, call()).await.unwrap();
    let scans = store.items().rows.len().div_ceil(7);
    let scans = scans + store.items().entities.len().div_ceil(7);
    let mut lent = 0;
    for at in begun..begun + scans + 6 {
        let copy = MemoryStore::default();
        *copy.items() = store.items().clone();
        let held = Faulty::new(copy.clone(), Fault::Held, at);
        let task = tokio::spawn({
            let ledger = Ledger::new(held.clone(), one.clone());
            async move { archive(&ledger, call()).await.unwrap() }
        });
        while held.sent() <= at && !task.is_finished() {
            yield_now().await;
        }
        let beside = aggregate(copy.clone(), MemoryObjects::default(), 2);
        let point = product(3, "Updated", 900, "late", "c", "4", 3);
        handle(&beside, invocation(PRODUCTS, first, 50, &[point])).await;
        handle(&beside, invocation(PRODUCTS, second, 50, &[product(3, "Updated", 901, "later", "c", "4", 3)])).await;
        held.let_go();
        let archived = task.await.unwrap();
        let beyond = |logged: &&Logged| archived.end.get(&logged.lane).is_none_or(|end| end.seq < logged.seq);
        lent += archived.log.iter().filter(beyond).count();
        let carried = archived.carried();
        check_sums(&carried);
        let restored = MemoryStore::default();
        carried.restore(&ledger(restored.clone()), call()).await.unwrap();
        let again = aggregate(restored.clone(), MemoryObjects::default(), 3);
        handle(&again, invocation(PRODUCTS, first, 50, &[product(3, "Updated", 900, "late", "c", "4", 3)])).await;
        handle(&again, invocation(PRODUCTS, second, 50, &[product(3, "Updated", 901, "later", "c", "4", 3)])).await;
        assert_eq!(rows(&restored), rows(&copy), "held at {at}");
    }
    assert!(lent > 0, "nothing was lent: the test shows nothing");
}

/// A store with all streams, and its cut.
async fn archived() -> (MemoryStore, Archived) {
    let store = MemoryStore::default();
    handle(&aggregate(store.clone(), MemoryObjects::default(), 1), everything()).await;
    let archived = archive(&ledger(store.clone()), call()).await.unwrap();
    (store, archived)
}

#[tokio::test]
async fn what_is_archived_passes_through_json() {
    let (store, begun) = (MemoryStore::default(), MemoryStore::default());
    handle(&aggregate(store.clone(), MemoryObjects::default(), 1), everything()).await;
    let cut = ledger(begun).begin_cut(call()).await.unwrap();
    let Archived { entities, rows, log, end } = archive_from(&ledger(store), &cut, call()).await.unwrap();
    // Tag sets are admitted by a plan of their own.
    assert_eq!((log.len(), end.len()), (6, 5), "all that was committed since nothing was");
    let text = serde_json::to_string(&(&cut, &entities, &rows, &log, &end)).unwrap();
    type All = (Cut, Vec<(Key, Known)>, Vec<(Key, Row)>, Vec<Logged>, Cursors);
    assert_eq!(serde_json::from_str::<All>(&text).unwrap(), (cut, entities, rows, log, end));
}

#[tokio::test]
async fn a_restore_that_meets_a_fault_anywhere_is_repeated() {
    let (store, archived) = archived().await;
    let carried = archived.carried();
    for fault in Fault::ALL {
        for at in (0..).step_by(3) {
            let restored = MemoryStore::default();
            let faulty = Faulty::new(restored.clone(), fault, at);
            let outcome = carried.restore(&ledger(faulty.clone()), call()).await;
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            assert_eq!(outcome.is_err(), crashes && faulty.sent() > at, "{fault:?} at {at}");
            carried.restore(&ledger(restored.clone()), call()).await.unwrap();
            assert_eq!(rows(&restored), rows(&store), "{fault:?} at {at}");
            let entities = |store: &MemoryStore| -> Vec<(Key, Known)> {
                store.items().entities.iter().map(|(key, entity)| (key.clone(), entity.known.clone())).collect()
            };
            assert_eq!(entities(&restored), entities(&store), "{fault:?} at {at}");
            assert_eq!(restored.items().cursors, store.items().cursors, "{fault:?} at {at}");
            assert_eq!(ranks(&restored), ranks(&store), "{fault:?} at {at}: all have their places");
            if faulty.sent() <= at {
                break;
            }
        }
    }
}

/// What is restored after a floor was set would have no place.
#[tokio::test]
async fn upkeep_beside_a_restore_costs_no_row_its_place() {
    let (store, archived) = archived().await;
    let carried = archived.carried();
    let restored = MemoryStore::default();
    let restoring = ledger(restored.clone());
    restoring.begin_restore(&carried.end, call()).await.unwrap();
    restoring.refresh_rankings(call()).await.unwrap();
    restoring.restore_entities(&carried.entities, call()).await.unwrap();
    restoring.restore_rows(&carried.rows, call()).await.unwrap();
    restoring.end_restore(call()).await.unwrap();
    assert_eq!(ranks(&restored), ranks(&store));
}

#[tokio::test]
async fn tables_that_hold_something_else_are_left_as_they_are() {
    let (store, archived) = archived().await;
    let carried = archived.carried();
    carried.restore(&ledger(store.clone()), call()).await.unwrap();
    handle(&aggregate(store.clone(), MemoryObjects::default(), 2), products(0, 0)).await;
    let row_alone = MemoryStore::default();
    row_alone.items().rows.insert(Key::of("ROW", "1", "X"), Default::default());
    let entity_alone = MemoryStore::default();
    entity_alone.create_entities(&carried.entities[..1]).await.unwrap();
    for other in [store, row_alone, entity_alone] {
        let held = |store: &MemoryStore| {
            let items = store.items();
            (items.rows.len(), items.entities.len(), items.cursors.clone(), items.floors.len())
        };
        let before = held(&other);
        let outcome = carried.restore(&ledger(other.clone()), call()).await;
        assert!(matches!(outcome, Err(LedgerError::NotEmpty { .. })), "{outcome:?}");
        assert_eq!(held(&other), before);
    }
}

#[tokio::test]
async fn a_pending_plan_is_finished_whatever_its_age() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    handle(&function, products(0, 0)).await;
    for at in 3..20 {
        let copy = MemoryStore::default();
        *copy.items() = store.items().clone();
        let faulty = Faulty::new(copy.clone(), Fault::CrashBefore, at);
        let (_, _) = aggregate(faulty, MemoryObjects::default(), 2).handle(products(0, 1), call()).await;
        let archived = archive(&ledger(copy.clone()), call()).await.unwrap();
        check_sums(&archived.carried());
        assert_eq!(archived.end, copy.items().cursors, "{at}");
        assert!(archived.end.values().all(|cursor| !cursor.pending), "{at}");
    }
}

#[tokio::test]
async fn a_log_that_lacks_a_plan_says_so() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    handle(&function, products(0, 0)).await;
    let cut = ledger(store.clone()).begin_cut(call()).await.unwrap();
    for batch in 1..4 {
        handle(&function, products(0, batch)).await;
    }
    assert_eq!(archive_from(&ledger(store.clone()), &cut, call()).await.unwrap().log.len(), 3);
    for seq in 2..5 {
        for expired in [true, false] {
            let copy = MemoryStore::default();
            *copy.items() = store.items().clone();
            let key = copy.items().plans.keys().find(|(_, plan)| plan.seq() == Some(seq)).unwrap().clone();
            // The first plan's own predecessor is not asked for.
            let missing = if expired { seq } else { seq - 1 };
            match expired {
                true => drop(copy.items().plans.remove(&key)),
                false => drop(copy.items().previous.remove(&key)),
            }
            let outcome = archive_from(&ledger(copy), &cut, call()).await.map(|archived| archived.log.len());
            match outcome {
                Ok(3) => assert!(seq == 2 && !expired),
                Err(LedgerError::LogIncomplete { seq: of, .. }) => assert_eq!(of, missing),
                other => panic!("{seq} {expired}: {other:?}"),
            }
        }
    }
}

/// Whoever lost the race for a seq left a plan that never was.
#[tokio::test]
async fn plans_that_were_refused_are_not_in_the_log() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    let cut = ledger(store.clone()).begin_cut(call()).await.unwrap();
    for batch in 0..4 {
        handle(&function, products(0, batch)).await;
        let mut items = store.items();
        let cursor = items.cursors.values().next().unwrap().clone();
        let lane = items.cursors.keys().next().unwrap().clone();
        // One sorts before, one after.
        for bits in [0, u64::MAX] {
            let key = (lane.clone(), tidemark_ledger::PlanId::new(cursor.seq, bits));
            let body = items.plans.values().next().unwrap().clone();
            items.plans.insert(key.clone(), body);
            if let Some(previous) = items.previous.get(&(lane.clone(), cursor.plan.clone())).cloned() {
                items.previous.insert(key, previous);
            }
        }
    }
    let archived = archive_from(&ledger(store.clone()), &cut, call()).await.unwrap();
    assert_eq!(archived.log.iter().map(|logged| logged.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    check_sums(&archived.carried());
    let fresh = Archived { entities: Vec::new(), rows: Vec::new(), ..archived };
    let mut carried = fresh.carried();
    carried.rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(carried.rows, rows(&store), "the log alone is all there is");
}
