//! The audit: it finds what has drifted and nothing else, whatever runs beside it, and repairs it for good.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use clap::Parser;
use serde_json::{Value, json};
use tidemark_ledger::{Audit, AuditOptions, Audited, Call, Floor, Ledger, Options, Store};
use tidemark_local::cli;
use tidemark_local::stack::{LocalAggregate, Stack, VIEWS_TABLE};
use tidemark_model::time::DAY_MS;
use tidemark_model::views::{CURRENT, ranking_of, rankings};
use tidemark_model::{Decimal, Key, Measures, Rows, Settings};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore, StoredRow};
use tidemark_tests::values::{self, TAKEN_MS, change, metric, tracked, with};
use tidemark_tests::{
    NOW_MS, aggregate, aggregate_with, call, envelope, handle, invocation, options, product, records,
};
use tokio::time::Instant;

pub(crate) const ORDERS: &str = "db.public.orders";
const ITEMS: &str = "db.public.order_items";

pub(crate) fn order(at: i64, id: i64, customer: &str, total: &str, status: &str) -> String {
    let row = with(&values::order(id, total, status), json!({"customer_id": customer}));
    change("orders", "u", at, Value::Null, row).to_string()
}

fn item(at: i64, id: i64, product: i64, price: &str) -> String {
    change("order_items", "u", at, Value::Null, values::item(id, product, 2, price)).to_string()
}

/// A little of every stream.
pub(crate) fn everything() -> Bytes {
    let mut products: Vec<String> =
        (0..20).map(|n| product(n, "Created", n, &format!("s{}", n % 3), &format!("c{}", n % 4), "2.50", n)).collect();
    products.push("broken".to_owned());
    let orders: Vec<String> =
        (0..20).map(|n| order(n, n, &format!("c{}", n % 7), &format!("{n}.25"), "paid")).collect();
    let items: Vec<String> = (0..20).map(|n| item(n, n, n % 5, "1.10")).collect();
    let events: Vec<String> = (0..10)
        .map(|n| with(&tracked("app", &format!("u{}", n % 4)), json!({"timestamp": TAKEN_MS + n})).to_string())
        .collect();
    let points: Vec<String> = (0..10).map(|n| metric("app", n, json!({})).to_string()).collect();
    envelope(&json!({
        "product.created-0": records("product.created", 0, &products),
        "db.public.orders-0": records(ORDERS, 0, &orders),
        "db.public.order_items-0": records(ITEMS, 0, &items),
        "analytics.events-0": records("analytics.events", 0, &events),
        "analytics.metrics-0": records("analytics.metrics", 0, &points),
    }))
}

/// Newer records of the same entities and of others.
fn more(at: i64) -> Bytes {
    let orders: Vec<String> = (0..12).map(|n| order(at + n, n * 2, &format!("c{}", n % 9), "7", "shipped")).collect();
    let items: Vec<String> = (0..12).map(|n| item(at + n, n * 2, n % 7, "3")).collect();
    let products: Vec<String> =
        (0..12).map(|n| product(n * 2, "Updated", at + n, &format!("s{}", n % 4), "c1", "4", 3 + n)).collect();
    envelope(&json!({
        "product.updated-0": records("product.updated", at, &products),
        "db.public.orders-0": records(ORDERS, at, &orders),
        "db.public.order_items-0": records(ITEMS, at, &items),
    }))
}

pub(crate) fn repairing() -> AuditOptions {
    AuditOptions { repair: true, ..looking() }
}

pub(crate) fn looking() -> AuditOptions {
    AuditOptions { segments: 3, nothing_forgotten: true, ..AuditOptions::default() }
}

/// What was found, as `row number: stored -> recomputed`.
pub(crate) fn found(audit: &Audit) -> BTreeSet<String> {
    let number = |n: Option<Decimal>| n.map_or("none".to_owned(), |n| n.to_string());
    let drift = audit.drift.iter();
    drift.map(|d| format!("{} {}: {} -> {}", d.pk, d.measure, number(d.stored), number(d.recomputed))).collect()
}

pub(crate) fn current(pk: &str) -> Key {
    Key { pk: pk.into(), sk: CURRENT.into() }
}

