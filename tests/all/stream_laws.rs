//! The laws of orders, activity and metrics, over arbitrary small streams: in any order and any parts they
//! come to the same, and through the function to the brute-force truth.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tidemark_local::delivery::chaotic;
use tidemark_local::feed::{Log, Record, logs_of, payload};
use tidemark_local::play::play;
use tidemark_model::fold::{Fold, effects, fold};
use tidemark_model::metric::{Admission, Point};
use tidemark_model::stream::STREAMS;
use tidemark_model::{Change, Key, Known, Map, Measures, Rows, Settings, State, Transition, Version, decode};
use tidemark_tests::arbitrary::{Sent, activity_stream, metric_stream, order_stream, values};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{SALES, aggregate, oracle, views, without_quantiles};

fn logs(sent: &[Sent], partitions: i32) -> Vec<Log> {
    let of_stream =
        |name: &'static str| sent.iter().filter(move |(of, _)| *of == name).map(|(_, value)| value.as_bytes());
    STREAMS.iter().flat_map(|stream| logs_of(stream, of_stream(stream.name), partitions)).collect()
}

/// What the values say, at the offsets that they have on partitions of their own.
fn said(sent: &[Sent]) -> (Vec<Change>, Vec<Point>) {
    let logs = logs(sent, 1);
    let slices: Vec<&[Record]> = logs.iter().map(|log| log.records.as_slice()).collect();
    let (mut changes, mut points) = (Vec::new(), Vec::new());
    for batch in decode(&payload(&slices).unwrap(), &Settings::default()).unwrap() {
        assert!(batch.rejects.is_empty(), "{batch:?}");
        changes.extend(batch.changes);
        points.extend(batch.points);
    }
    (changes, points)
}

/// States and rows under the fold, without a store.
#[derive(Clone, Debug, Default)]
struct Folded {
    known: Map<Key, Known>,
    rows: Rows,
}

impl Folded {
    /// As a commit does: tag sets are admitted before anything of theirs is counted.
    fn apply(&mut self, changes: &[Change], points: &[Point]) {
        let Fold { mut transitions, .. } = fold(changes, &self.known);
        let admission = Admission::new(&self.known, Settings::default().max_tag_sets);
        let of_points = points.iter().map(|point| (&point.series, &point.day, point.day.end_ms));
        let of_samples = transitions.iter().filter_map(|transition| match &transition.after {
            State::Sample(sample) => Some((&sample.series, &sample.day, sample.expires)),
            _ => None,
        });
        let admitting = admission.steps(of_points.chain(of_samples));
        if !admitting.is_empty() {
            self.step(admitting);
            return self.apply(changes, points);
        }
        admission.settle(&mut transitions);
        self.rows.merge(admission.rows(points));
        self.rows.merge(effects(&transitions));
        self.step(transitions);
    }

    fn step(&mut self, transitions: Vec<Transition>) {
        for Transition { key, counter, version, after, .. } in transitions {
            self.known.insert(key, Known { counter: counter + 1, version, state: after });
        }
    }

    fn rows(&self) -> Vec<(Key, Measures)> {
        self.rows.clone().into_sorted()
    }

    fn states(&self) -> Vec<(Key, Version, State)> {
        let state = |(key, known): (&Key, &Known)| {
            let mut state = known.state.clone();
            if let State::TagSets(sets) = &mut state {
                // Any time that outlasts the day's points will do.
                sets.expires = 0;
            }
            (key.clone(), known.version, state)
        };
        let mut states: Vec<_> = self.known.iter().map(state).collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }
}

fn comes_to_the_same_in_any_parts_and_order(sent: &[Sent], size: usize, seed: u64) -> TestCaseResult {
    let (mut changes, mut points) = said(sent);
    let mut whole = Folded::default();
    whole.apply(&changes, &points);
    let mut rng = fastrand::Rng::with_seed(seed);
    rng.shuffle(&mut changes);
    rng.shuffle(&mut points);
    let mut parts = Folded::default();
    changes.chunks(size).for_each(|changes| parts.apply(changes, &[]));
    points.chunks(size).for_each(|points| parts.apply(&[], points));
    // All of it once more, but for points: those are counted by their offsets, outside of the fold.
    parts.apply(&changes, &[]);
    prop_assert_eq!(whole.rows(), parts.rows());
    prop_assert_eq!(whole.states(), parts.states());
    Ok(())
}

/// What the store holds after the values came to the real function, as badly as they may.
fn played(sent: &[Sent], seed: u64) -> MemoryStore {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = MemoryStore::default();
    runtime.block_on(async {
        let logs = logs(sent, 3);
        let waves = chaotic(&logs, 5, 4, seed);
        let played = play(&aggregate(store.clone(), MemoryObjects::default(), seed), &logs, waves).await.unwrap();
        assert!(played.rejects.is_empty() && played.late == 0, "{played:?}");
    });
    store
}

/// I1, where no row has points: each is the sum of what the states add to it, each tally of what is there.
fn rows_are_the_sums_of_states(store: &MemoryStore) -> TestCaseResult {
    let stored: Rows = store.tables().rows.into_iter().collect();
    prop_assert_eq!(stored.into_sorted(), store.recomputed().into_sorted());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn orders_come_to_the_same_in_any_order(sent in order_stream(30), size in 1_usize..30, seed: u64) {
        comes_to_the_same_in_any_parts_and_order(&sent, size, seed)?;
    }

    #[test]
    fn activity_comes_to_the_same_in_any_order(sent in activity_stream(30), size in 1_usize..30, seed: u64) {
        comes_to_the_same_in_any_parts_and_order(&sent, size, seed)?;
    }

    #[test]
    fn metrics_come_to_the_same_in_any_order(sent in metric_stream(30), size in 1_usize..30, seed: u64) {
        comes_to_the_same_in_any_parts_and_order(&sent, size, seed)?;
    }

    #[test]
    fn orders_through_the_function_read_the_truth(sent in order_stream(30), seed: u64) {
        let store = played(&sent, seed);
        let found = views(&store.tables(), &SALES);
        prop_assert_eq!(oracle::sorted(&found), oracle::sorted(&oracle::orders(values(&sent))));
        rows_are_the_sums_of_states(&store)?;
    }

    #[test]
    fn activity_through_the_function_reads_the_truth(sent in activity_stream(30), seed: u64) {
        let store = played(&sent, seed);
        let found = views(&store.tables(), &["apps", "eventTotals"]);
        prop_assert_eq!(oracle::sorted(&found), oracle::sorted(&oracle::activity(values(&sent))));
        rows_are_the_sums_of_states(&store)?;
    }

    #[test]
    fn metrics_through_the_function_read_the_truth(sent in metric_stream(30), seed: u64) {
        let store = played(&sent, seed);
        let found = without_quantiles(views(&store.tables(), &["metrics", "series"]));
        prop_assert_eq!(oracle::sorted(&found), oracle::sorted(&oracle::metrics(values(&sent))));
        // A row that counts points has no other source than the stream.
        if sent.iter().all(|(_, value)| value.contains("\"eventId\":\"")) {
            rows_are_the_sums_of_states(&store)?;
        }
    }
}
