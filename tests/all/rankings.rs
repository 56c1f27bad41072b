//! Rankings: their tops stay exact however rows grow, shrink, vanish and come back. And what else follows an
//! addition to a row stays right under faults: tallies, least and greatest values.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aggregate::Aggregate;
use bytes::Bytes;
use clap::Parser;
use serde_json::{Value, json};
use tidemark_archive::Quarantine;
use tidemark_ledger::dynamo::{DynamoStore, Tables as TableNames};
use tidemark_ledger::{Floor, Ledger, Options, Refreshed, Store};
use tidemark_local::cli;
use tidemark_local::stack::{STATE_TABLE, Stack, VIEWS_TABLE};
use tidemark_model::views::{CURRENT, Ranking, Tables, ranking_of, rankings};
use tidemark_model::{Decimal, Key, Measures, Rows, Settings};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{self, TAKEN_MS, change, metric, with};
use tidemark_tests::{NOW_MS, SALES, call, handle, invocation, options, oracle, views};

/// Rows that the tops must show.
const TOP: usize = 3;
/// Rows that reach a floor when it is set.
const ENOUGH: usize = 2 * TOP;
const ORDERS: &str = "db.public.orders";
const ITEMS: &str = "db.public.order_items";

fn ranked<S: Store>(store: S, top: usize, seed: u64) -> Aggregate<S, MemoryObjects> {
    let ledger = Ledger::new(store, Options { top, ..options(seed) });
    Aggregate::new(ledger, Quarantine::new(MemoryObjects::default(), 0), Settings::default())
}

/// An order as of a place in the log.
fn order(at: i64, id: i64, customer: &str, total: &str) -> String {
    let row = values::order(id, total, "paid");
    let row = with(&row, json!({"customer_id": customer, "created_at": TAKEN_MS * 1_000}));
    change("orders", "u", at, Value::Null, row).to_string()
}

fn item(at: i64, id: i64, product: i64, quantity: i64, price: &str) -> String {
    change("order_items", "u", at, Value::Null, values::item(id, product, quantity, price)).to_string()
}

fn deleted(table: &str, at: i64, id: i64) -> String {
    change(table, "d", at, json!({"id": id}), Value::Null).to_string()
}

/// How a ranking truly stands.
struct Standing {
    floor: Floor,
    /// The rows that are there, the highest first and equals in the order of their keys.
    present: Vec<Key>,
    /// Those of them that reach the floor.
    reaching: BTreeSet<Key>,
}

impl Standing {
    fn new(ranking: &Ranking, rows: &[(Key, Measures)], floor: Floor) -> Self {
        let competing = rows.iter().filter(|(key, row)| ranking_of(key) == Some(ranking) && ranking.is_present(row));
        let mut present: Vec<(Reverse<Decimal>, &Key)> =
            competing.map(|(key, row)| (Reverse(row.get(ranking.by)), key)).collect();
        present.sort();
        let reaching = present.iter().filter(|(n, _)| floor.shown.is_none_or(|floor| n.0 >= floor));
        let reaching = reaching.map(|(_, key)| (*key).clone()).collect();
        Self { floor, reaching, present: present.into_iter().map(|(_, key)| key.clone()).collect() }
    }

    fn of(store: &MemoryStore, ranking: &Ranking) -> Self {
        let floor = store.items().floors.get(ranking.board).copied().unwrap_or_default();
        Self::new(ranking, &store.tables().rows, floor)
    }

    /// What a top of so many must show.
    fn top(&self, most: usize) -> &[Key] {
        &self.present[..most.min(self.present.len())]
    }
}

/// A ranking, followed from batch to batch.
struct Watch {
    ranking: &'static Ranking,
    last: Standing,
    /// Rows that fell below the floor, or vanished, since it was set or looked at.
    fallen: usize,
}

impl Watch {
    fn all() -> Vec<Self> {
        let begin = |ranking| Self { ranking, last: Standing::new(ranking, &[], Floor::default()), fallen: 0 };
        rankings().map(begin).collect()
    }

    /// After a batch that had the store for itself: what is shown is never wrong, and short only if more rows
    /// have fallen than there was room for.
    fn see(&mut self, now: Standing, shown: &[Key], what: &str) {
        let board = self.ranking.board;
        assert!(now.present.starts_with(shown), "{what}, {board}: {shown:?} does not begin {:?}", now.present);
        if now.floor == self.last.floor {
            self.fallen += self.last.reaching.difference(&now.reaching).count();
        } else {
            self.fallen = 0;
            assert!(now.reaching.len() >= ENOUGH, "{what}, {board}: {:?} was set too high", now.floor);
        }
        let is_whole = shown.len() == now.top(TOP).len();
        let Self { fallen, .. } = self;
        assert!(is_whole || *fallen > ENOUGH - TOP, "{what}, {board}: {shown:?} is short, though {fallen} rows fell");
        self.last = now;
    }

