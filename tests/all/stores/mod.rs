//! One suite for every store: the store in memory on which most tests run, the embedded DynamoDB, and whatever
//! endpoints `TIDEMARK_TEST_DYNAMODB` names (`URL`, `name=URL`, `aws`; see CONTRIBUTING.md).
//!
//! - The **contract**: each condition of [`Store`](tidemark_ledger::Store) that the protocol relies on.
//! - **Random requests**, the same ones to the store in memory and to the other, which must answer the same.
//! - The **whole**: streams of all kinds through the function, delivered as badly as they may be and with faults.
//!
//! What a store is known to do otherwise stands in [`KNOWN`]. That must fail there: a store that was mended makes
//! the test ask for its line to be removed.

mod entities;
mod lanes;
mod limits;
mod place;
mod requests;
mod rows;
mod streams;
mod whole;

use std::any::Any;
use std::pin::Pin;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidemark_ledger::{Lane, LaneId, Segment, Store};
use tidemark_model::Key;
use tidemark_tests::memory::MemoryStore;
use tidemark_tests::say;

use place::{Place, endpoints, on_fresh_tables};

/// A check that a store cannot pass.
struct Known {
    store: &'static str,
    check: &'static str,
    /// What it does instead.
    reason: &'static str,
}

const KNOWN: &[Known] = &[
    Known { store: "ministack", check: "sums_are_exact_to_38_digits", reason: "ADD rounds to 28 digits" },
    Known {
        store: "ministack",
        check: "a_read_is_metered_by_four_kilobytes",
        reason: "GetItem costs one unit, whatever the item's size",
    },
    Known {
        store: "ministack",
        check: "a_batch_of_reads_is_metered_item_by_item",
        reason: "BatchGetItem costs nothing for keys that are not there",
    },
    Known {
        store: "ministack",
        check: "a_query_is_metered_as_a_whole",
        reason: "a page of Query costs half a unit, whatever its size",
    },
    Known {
        store: "ministack",
        check: "a_part_too_small_is_refused_unless_it_is_the_last",
        reason: "parts of any size are taken",
    },
];

/// One condition of the contract; it panics where the condition does not hold.
pub(crate) struct Check<S> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(S) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Checks under their own names.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        vec![$(crate::stores::Check { name: stringify!($check), run: |store| Box::pin($check(store)) }),*]
    };
}
pub(crate) use checks;

/// What every store must do.
fn contract<S: Store + Clone + 'static>() -> Vec<Check<S>> {
    lanes::checks().into_iter().chain(entities::checks()).chain(rows::checks()).collect()
}

/// Runs the checks one after the other; what is not as it is known.
pub(crate) async fn complaints<S: Clone>(of: &str, store: &S, checks: Vec<Check<S>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for Check { name, run } in checks {
        let outcome = tokio::spawn(run(store.clone())).await.map_err(|error| text(&*error.into_panic()));
        match (outcome, KNOWN.iter().find(|known| known.store == of && known.check == name)) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => complaints.push(format!("{of} passes {name} now: remove its line from KNOWN")),
            (Err(_), Some(known)) => say(&format!("stores: {of} fails {name}, as is known: {}", known.reason)),
            (Err(error), None) => complaints.push(format!("{of} fails {name}: {error}")),
        }
    }
    complaints
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A lane of the suite.
fn lane(name: &str) -> LaneId {
    Lane::new("stores", name, 0, 0).id
}

/// All entities, of so many segments.
async fn states<S: Store>(store: &S, of: u32) -> Vec<(Key, tidemark_model::Known)> {
    let mut states = Vec::new();
    for segment in (0..of).map(|number| Segment { number, of }) {
        let mut after = None;
        loop {
            let (page, next) = store.states(segment, after.as_ref()).await.unwrap().value;
            states.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    states
}

/// The time: some stores really forget what is past its TTL.
fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// How many times as much the randomized parts do, and the first of their seeds.
fn rounds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let first = number("STORES_SEED", 0);
    first..first + usual * number("STORES_ROUNDS", 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_keeps_the_contract() {
    let complaints = complaints("memory", &MemoryStore::default(), contract()).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_keeps_the_contract() {
    for endpoint in endpoints() {
        let (name, started) = (endpoint.name().to_owned(), Instant::now());
        on_fresh_tables(&endpoint, move |place| async move {
            let mut complaints = complaints(&name, &place.store, contract()).await;
            complaints.extend(self::complaints(&name, &place, limits::checks()).await);
            assert!(complaints.is_empty(), "{complaints:#?}");
        })
        .await;
        let (name, took) = (endpoint.name(), started.elapsed());
        say(&format!("stores: {name} keeps the contract, in {took:.1?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_answers_random_requests_as_the_store_in_memory_does() {
    for endpoint in endpoints() {
        let started = Instant::now();
        on_fresh_tables(&endpoint, |place| requests::compare(place, rounds(12))).await;
        let (name, took) = (endpoint.name(), started.elapsed());
        say(&format!("stores: {name} answers random requests as memory does, in {took:.1?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_reads_the_truth_after_chaos_and_faults() {
    for endpoint in endpoints() {
        let started = Instant::now();
        for seed in rounds(6) {
            on_fresh_tables(&endpoint, move |place: Place| whole::run(place, seed)).await;
        }
        let (name, took) = (endpoint.name(), started.elapsed());
        say(&format!("stores: {name} reads the truth after chaos and faults, in {took:.1?}"));
    }
}
