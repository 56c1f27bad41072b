//! The laws of the fold, over arbitrary small streams: nasty orders, ties, moves, deletes.

use proptest::prelude::*;
use serde_json::Value;
use tidemark_local::feed::{Log, Record, logs_of, payload};
use tidemark_local::play::play;
use tidemark_model::fold::{Fold, effects, fold};
use tidemark_model::stream::STREAMS;
use tidemark_model::views::Tables;
use tidemark_model::{Change, Known, Map, Rows, Settings, decode};
use tidemark_tests::arbitrary::product_event;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, catalogue, oracle};

fn changes(values: &[String]) -> Vec<Change> {
    let logs = logs_of(&STREAMS[0], values.iter().map(String::as_bytes), 1);
    let slices: Vec<&[Record]> = logs.iter().map(|log: &Log| log.records.as_slice()).collect();
    let batches = decode(&payload(&slices).unwrap(), &Settings::default()).unwrap();
    assert!(batches.iter().all(|batch| batch.rejects.is_empty()), "{batches:?}");
    batches.into_iter().flat_map(|batch| batch.changes).collect()
}

/// States and rows under the fold, without a store.
#[derive(Clone, Debug, Default, PartialEq)]
struct Folded {
    known: Map<tidemark_model::Key, Known>,
    rows: Rows,
}

impl Folded {
    fn apply(&mut self, changes: &[Change]) -> usize {
        let Fold { transitions, .. } = fold(changes, &self.known);
        self.rows.merge(effects(&transitions));
        for transition in &transitions {
            let known =
                Known { counter: transition.counter + 1, version: transition.version, state: transition.after.clone() };
            self.known.insert(transition.key.clone(), known);
        }
        transitions.len()
    }

    fn rows(&self) -> Vec<(tidemark_model::Key, tidemark_model::Measures)> {
        self.rows.clone().into_sorted()
    }

    fn states(&self) -> Vec<(String, tidemark_model::State)> {
        let mut states: Vec<_> =
            self.known.iter().map(|(key, known)| (key.pk.to_string(), known.state.clone())).collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }
}

fn numbers(views: &Value) -> Value {
    // The oracle's decimals hold 28 digits: enough for every sum here but not for its mean's last digit.
    let mut views = views.clone();
    for category in views["categories"].as_array_mut().unwrap() {
        category.as_object_mut().unwrap().remove("averagePrice");
    }
    views
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_split_stream_is_the_whole_in_any_order(values in prop::collection::vec(product_event(), 0..30), cut in 0_usize..30, seed: u64) {
        let mut changes = changes(&values);
        let mut whole = Folded::default();
        whole.apply(&changes);
        fastrand::Rng::with_seed(seed).shuffle(&mut changes);
        let mut split = Folded::default();
        let (left, right) = changes.split_at(cut.min(changes.len()));
        split.apply(left);
        split.apply(right);
        prop_assert_eq!(whole.rows(), split.rows());
        prop_assert_eq!(whole.states(), split.states());
    }

    #[test]
    fn a_replay_changes_nothing(values in prop::collection::vec(product_event(), 0..30), from in 0_usize..30) {
        let changes = changes(&values);
        let mut folded = Folded::default();
        folded.apply(&changes);
        let before = folded.clone();
        prop_assert_eq!(folded.apply(&changes[from.min(changes.len())..]), 0);
        prop_assert_eq!(before, folded);
    }

    #[test]
    fn the_rows_are_the_brute_force_truth(values in prop::collection::vec(product_event(), 0..30)) {
        let mut folded = Folded::default();
        for change in changes(&values) {
            folded.apply(&[change]);
        }
        let listed = folded.known.values().map(|known| known.state.clone());
        let listed = listed.filter(|state| tidemark_model::views::listed(state).is_some()).collect();
        let tables = Tables { rows: folded.rows(), listed };
        prop_assert_eq!(numbers(&catalogue(&tables)), numbers(&oracle::products(values.iter().map(String::as_bytes))));
    }

    #[test]
    fn small_streams_through_the_function_read_the_truth(values in prop::collection::vec(product_event(), 1..40), seed: u64) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = MemoryStore::default();
        runtime.block_on(async {
            let logs = logs_of(&STREAMS[0], values.iter().map(String::as_bytes), 3);
            let waves = tidemark_local::delivery::chaotic(&logs, 5, 4, seed);
            play(&aggregate(store.clone(), MemoryObjects::default(), seed), &logs, waves).await.unwrap();
        });
        let expected = oracle::products(values.iter().map(String::as_bytes));
        prop_assert_eq!(numbers(&catalogue(&store.tables())), numbers(&expected));
    }
}