    /// After a refresh that had the store for itself: the top is whole. Whether the floor went down, and whether
    /// it went up.
    fn see_refreshed(&mut self, now: Standing, shown: &[Key], what: &str) -> (bool, bool) {
        let board = self.ranking.board;
        assert_eq!(shown, now.top(TOP), "{what}, {board}");
        assert_eq!(now.floor.floor.is_some(), now.present.len() > ENOUGH, "{what}, {board}: {:?}", now.floor);
        assert!(now.reaching.len() >= ENOUGH.min(now.present.len()), "{what}, {board}: {:?}", now.floor);
        let moved = (now.floor.floor < self.last.floor.floor, now.floor.floor > self.last.floor.floor);
        self.fallen = 0;
        self.last = now;
        moved
    }
}

/// The top as a reader of the index gets it.
fn shown(store: &MemoryStore, ranking: &Ranking, most: usize) -> Vec<Key> {
    let items = store.items();
    let floor = items.floors.get(ranking.board).and_then(|floor| floor.shown);
    let competing = items.rows.iter().filter(|(key, _)| ranking_of(key) == Some(ranking));
    let listed = competing.filter_map(|(key, row)| Some((Reverse(row.rank?), key.clone())));
    let mut listed: Vec<(Reverse<Decimal>, Key)> =
        listed.filter(|(rank, _)| floor.is_none_or(|floor| rank.0 >= floor)).collect();
    listed.sort();
    listed.into_iter().take(most).map(|(_, key)| key).collect()
}

/// Every row that reaches the floor stands under its number; no other row under another one; and none that is
/// not there.
pub(crate) fn check_places(store: &MemoryStore, ranking: &Ranking, what: &str) {
    let items = store.items();
    let floor = items.floors.get(ranking.board).and_then(|floor| floor.shown);
    for (key, row) in items.rows.iter().filter(|(key, _)| ranking_of(key) == Some(ranking)) {
        let n = row.measures.get(ranking.by);
        let expected = match floor.is_none_or(|floor| n >= floor) {
            _ if !ranking.is_present(&row.measures) => None,
            true => Some(n),
            false => row.rank.and(Some(n)),
        };
        assert_eq!(row.rank, expected, "{what}: {key:?} with {n} and the floor {floor:?}");
    }
}

/// I1, tallies included, but for rows of points.
fn check_sums(store: &MemoryStore, what: &str) {
    let stored: Rows = store.tables().rows.into_iter().collect();
    assert_eq!(stored.into_sorted(), store.recomputed().into_sorted(), "{what}");
}

fn check_views(tables: &Tables, values: &[String], what: &str) {
    let values = values.iter().filter(|value| *value != "broken");
    let expected = oracle::orders(values.map(String::as_bytes));
    assert_eq!(oracle::sorted(&views(tables, &SALES)), oracle::sorted(&expected), "{what}");
}

/// Random changes of few orders and items, of few customers and products; each newer than all before.
struct Shop {
    rng: fastrand::Rng,
    sent: Vec<String>,
    /// The next offset of each partition.
    next: BTreeMap<(&'static str, i32), i64>,
}

impl Shop {
    fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), sent: Vec::new(), next: BTreeMap::new() }
    }

    /// The next records of a partition of one of the topics.
    fn batch(&mut self, partition: i32) -> Bytes {
        let topic = if self.rng.bool() { ORDERS } else { ITEMS };
        let values: Vec<String> = (0..self.rng.usize(1..16)).map(|_| self.change(topic)).collect();
        let next = self.next.entry((topic, partition)).or_default();
        let first = *next;
        *next += values.len() as i64;
        invocation(topic, partition, first, &values)
    }

    fn change(&mut self, topic: &str) -> String {
        let (at, id, whose) = (self.sent.len() as i64, self.rng.i64(0..24), self.rng.i64(0..14));
        // Refunds are among them, and so are equals.
        let amount = rust_decimal::Decimal::new(self.rng.i64(-5..100) * 50, 2).to_string();
        let value = match (self.rng.u8(0..4), topic) {
            (0, ORDERS) => deleted("orders", at, id),
            (0, _) => deleted("order_items", at, id),
            (_, ORDERS) => order(at, id, &format!("c{whose}"), &amount),
            _ => item(at, id, whose, self.rng.i64(1..4), &amount),
        };
        self.sent.push(value.clone());
        value
    }
}