/// I1 and I5, but for rows of points.
pub(crate) fn check_exact(store: &MemoryStore, what: &str) {
    let of_entities = |(key, _): &(Key, Measures)| !key.is_of("METRIC");
    let stored: Rows = store.tables().rows.into_iter().filter(of_entities).collect();
    let recomputed: Rows = store.recomputed().into_sorted().into_iter().filter(of_entities).collect();
    assert_eq!(stored.into_sorted(), recomputed.into_sorted(), "{what}");
    let items = store.items();
    for (key, row) in &items.rows {
        let Some(ranking) = ranking_of(key) else { continue };
        let shown = items.floors.get(ranking.board).and_then(|floor: &Floor| floor.shown);
        let by = row.measures.get(ranking.by);
        let wanted = match shown.is_none_or(|shown| by >= shown) {
            _ if !ranking.is_present(&row.measures) => None,
            true => Some(by),
            false => row.rank.and(Some(by)),
        };
        assert_eq!(row.rank, wanted, "{what}: {key:?}");
    }
}

/// Something that nobody should do to a row.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Number(&'static str, &'static str, i64),
    Gone(&'static str),
    Extra(&'static str, &'static str, i64),
    NoPlace(&'static str),
    WrongPlace(&'static str, i64),
}

impl Damage {
    /// One of each kind, with what the audit must say.
    fn all() -> Vec<(Self, Vec<&'static str>)> {
        use Damage::*;
        vec![
            (Number("SELLER#s1", "value", 1_000), vec!["SELLER#s1 value: 1000 -> 175"]),
            (Number("CATEGORY#c2", "products", 1), vec!["CATEGORY#c2 products: 1 -> 5"]),
            (Number("SUMMARY", "customers", 9), vec!["SUMMARY customers: 9 -> 7"]),
            (Number("SUMMARY", "orders", 2), vec!["SUMMARY orders: 2 -> 20"]),
            (Number("LOWSTOCK", "count", 0), vec!["LOWSTOCK count: none -> 10"]),
            (Number("CUSTOMER#c4", "orders", 0), vec!["CUSTOMER#c4 orders: none -> 3"]),
            (Gone("CUSTOMER#c5"), vec!["CUSTOMER#c5 orders: none -> 3", "CUSTOMER#c5 spent: none -> 36.75"]),
            (
                Gone("CATEGORY#c3"),
                vec![
                    "CATEGORY#c3 prices: none -> 12.5",
                    "CATEGORY#c3 products: none -> 5",
                    "CATEGORY#c3 value: none -> 137.5",
                ],
            ),
            (Extra("SELLER#ghost", "total", 3), vec!["SELLER#ghost total: 3 -> 0"]),
            (Extra("CUSTOMER#ghost", "orders", 3), vec!["CUSTOMER#ghost orders: 3 -> 0"]),
            (NoPlace("PRODUCTSALES#3"), vec!["PRODUCTSALES#3 rank: none -> 8.8"]),
            (WrongPlace("PRODUCTSALES#4", 77), vec!["PRODUCTSALES#4 rank: 77 -> 8.8"]),
        ]
    }

    pub(crate) fn do_in_memory(&self, store: &MemoryStore) {
        let rows = &mut store.items().rows;
        match self {
            Self::Number(row, name, n) => {
                rows.get_mut(&current(row)).unwrap().measures.set(name, Decimal::whole(*n));
            }
            Self::Gone(row) => {
                rows.remove(&current(row)).unwrap();
            }
            Self::Extra(row, name, n) => {
                let mut extra = StoredRow::default();
                extra.measures.set(name, Decimal::whole(*n));
                rows.insert(current(row), extra);
            }
            Self::NoPlace(row) => rows.get_mut(&current(row)).unwrap().rank = None,
            Self::WrongPlace(row, n) => rows.get_mut(&current(row)).unwrap().rank = Some(Decimal::whole(*n)),
        }
    }

    async fn do_in_dynamodb(&self, stack: &Stack) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (Self::Number(row, ..)
        | Self::Gone(row)
        | Self::Extra(row, ..)
        | Self::NoPlace(row)
        | Self::WrongPlace(row, _)) = self;
        let client = &stack.clients.dynamodb;
        if let Self::Gone(_) = self {
            let gone = client.delete_item().table_name(VIEWS_TABLE).key("PK", text(row)).key("SK", text(CURRENT));
            gone.send().await.unwrap();
            return;
        }
        let update = client.update_item().table_name(VIEWS_TABLE).key("PK", text(row)).key("SK", text(CURRENT));
        let set = |name: &str, n: i64| {
            let update = update.clone().update_expression("SET #n = :n").expression_attribute_names("#n", name);
            update.expression_attribute_values(":n", AttributeValue::N(n.to_string()))
        };
        let update = match self {
            Self::Number(_, name, n) | Self::Extra(_, name, n) => set(name, *n),
            Self::WrongPlace(_, n) => set("rank", *n),
            _ => update
                .clone()
                .update_expression("REMOVE #board, #rank")
                .expression_attribute_names("#board", "board")
                .expression_attribute_names("#rank", "rank"),
        };
        update.send().await.unwrap();
    }
}

#[tokio::test]
async fn each_kind_of_drift_is_found_and_repaired_and_nothing_else() {
    let all = Damage::all();
    let together: BTreeSet<String> = all.iter().flat_map(|(_, said)| said).map(|said| (*said).to_owned()).collect();
    let each = all.iter().map(|(damage, said)| (vec![damage.clone()], said.iter().map(|s| (*s).to_owned()).collect()));
    let both = std::iter::once((all.iter().map(|(damage, _)| damage.clone()).collect(), together));
    for (damages, said) in each.chain(both) {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 1);
        handle(&function, everything()).await;
        let clean = function.ledger.audit(&repairing(), call()).await.unwrap();
        assert_eq!((clean.total().drifted, clean.total().undecided, clean.rounds), (0, 0, 1));
        assert_eq!(clean.views["metrics"].rows, clean.total().skipped);
        damages.iter().for_each(|damage| damage.do_in_memory(&store));

        let audit = function.ledger.audit(&looking(), call()).await.unwrap();
        assert_eq!(found(&audit), said, "{damages:?}");
        assert_eq!((audit.remaining(), audit.rounds), (audit.total().drifted, 1), "{damages:?}");
        assert!(audit.drift.iter().all(|drift| !drift.repaired));
        let repaired = function.ledger.audit(&repairing(), call()).await.unwrap();
        assert_eq!(found(&repaired), said, "{damages:?}");
        assert_eq!((repaired.remaining(), repaired.total().undecided), (0, 0), "{damages:?}: {repaired:?}");
        check_exact(&store, &format!("{damages:?}"));
        let after = function.ledger.audit(&looking(), call()).await.unwrap();
        assert_eq!(after.total().drifted, 0, "{damages:?}");

        for at in [100, 200] {
            handle(&function, more(at)).await;
            check_exact(&store, &format!("{damages:?}, and then {at}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_dynamodb_is_audited_and_repaired_alike() {
    let stack = Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap();
    let function: &LocalAggregate = &stack.aggregate;
    handle(function, everything()).await;
    let clean = function.ledger.audit(&looking(), call()).await.unwrap();
    assert_eq!((clean.total().drifted, clean.total().undecided), (0, 0), "{clean:?}");
    for (damage, _) in Damage::all() {
        damage.do_in_dynamodb(&stack).await;
    }
    // Its REMOVE leaves nothing, its SET a zero.
    let zeros = |text: &str| text.replace("count: none", "count: 0").replace("c4 orders: none", "c4 orders: 0");
    let said: BTreeSet<String> = Damage::all().iter().flat_map(|(_, said)| said).map(|said| zeros(said)).collect();
    let normal = |audit: &Audit| found(audit).iter().map(|said| zeros(said)).collect::<BTreeSet<_>>();
    let audit = function.ledger.audit(&looking(), call()).await.unwrap();
    assert_eq!(normal(&audit), said);
    let repaired = archive::audit(&function.ledger, &repairing(), call()).await;
    assert_eq!(normal(&repaired), said);
    assert_eq!((repaired.remaining(), repaired.total().undecided), (0, 0), "{repaired:?}");
    for at in [100, 200] {
        handle(function, more(at)).await;
        let audit = function.ledger.audit(&looking(), call()).await.unwrap();
        assert_eq!((audit.total().drifted, audit.total().undecided), (0, 0), "{audit:?}");
    }
    for ranking in rankings() {
        let rows = function.ledger.store().read_tables(NOW_MS).await.unwrap().rows;
        let present = rows.iter().filter(|(key, row)| ranking_of(key) == Some(ranking) && ranking.is_present(row));
        assert_eq!(function.ledger.store().top(ranking, 100).await.unwrap().value.len(), present.count());
    }
}

/// Two orders change places: no number of any row is another afterwards, no mark is left, and whoever sees one
/// of them before and the other after counts wrong.
fn swap(at: i64, there: bool) -> Value {
    let [a, b] = if there { ["new", "paid"] } else { ["paid", "new"] };
    let orders: Vec<String> = (0..4).map(|n| order(at + n, n, "c", "5", if n % 2 == 0 { a } else { b })).collect();
    json!({"db.public.orders-0": records(ORDERS, at, &orders)})
}

pub(crate) async fn swapped() -> MemoryStore {
    let store = MemoryStore::default();
    handle(&aggregate(store.clone(), MemoryObjects::default(), 1), envelope(&swap(0, true))).await;
    store
}

/// The number of requests that some work sends when it is alone.
async fn alone(work: impl AsyncFn(Faulty<MemoryStore>)) -> usize {
    let counting = Faulty::new(swapped().await, Fault::CrashBefore, usize::MAX);
    work(counting.clone()).await;
    counting.sent()
}

/// Runs an audit that is held at one of its requests until something else was done.
pub(crate) async fn held_audit(store: &MemoryStore, at: usize, call: Call, meanwhile: impl AsyncFnOnce()) -> Audit {
    let held = Faulty::new(store.clone(), Fault::Held, at);
    let ledger = Ledger::new(held.clone(), options(3));
    let audit = tokio::spawn(async move { ledger.audit(&AuditOptions { rounds: 1, ..looking() }, call).await });
    while held.sent() <= at {
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
    meanwhile().await;
    held.let_go();
    audit.await.unwrap().unwrap()
}

#[tokio::test]
async fn no_commit_at_any_moment_of_an_audit_looks_like_drift() {
    let audits = alone(async |store| {
        Ledger::new(store, options(3)).audit(&looking(), call()).await.unwrap();
    });
    let commits = alone(async |store| {
        handle(&aggregate(store, MemoryObjects::default(), 2), envelope(&swap(10, false))).await;
    });
    let (audits, commits) = (audits.await, commits.await);
    let mut undecided = 0;
    for at in 0..audits {
        // The commit dies after some of its requests, or does not; it may have done some before the audit.
        for dies in 0..=commits {
            for early in [false, true] {
                let what = format!("audit held at {at}, commit dies at {dies}, early {early}");
                let store = swapped().await;
                let die = async || {
                    let dying = Faulty::new(store.clone(), Fault::CrashBefore, dies);
                    let function = aggregate(dying, MemoryObjects::default(), 2);
                    let _dies = function.handle(envelope(&swap(10, false)), call()).await;
                };
                let finish = async || {
                    let function = aggregate(store.clone(), MemoryObjects::default(), 5);
                    handle(&function, envelope(&swap(10, false))).await;
                };
                let audit = match early {
                    true => {
                        die().await;
                        held_audit(&store, at, call(), finish).await
                    }
                    false => held_audit(&store, at, call(), die).await,
                };
                assert_eq!(audit.total().drifted, 0, "{what}: {audit:?}");
                undecided += audit.total().undecided;
            }
        }
    }
    assert!(undecided > 0, "no audit ever saw a plan in part: the test shows nothing");
}

/// Random changes of few orders and items.
struct Shop {
    rng: fastrand::Rng,
    at: i64,
}

impl Shop {
    fn batch(&mut self) -> Value {
        let (first, rng) = (self.at, &mut self.rng);
        let mut change = |at: i64| {
            let (id, whose) = (rng.i64(0..12), rng.i64(0..6));
            let amount = rust_decimal::Decimal::new(rng.i64(-5..100) * 50, 2).to_string();
            match rng.u8(0..5) {
                0 => values::change("orders", "d", at, json!({"id": id}), Value::Null).to_string(),
                _ => order(at, id, &format!("c{whose}"), &amount, ["new", "paid"][rng.usize(0..2)]),
            }
        };
        let values: Vec<String> = (0..8).map(|n| change(first + n)).collect();
        self.at += 8;
        json!({"db.public.orders-0": records(ORDERS, first, &values)})
    }
}

/// Delivers batches until each is through; every third invocation dies somewhere.
async fn deliver(store: MemoryStore, batches: Vec<Value>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for batch in batches {
        if rng.u8(0..3) == 0 {
            let dying = Faulty::new(store.clone(), Fault::CrashAfter, rng.usize(0..25));
            let _dies = aggregate(dying, MemoryObjects::default(), rng.u64(..)).handle(envelope(&batch), call()).await;
            tokio::task::yield_now().await;
        }
        handle(&aggregate(store.clone(), MemoryObjects::default(), rng.u64(..)), envelope(&batch)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audits_beside_commits_conflicts_and_crashes_find_no_drift() {
    let (mut audits, mut moved) = (0, 0);
    for seed in 0..40 {
        let store = MemoryStore::default();
        let mut shop = Shop { rng: fastrand::Rng::with_seed(seed), at: 0 };
        // Two lanes with the same orders: they conflict, and what one has done is old to the other.
        let batches: Vec<Value> = (0..12).map(|_| shop.batch()).collect();
        let other = batches.iter().map(|batch| json!({"db.public.orders-1": batch["db.public.orders-0"]})).collect();
        let refreshing = Ledger::new(store.clone(), Options { top: 1, ..options(seed) });
        let refreshes = tokio::spawn(async move {
            loop {
                refreshing.refresh_rankings(call()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let lanes =
            [tokio::spawn(deliver(store.clone(), batches, seed)), tokio::spawn(deliver(store.clone(), other, !seed))];
        let ledger = Ledger::new(store.clone(), options(seed));
        while !lanes.iter().all(tokio::task::JoinHandle::is_finished) {
            let audit = ledger.audit(&AuditOptions { rounds: 2, ..looking() }, call()).await.unwrap();
            assert_eq!(audit.total().drifted, 0, "seed {seed}: {audit:?}");
            audits += 1;
            moved += audit.total().undecided;
        }
        for lane in lanes {
            lane.await.unwrap();
        }
        refreshes.abort();
        let last = ledger.audit(&looking(), call()).await.unwrap();
        assert_eq!((last.total().drifted, last.total().undecided), (0, 0), "seed {seed}: {last:?}");
        check_exact(&store, &format!("seed {seed}"));
    }
    assert!(audits > 100 && moved > 0, "{audits} audits saw {moved} rows move: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairs_beside_commits_leave_every_number_right() {
    for seed in 0..40 {
        let store = MemoryStore::default();
        let mut shop = Shop { rng: fastrand::Rng::with_seed(seed), at: 0 };
        deliver(store.clone(), vec![shop.batch(), shop.batch()], seed).await;
        let batches: Vec<Value> = (0..8).map(|_| shop.batch()).collect();
        let lane = tokio::spawn(deliver(store.clone(), batches, seed));
        let ledger = Ledger::new(store.clone(), Options { top: 1, ..options(seed) });
        let mut rng = fastrand::Rng::with_seed(!seed);
        while !lane.is_finished() {
            damage_at_random(&store, &mut rng);
            ledger.audit(&repairing(), call()).await.unwrap();
            ledger.refresh_rankings(call()).await.unwrap();
        }
        lane.await.unwrap();
        let audit = ledger.audit(&repairing(), call()).await.unwrap();
        assert_eq!((audit.remaining(), audit.total().undecided), (0, 0), "seed {seed}: {audit:?}");
        check_exact(&store, &format!("seed {seed}"));
        deliver(store.clone(), vec![shop.batch(), shop.batch()], seed).await;
        check_exact(&store, &format!("seed {seed}, and then more"));
    }
}

/// Moves a number, or a row's place; also across zero, so that crossings are found that never were.
fn damage_at_random(store: &MemoryStore, rng: &mut fastrand::Rng) {
    let rows = &mut store.items().rows;
    let at = rng.usize(0..rows.len());
    let Some((_, row)) = rows.iter_mut().nth(at) else { return };
    match rng.u8(0..4) {
        0 => row.rank = None,
        1 => row.measures.set("orders", Decimal::ZERO),
        _ => row.measures.add("orders", Decimal::whole(rng.i64(-3..4))),
    }
}

#[tokio::test]
async fn a_crossing_that_a_plan_found_on_a_drifted_row_is_put_right() {
    for (damaged, then) in [(0, "gone"), (0, "other"), (2, "gone"), (2, "other"), (-1, "other")] {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 1);
        handle(&function, invocation(ORDERS, 0, 0, &[order(0, 1, "c", "5", "new")])).await;
        Damage::Number("CUSTOMER#c", "orders", damaged).do_in_memory(&store);
        let newer = match then {
            "gone" => change("orders", "d", 1, json!({"id": 1}), Value::Null).to_string(),
            _ => order(1, 1, "d", "5", "new"),
        };
        handle(&function, invocation(ORDERS, 0, 1, &[newer])).await;
        let audit = function.ledger.audit(&repairing(), call()).await.unwrap();
        assert_eq!((audit.remaining(), audit.total().undecided), (0, 0), "{damaged} {then}: {audit:?}");
        check_exact(&store, &format!("{damaged} {then}"));
        handle(&function, invocation(ORDERS, 0, 2, &[order(2, 2, "c", "5", "new")])).await;
        check_exact(&store, &format!("{damaged} {then}, and then one more"));
    }
}

#[tokio::test]
async fn a_fault_at_any_request_of_a_repair_loses_nothing() {
    let said: BTreeSet<String> =
        Damage::all().iter().flat_map(|(_, said)| said).map(|said| (*said).to_owned()).collect();
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost, Fault::Throttled] {
        for at in 0.. {
            let store = MemoryStore::default();
            let function = aggregate(store.clone(), MemoryObjects::default(), 1);
            handle(&function, everything()).await;
            Damage::all().iter().for_each(|(damage, _)| damage.do_in_memory(&store));
            let faulty = Faulty::new(store.clone(), fault, at);
            let audit = Ledger::new(faulty.clone(), options(1)).audit(&repairing(), call()).await;
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            let stopped = audit.as_ref().map_or(true, |audit| audit.unfinished);
            assert_eq!(stopped, crashes && faulty.sent() > at, "{fault:?} at {at}");
            if let Ok(audit) = audit {
                assert_eq!(found(&audit), said, "{fault:?} at {at}");
            }
            let again = function.ledger.audit(&repairing(), call()).await.unwrap();
            assert_eq!(again.remaining(), 0, "{fault:?} at {at}: {again:?}");
            check_exact(&store, &format!("{fault:?} at {at}"));
            if faulty.sent() <= at {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_old_addition_that_comes_after_a_missing_row_was_repaired_counts_once() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    handle(&function, invocation(ORDERS, 0, 0, &[order(0, 1, "c", "5", "new")])).await;
    Damage::Gone("CUSTOMER#c").do_in_memory(&store);
    function.ledger.audit(&repairing(), call()).await.unwrap();
    let (lane, cursor) = store.items().cursors.iter().map(|(lane, c)| (lane.clone(), c.seq)).next().unwrap();
    let mut delta = Measures::default();
    delta.add("orders", Decimal::whole(1));
    store.add_row(&lane, cursor, &current("CUSTOMER#c"), &delta, None).await.unwrap();
    check_exact(&store, "the lane's mark is there again");
}

/// Its expiry and its place with its sums: else it would take another round, or stay for ever.
#[tokio::test]
async fn a_missing_row_is_made_whole_at_once() {
    let store = MemoryStore::default();
    let settings = Settings { sales_retention_ms: Some(30 * DAY_MS), ..Settings::default() };
    let function = aggregate_with(store.clone(), MemoryObjects::default(), 1, settings);
    handle(&function, everything()).await;
    let row = |key: &Key| store.items().rows.get(key).map(|row| (row.measures.clone(), row.rank));
    let day = store.items().rows.keys().find(|key| key.is_of("SALES")).unwrap().clone();
    for key in [day, current("CUSTOMER#c5")] {
        let before = row(&key);
        store.items().rows.remove(&key);
        let audit = function.ledger.audit(&repairing(), call()).await.unwrap();
        assert_eq!((audit.total().repaired, audit.rounds), (1, 2), "{key:?}: repaired, and found right");
        assert_eq!(row(&key), before, "{key:?}");
    }
}

#[tokio::test]
async fn an_audit_reports_what_it_looked_at_and_spent() {
    let store = MemoryStore::default();
    handle(&aggregate(store.clone(), MemoryObjects::default(), 1), everything()).await;
    Damage::Gone("CUSTOMER#c5").do_in_memory(&store);
    let counted = Faulty::new(store.clone(), Fault::CrashBefore, usize::MAX);
    let forgetting = AuditOptions { nothing_forgotten: false, ..repairing() };
    let audit = Ledger::new(counted.clone(), options(1)).audit(&forgetting, call()).await.unwrap();
    assert_eq!((audit.entities, audit.requests), (store.items().entities.len(), counted.sent()));
    assert!(audit.read_units > 0.0 && audit.write_units > 0.0, "{audit:?}");
    let (total, sum) = (audit.total(), |of: fn(&Audited) -> usize| audit.views.values().map(of).sum::<usize>());
    assert_eq!((total.rows, total.drifted, total.repaired), (store.items().rows.len(), 1, 1));
    assert!(total.skipped > 0 && total.skipped == sum(|view| view.skipped), "{audit:?}");
    assert_eq!(total.forgotten, 0, "what is there in full was not forgotten in part");
}

#[tokio::test]
async fn a_pending_plan_hides_no_drift_but_of_its_own_rows() {
    let store = swapped().await;
    let function = aggregate(store.clone(), MemoryObjects::default(), 2);
    handle(&function, invocation("product.created", 0, 0, &[product(1, "Created", 1, "s", "c", "1", 30)])).await;
    // As if the process had died before it could say that its plan is applied.
    store.items().cursors.values_mut().filter(|cursor| cursor.name.contains(ORDERS)).for_each(|c| c.pending = true);
    Damage::Number("SELLER#s", "value", 1_000).do_in_memory(&store);
    let audit = function.ledger.audit(&looking(), call()).await.unwrap();
    assert_eq!((audit.total().drifted, audit.total().undecided), (1, 0), "{audit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_round_that_runs_out_of_time_loses_nothing_that_was_found() {
    for (seconds, rounds, waited) in [(1, 1, 0), (3, 1, 2), (3_600, 2, 2)] {
        let store = MemoryStore::default();
        handle(&aggregate(store.clone(), MemoryObjects::default(), 1), everything()).await;
        Damage::Gone("CUSTOMER#c5").do_in_memory(&store);
        let first = {
            let alone = Faulty::new(store.clone(), Fault::CrashBefore, usize::MAX);
            Ledger::new(alone.clone(), Options::default()).audit(&looking(), call()).await.unwrap();
            // The repair is one addition and a place.
            alone.sent() + 3
        };
        // Throttled in the second round, where the next attempt would come too late.
        let at = if seconds == 3 { first } else { usize::MAX };
        let ledger = Ledger::new(Faulty::new(store.clone(), Fault::Throttled, at), Options::default());
        let start = Instant::now();
        let call = Call { now_ms: NOW_MS, deadline: Some(start + Duration::from_secs(seconds)) };
        let audit = ledger.audit(&repairing(), call).await.unwrap();
        assert_eq!((audit.rounds, audit.total().drifted), (rounds, 1), "{seconds} s");
        assert_eq!(start.elapsed().as_secs(), waited, "{seconds} s");
    }
}
