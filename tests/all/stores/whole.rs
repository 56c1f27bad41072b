//! The whole on a store: streams of all kinds through the function, delivered twice and beside each other, by
//! processes that die or whose requests fail, until one gets through. Then the views read the brute-force truth,
//! and every row is the sum over the entities, both read back from the store.

use std::sync::Arc;
use std::time::Duration;

use aggregate::Aggregate;
use aws_sdk_dynamodb::types::AttributeValue;
use fastrand::Rng;
use tidemark_archive::Quarantine;
use tidemark_ledger::{Call, Ledger, Options, Retry, Store};
use tidemark_local::delivery::chaotic;
use tidemark_local::feed::{Log, clock_ms};
use tidemark_local::play::play;
use tidemark_model::fold::sum;
use tidemark_model::views::{Tables, ranking_of, rankings};
use tidemark_model::{Decimal, Key, Measures, Rows, Settings, State};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::{oracle, views, without_quantiles};

use super::limits::eventually;
use super::streams::Streams;
use super::{Place, now_ms};

/// Values of each stream.
const VALUES: usize = 24;
/// Processes that meet a fault, before one that does not.
const FAULTY: usize = 6;
/// Rows that the tops must show.
const TOP: usize = 2;

fn function<S: Store>(store: S) -> Arc<Aggregate<S, MemoryObjects>> {
    let retry =
        Retry { max_attempts: 8, initial: Duration::from_millis(5), factor: 2.0, cap: Duration::from_millis(500) };
    let ledger = Ledger::new(store, Options { retry, top: TOP, ..Options::default() });
    Arc::new(Aggregate::new(ledger, Quarantine::new(MemoryObjects::default(), 0), Settings::default()))
}

pub(super) async fn run(place: Place, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let streams = Streams::random(&mut rng, VALUES);
    let logs = streams.logs(rng.i32(1..4));
    let mut requests = 60;
    for _ in 0..FAULTY {
        let fault = *rng.choice(&Fault::ALL).unwrap();
        let store = Faulty::new(place.store.clone(), fault, rng.usize(0..requests));
        let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        let outcome = deliver(&function(store.clone()), &logs, &mut rng).await;
        assert!(outcome.is_ok() || crashes, "seed {seed}: {fault:?} must be outlasted: {outcome:?}");
        // Of those that die, some get as far as the longest before.
        requests = requests.max(store.sent());
    }
    let last = function(place.store.clone());
    deliver(&last, &logs, &mut rng).await.unwrap();
    let call = Call { now_ms: clock_ms(&logs), deadline: None };
    last.ledger.refresh_rankings(call).await.unwrap();
    let tables = settled_tables(&place, &streams).await;
    check_truth(&tables, &streams, seed);
    check_sums(&place, &tables, &streams, seed).await;
    check_tops(&place, &tables, seed).await;
}

/// As badly as it may be.
async fn deliver<S: Store + 'static>(
    function: &Arc<Aggregate<S, MemoryObjects>>,
    logs: &[Log],
    rng: &mut Rng,
) -> Result<(), String> {
    let waves = chaotic(logs, rng.usize(1..12), rng.usize(1..6), rng.u64(..));
    play(function, logs, waves).await.map(drop).map_err(|error| format!("{error:?}"))
}

/// What is read once the index of listed states has followed its table.
async fn settled_tables(place: &Place, streams: &Streams) -> Tables {
    let store = &place.store;
    let expected = streams.truth()[0].1["lowStock"].clone();
    eventually(expected, || async move {
        let tables = store.read_tables(now_ms()).await.unwrap();
        views(&tables, &["lowStock"])["lowStock"].clone()
    })
    .await;
    store.read_tables(now_ms()).await.unwrap()
}

fn check_truth(tables: &Tables, streams: &Streams, seed: u64) {
    for (names, expected) in streams.truth() {
        let found = without_quantiles(views(tables, names));
        assert_eq!(oracle::sorted(&found), oracle::sorted(&expected), "seed {seed}: {names:?}");
    }
    let rejects = tables.of("REJECTS").map(|(_, row)| row.get("records").to_whole().unwrap());
    assert_eq!(rejects.sum::<i64>(), streams.broken, "seed {seed}: each bad record is counted once");
}

/// I1, of rows that have no other source than the entities; and nothing is left pending.
async fn check_sums(place: &Place, tables: &Tables, streams: &Streams, seed: u64) {
    let of_entities = |(key, _): &(Key, Measures)| streams.identified || !key.is_of("METRIC");
    let (states, pending) = scanned(place).await;
    assert_eq!(pending, 0, "seed {seed}: plans left pending");
    let stored: Rows = tables.rows.iter().filter(|row| of_entities(row)).cloned().collect();
    let mut expected = sum(&states).into_sorted();
    expected.retain(of_entities);
    assert_eq!(stored.into_sorted(), expected, "seed {seed}: rows are the sums of the states");
}

/// Every entity's state, and how many cursors are pending.
async fn scanned(place: &Place) -> (Vec<State>, usize) {
    let (mut states, mut pending) = (Vec::new(), 0);
    let mut items =
        place.client.scan().table_name(&place.tables.state).consistent_read(true).into_paginator().items().send();
    while let Some(item) = items.next().await {
        let item = item.unwrap();
        pending += usize::from(item.get("pending") == Some(&AttributeValue::Bool(true)));
        if let Some(AttributeValue::S(state)) = item.get("s") {
            states.push(serde_json::from_str(state).unwrap());
        }
    }
    (states, pending)
}

async fn check_tops(place: &Place, tables: &Tables, seed: u64) {
    for ranking in rankings() {
        let present =
            tables.rows.iter().filter(|(key, row)| ranking_of(key) == Some(ranking) && ranking.is_present(row));
        let mut present: Vec<(std::cmp::Reverse<Decimal>, &Key)> =
            present.map(|(key, row)| (std::cmp::Reverse(row.get(ranking.by)), key)).collect();
        present.sort();
        let expected: Vec<Key> = present.into_iter().take(TOP).map(|(_, key)| key.clone()).collect();
        println!("seed {seed}: the top of {}", ranking.board);
        let store = &place.store;
        eventually(expected, || async move {
            let top = store.top(ranking, TOP).await.unwrap().value;
            top.into_iter().map(|(key, _)| key).collect()
        })
        .await;
    }
}