#[tokio::test]
async fn a_top_is_exact_after_every_batch_and_whole_after_every_refresh() {
    let (mut lowered, mut raised) = (0, 0);
    for seed in 0..16 {
        let store = MemoryStore::default();
        let function = ranked(store.clone(), TOP, seed);
        let (mut shop, mut watches) = (Shop::new(seed), Watch::all());
        for batch in 1..=40 {
            let what = format!("seed {seed}, batch {batch}");
            handle(&function, shop.batch(batch % 3)).await;
            check_sums(&store, &what);
            for watch in &mut watches {
                check_places(&store, watch.ranking, &what);
                watch.see(Standing::of(&store, watch.ranking), &shown(&store, watch.ranking, TOP), &what);
            }
            if batch % 8 > 0 {
                continue;
            }
            function.ledger.refresh_rankings(call()).await.unwrap();
            for watch in &mut watches {
                check_places(&store, watch.ranking, &what);
                let now = Standing::of(&store, watch.ranking);
                let (down, up) = watch.see_refreshed(now, &shown(&store, watch.ranking, TOP), &what);
                lowered += usize::from(down);
                raised += usize::from(up);
            }
        }
        check_views(&store.tables(), &shop.sent, &format!("seed {seed}"));
    }
    assert!(lowered > 0 && raised > 0, "no refresh moved a floor both ways: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_and_tallies_are_right_where_lanes_and_a_refresh_meet() {
    for seed in 0..16 {
        let store = MemoryStore::default();
        let function = Arc::new(ranked(store.clone(), TOP, seed));
        let mut shop = Shop::new(seed);
        for wave in 0..10 {
            let what = format!("seed {seed}, wave {wave}");
            let invocations = (0..4).map(|partition| {
                let (function, payload) = (Arc::clone(&function), shop.batch(partition));
                tokio::spawn(async move { handle(&function, payload).await })
            });
            let invocations: Vec<_> = invocations.collect();
            function.ledger.refresh_rankings(call()).await.unwrap();
            for invocation in invocations {
                invocation.await.unwrap();
            }
            check_sums(&store, &what);
            for ranking in rankings() {
                check_places(&store, ranking, &what);
                let present = Standing::of(&store, ranking).present;
                let shown = shown(&store, ranking, TOP);
                assert!(present.starts_with(&shown), "{what}: {shown:?} does not begin {present:?}");
            }
        }
        function.ledger.refresh_rankings(call()).await.unwrap();
        for ranking in rankings() {
            check_places(&store, ranking, &format!("seed {seed}"));
            assert_eq!(shown(&store, ranking, TOP), Standing::of(&store, ranking).top(TOP), "seed {seed}");
        }
        check_views(&store.tables(), &shop.sent, &format!("seed {seed}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_dynamodb_shows_the_same_tops() {
    let mut stack = Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap();
    let tables = TableNames { state: STATE_TABLE.to_owned(), views: VIEWS_TABLE.to_owned() };
    let store = DynamoStore::new(stack.clients.dynamodb.clone(), tables);
    Arc::get_mut(&mut stack.aggregate).unwrap().ledger = Ledger::new(store, Options { top: TOP, ..options(1) });
    let ledger = &stack.aggregate.ledger;
    let (mut shop, mut watches) = (Shop::new(1), Watch::all());
    for batch in 1..=32 {
        let what = format!("batch {batch}");
        handle(&stack.aggregate, shop.batch(batch % 3)).await;
        for refreshed in [false, true] {
            if refreshed && batch % 8 > 0 {
                continue;
            }
            if refreshed {
                ledger.refresh_rankings(call()).await.unwrap();
            }
            let rows = ledger.store().read_tables(NOW_MS).await.unwrap().rows;
            for watch in &mut watches {
                let floor = ledger.store().read_floor(watch.ranking).await.unwrap().value;
                let now = Standing::new(watch.ranking, &rows, floor);
                let top = ledger.store().top(watch.ranking, TOP).await.unwrap().value;
                assert!(top.iter().all(|row| rows.contains(row)), "{what}: a top shows its rows' numbers");
                let shown: Vec<Key> = top.into_iter().map(|(key, _)| key).collect();
                if refreshed {
                    watch.see_refreshed(now, &shown, &what);
                } else {
                    watch.see(now, &shown, &what);
                }
            }
        }
    }
    let tables = ledger.store().read_tables(NOW_MS).await.unwrap();
    check_views(&tables, &shop.sent, "at the end");
}

fn customers() -> &'static Ranking {
    rankings().find(|ranking| ranking.board == "CUSTOMERS").unwrap()
}

fn customer(id: &str) -> Key {
    Key::of("CUSTOMER", id, CURRENT)
}

fn floor(store: &MemoryStore) -> Option<Decimal> {
    store.items().floors.get("CUSTOMERS").and_then(|floor| floor.floor)
}

/// A store whose top of customers lacks one, because more rows fell than there was room for. `old` has kept its
/// place from the time before there was a floor; `new`, which is above it, never had one.
async fn fallen() -> MemoryStore {
    let store = MemoryStore::default();
    let function = ranked(store.clone(), TOP, 0);
    handle(&function, invocation(ORDERS, 0, 0, &[order(0, 0, "old", "10")])).await;
    let mut orders: Vec<String> = (2..8).map(|n| order(n, n, &format!("c{n}"), &format!("{n}0"))).collect();
    orders.push(order(8, 8, "new", "15"));
    handle(&function, invocation(ORDERS, 0, 1, &orders)).await;
    let gone: Vec<String> = (4..8).map(|n| deleted("orders", 10 + n, n)).collect();
    handle(&function, invocation(ORDERS, 0, 8, &gone)).await;
    assert_eq!(floor(&store), Some(Decimal::whole(20)), "the sixth of seven rows in one batch");
    assert_eq!(shown(&store, customers(), TOP), ["c3", "c2"].map(customer));
    let rank = |id: &str| store.items().rows[&customer(id)].rank;
    assert_eq!((rank("old"), rank("new")), (Some(Decimal::whole(10)), None));
    store
}

#[tokio::test]
async fn a_refresh_lowers_and_raises_floors() {
    let store = fallen().await;
    let function = ranked(store.clone(), TOP, 0);
    let refreshed = function.ledger.refresh_rankings(call()).await.unwrap();
    assert_eq!(refreshed, Refreshed { floors: 1, ranked: 1 });
    assert_eq!(floor(&store), None, "there are not more rows than a floor makes room for");
    // A late write that saw the floor of another look must not pass for one that saw this.
    let looks = || store.items().floors["CUSTOMERS"].refreshed;
    assert_eq!(looks(), 1);
    assert_eq!(shown(&store, customers(), TOP), ["c3", "c2", "new"].map(customer));

    // Too few at once for a batch to raise the floor.
    for (first, offset) in [(1, 20), (7, 30)] {
        let orders: Vec<String> =
            (first..first + 6).map(|n| order(100 + n, 100 + n, &format!("d{n}"), &format!("{n}00"))).collect();
        handle(&function, invocation(ORDERS, 0, offset, &orders)).await;
    }
    assert_eq!(floor(&store), None);
    let refreshed = function.ledger.refresh_rankings(call()).await.unwrap();
    assert_eq!(refreshed, Refreshed { floors: 1, ranked: 0 });
    assert_eq!(floor(&store), Some(Decimal::whole(700)));
    assert_eq!(shown(&store, customers(), TOP), ["d12", "d11", "d10"].map(customer));
    assert_eq!(looks(), 2);
    assert_eq!(function.ledger.refresh_rankings(call()).await.unwrap(), Refreshed::default());
}

/// A refresh of a store whose floor must go down, with a fault at each request in turn.
async fn refresh_with_faults(check: impl AsyncFn(MemoryStore, String)) {
    for fault in Fault::ALL {
        let mut requests = 0;
        for at in 0.. {
            let store = fallen().await;
            let faulty = Faulty::new(store.clone(), fault, at);
            let outcome = ranked(faulty.clone(), TOP, 1).ledger.refresh_rankings(call()).await;
            let happened = faulty.sent() > at;
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            assert_eq!(outcome.is_err(), happened && crashes, "{fault:?} at {at}");
            check(store, format!("{fault:?} at {at}")).await;
            requests = at;
            if !happened {
                break;
            }
        }
        assert!(requests > 4, "{fault:?}: a refresh takes more requests than {requests}");
    }
}

#[tokio::test]
async fn a_refresh_that_dies_at_any_request_is_finished_by_the_next() {
    refresh_with_faults(async |store, what| {
        ranked(store.clone(), TOP, 2).ledger.refresh_rankings(call()).await.unwrap();
        check_places(&store, customers(), &what);
        assert_eq!(shown(&store, customers(), TOP), ["c3", "c2", "new"].map(customer), "{what}");
    })
    .await;
}

/// While a floor goes down, rows below it may stand in the index already beside others that do not yet.
#[tokio::test]
async fn a_refresh_that_dies_at_any_request_leaves_a_top_that_may_be_short_but_is_not_wrong() {
    refresh_with_faults(async |store, what| {
        let shown = shown(&store, customers(), TOP);
        assert!(["c3", "c2", "new"].map(customer).starts_with(&shown), "{what}: {shown:?}");
        assert!(shown.len() >= 2, "{what}: {shown:?}");
    })
    .await;
}

/// How many records of a topic have been set aside.
fn rejected(store: &MemoryStore, topic: &str) -> Option<i64> {
    let (rows, key) = (store.tables().rows, Key::of("REJECTS", topic, CURRENT));
    rows.iter().find(|(of, _)| *of == key)?.1.get("records").to_whole()
}

/// Handles the first values, and the others with a fault at each request in turn; those come again until they
/// succeed, with other boundaries, and once more. What the store then holds is checked.
async fn faults_at_every_request(topic: &str, values: &[String], first: usize, check: impl Fn(&MemoryStore, &str)) {
    // So short a top that few rows set floors.
    let top = 1;
    for fault in Fault::ALL {
        let mut requests = 0;
        for at in 0.. {
            let what = format!("{fault:?} at {at}");
            let store = MemoryStore::default();
            handle(&ranked(store.clone(), top, 1), invocation(topic, 0, 0, &values[..first])).await;
            let faulty = Faulty::new(store.clone(), fault, at);
            let function = ranked(faulty.clone(), top, at as u64);
            let (_, outcome) = function.handle(invocation(topic, 0, first as i64, &values[first..]), call()).await;
            let happened = faulty.sent() > at;
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            assert_eq!(outcome.is_err(), happened && crashes, "{what}");
            for grouping in [first..first + 2, first..values.len(), first + 1..values.len()] {
                let payload = invocation(topic, 0, grouping.start as i64, &values[grouping]);
                handle(&ranked(store.clone(), top, 7), payload).await;
            }
            assert_eq!(rejected(&store, topic), Some(1), "{what}: a reject is counted once");
            check(&store, &what);
            requests = at;
            if !happened {
                break;
            }
        }
        assert!(requests > 10, "{fault:?}: a batch takes more requests than {requests}");
    }
}

#[tokio::test]
async fn a_fault_at_any_request_changes_no_tally_and_no_place() {
    let values = [
        order(1, 1, "a", "10"),
        order(2, 2, "b", "20"),
        order(3, 3, "c", "30"),
        item(4, 1, 7, 2, "5"),
        // Customers a and b vanish, and product 7; c falls; others appear, enough to raise the floor.
        order(5, 1, "e", "10"),
        deleted("orders", 6, 2),
        "broken".to_owned(),
        order(7, 3, "c", "4"),
        order(8, 4, "f", "70"),
        item(9, 1, 8, 2, "5"),
        item(10, 2, 9, 1, "3.50"),
        order(11, 5, "g", "60"),
        order(12, 6, "h", "50"),
    ];
    faults_at_every_request(ORDERS, &values, 4, |store, what| {
        check_sums(store, what);
        check_views(&store.tables(), &values, what);
        for ranking in rankings() {
            check_places(store, ranking, what);
            assert_eq!(shown(store, ranking, 1), Standing::of(store, ranking).top(1), "{what}");
        }
        assert_eq!(floor(store), Some(Decimal::whole(60)), "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_fault_at_any_request_changes_no_least_or_greatest_value() {
    let point = |value| metric("app", value, json!({}));
    let sample = with(&point(200), json!({"eventId": "x"})).to_string();
    let values = [
        point(5).to_string(),
        point(7).to_string(),
        point(-3).to_string(),
        "broken".to_owned(),
        point(100).to_string(),
        sample.clone(),
        metric("app", 1, json!({"tag": "new"})).to_string(),
        sample,
    ];
    let (topic, first) = ("analytics.metrics", 2);
    let clean = MemoryStore::default();
    for grouping in [0..first, first..values.len()] {
        let payload = invocation(topic, 0, grouping.start as i64, &values[grouping]);
        handle(&ranked(clean.clone(), 1, 1), payload).await;
    }
    let found = views(&clean.tables(), &["metrics"]);
    let numbers = ["count", "sum", "min", "max"].map(|name| found["metrics"][0][name].as_str().unwrap().to_owned());
    assert_eq!(numbers, ["5", "309", "-3", "200"]);
    // Buckets of the quantiles and expiries, too.
    let rows = clean.tables().rows;
    faults_at_every_request(topic, &values, first, |store, what| assert_eq!(store.tables().rows, rows, "{what}")).await;
}
