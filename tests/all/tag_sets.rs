//! The guard against too many tag sets: a metric's first ones of a day have series of their own, all others
//! share one, and no point is lost.

use std::sync::Arc;

use aggregate::Aggregate;
use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_model::metric::OVERFLOW;
use tidemark_model::stream::Retention;
use tidemark_model::time::DAY_MS;
use tidemark_model::{Settings, State};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{TAKEN_MS, metric, with};
use tidemark_tests::{aggregate_with, documents, handle, invocation};

const MOST: usize = 5;

fn function(store: &MemoryStore, seed: u64) -> Arc<Aggregate<MemoryStore, MemoryObjects>> {
    let settings = Settings { max_tag_sets: MOST, ..Settings::default() };
    aggregate_with(store.clone(), MemoryObjects::default(), seed, settings)
}

/// A point of the nth tag set, whose value is n.
fn point(n: i64) -> Value {
    metric("app", n, json!({"pod": format!("pod-{n}")}))
}

/// An identity that no other point has.
fn identified(point: &Value, id: &str) -> Value {
    with(point, json!({"eventId": id}))
}

/// The points on a partition of their own, from its first offset.
fn batch(partition: i32, points: &[Value]) -> Bytes {
    let values: Vec<String> = points.iter().map(Value::to_string).collect();
    invocation("analytics.metrics", partition, 0, &values)
}

/// What the metrics' document counts.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    /// Series of tag sets, and of the overflow.
    series: (usize, usize),
    /// Points in the overflow.
    overflow: i64,
    points: i64,
    sum: i64,
}

fn counted(store: &MemoryStore) -> Counted {
    let views = documents(&store.tables());
    let all = views["metrics"].as_array().unwrap().iter();
    let (overflow, own): (Vec<&Value>, Vec<&Value>) =
        all.partition(|series| series["tags"] == json!({OVERFLOW: "true"}));
    let sum = |series: &[&Value], field: &str| -> i64 {
        series.iter().map(|series| series[field].as_str().unwrap().parse::<i64>().unwrap()).sum()
    };
    Counted {
        series: (own.len(), overflow.len()),
        overflow: sum(&overflow, "count"),
        points: sum(&own, "count") + sum(&overflow, "count"),
        sum: sum(&own, "sum") + sum(&overflow, "sum"),
    }
}

/// How many tag sets were admitted, for each metric and day.
fn admitted(store: &MemoryStore) -> Vec<usize> {
    let items = store.items();
    let states = items.entities.values().map(|entity| &entity.known.state);
    let sets = states.filter_map(|state| match state {
        State::TagSets(sets) => Some(sets.sets.len()),
        _ => None,
    });
    sets.collect()
}

fn value_sum(points: &[Vec<Value>]) -> i64 {
    points.iter().flatten().map(|point| point["value"].as_i64().unwrap()).sum()
}

/// Handles each list of points on a lane of its own, all at once: the points reported as overflow, and
/// the conflicts.
async fn at_once(store: &MemoryStore, seed: u64, first: i32, lists: &[Vec<Value>]) -> (usize, usize) {
    let tasks = lists.iter().zip(first..).map(|(points, partition)| {
        let (function, payload) = (function(store, seed), batch(partition, points));
        tokio::spawn(async move { handle(&function, payload).await })
    });
    let (mut overflow, mut conflicts) = (0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let report = task.await.unwrap();
        assert_eq!(report.rejects, []);
        overflow += report.overflow;
        conflicts += report.conflicts;
    }
    (overflow, conflicts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tag_sets_beyond_the_limit_share_one_series_in_later_lanes_too() {
    for seed in 0..10 {
        let store = MemoryStore::default();
        let first: Vec<Value> = (0..12).map(point).collect();
        let report = handle(&function(&store, seed), batch(0, &first)).await;
        assert_eq!(report.overflow, 7, "seed {seed}");
        assert_eq!(counted(&store), Counted { series: (5, 1), overflow: 7, points: 12, sum: 66 }, "seed {seed}");

        // Old tag sets and new ones.
        let lists: Vec<Vec<Value>> = (1..7).map(|lane| (lane * 2..lane * 2 + 15).map(point).collect()).collect();
        let (overflow, _) = at_once(&store, seed, 1, &lists).await;
        let found = counted(&store);
        let expected =
            Counted { series: (5, 1), overflow: 7 + overflow as i64, points: 12 + 6 * 15, sum: 66 + value_sum(&lists) };
        assert_eq!(found, expected, "seed {seed}");

        // All of it once more.
        let rows = store.tables().rows;
        let report = handle(&function(&store, seed + 100), batch(0, &first)).await;
        let (again, _) = at_once(&store, seed + 100, 1, &lists).await;
        assert_eq!((report.overflow, again, report.entities), (0, 0, 0), "seed {seed}");
        assert_eq!(store.tables().rows, rows, "seed {seed}");
        assert_eq!(admitted(&store), [MOST], "seed {seed}");
    }
}

/// Points with an identity and without one, from the first on in many lanes that all want to be admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_meet_admit_no_more_than_one_alone() {
    let mut conflicts = 0;
    for seed in 0..20 {
        let store = MemoryStore::default();
        let lists: Vec<Vec<Value>> = (0..6_i64)
            .map(|lane| {
                let points = (lane * 3..lane * 3 + 12).map(|n| match (n + lane) % 2 {
                    0 => identified(&point(n), &format!("{lane}-{n}")),
                    _ => point(n),
                });
                points.collect()
            })
            .collect();
        let (overflow, met) = at_once(&store, seed, 0, &lists).await;
        conflicts += met;
        let expected = Counted { series: (5, 1), overflow: overflow as i64, points: 6 * 12, sum: value_sum(&lists) };
        assert_eq!(counted(&store), expected, "seed {seed}");
        assert_eq!(admitted(&store), [MOST], "seed {seed}");

        let rows = store.tables().rows;
        assert_eq!(at_once(&store, seed + 100, 0, &lists).await, (0, 0), "seed {seed}");
        assert_eq!(store.tables().rows, rows, "seed {seed}");
    }
    assert!(conflicts > 0, "no lanes ever met: the test shows nothing");
}

#[tokio::test]
async fn points_with_an_identity_are_admitted_alike_and_count_once_on_any_lane() {
    let store = MemoryStore::default();
    let points: Vec<Value> = (0..12).map(|n| identified(&point(n), &format!("e{n}"))).collect();
    let report = handle(&function(&store, 0), batch(0, &points)).await;
    // The points and what admits them.
    assert_eq!((report.overflow, report.entities), (7, 13));
    let once = Counted { series: (5, 1), overflow: 7, points: 12, sum: 66 };
    assert_eq!(counted(&store), once);

    let rows = store.tables().rows;
    for partition in [0, 1] {
        let again = handle(&function(&store, 1), batch(partition, &points)).await;
        assert_eq!((again.overflow, again.entities, again.duplicates), (0, 0, 12), "partition {partition}");
        assert_eq!(store.tables().rows, rows, "partition {partition}");
    }
    let plain: Vec<Value> = (0..12).map(point).collect();
    let report = handle(&function(&store, 2), batch(2, &plain)).await;
    assert_eq!(report.overflow, 7, "the same tag sets have series of their own");
    assert_eq!(counted(&store), Counted { series: (5, 1), overflow: 14, points: 24, sum: 132 });
}

/// Forgotten earlier, a day's sets would admit more while its points still come.
#[tokio::test]
async fn what_was_admitted_is_kept_for_as_long_as_points_of_the_day_may_come() {
    // From the end of the day: a week, and a day to spare.
    let expires = Some(TAKEN_MS + DAY_MS + 8 * DAY_MS);
    for points in [[point(1)], [identified(&point(1), "e")]] {
        let store = MemoryStore::default();
        let settings = Settings { metrics_retention: Retention::days(7), ..Settings::default() };
        let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings);
        handle(&function, batch(0, &points)).await;
        let items = store.items();
        let mut states = items.entities.values().map(|entity| &entity.known.state);
        let sets = states.find(|state| matches!(state, State::TagSets(_))).unwrap();
        assert_eq!(sets.expires(), expires, "{points:?}");
    }
}

#[tokio::test]
async fn the_next_day_admits_anew() {
    let store = MemoryStore::default();
    let on = |day_ms: i64, n: i64| with(&point(n), json!({"timestamp": day_ms}));
    let (day, next) = (TAKEN_MS - DAY_MS, TAKEN_MS);
    let others = |day_ms: i64| (12..15).map(|n| on(day_ms, n)).collect::<Vec<Value>>();
    let first: Vec<Value> = (0..12).map(|n| on(day, n)).collect();
    let batches = [first, others(next), others(day)];
    let mut overflow = Vec::new();
    for (points, partition) in batches.iter().zip(0..) {
        overflow.push(handle(&function(&store, 0), batch(partition, points)).await.overflow);
    }
    assert_eq!(overflow, [7, 0, 3], "the first day stays full");
    assert_eq!(counted(&store), Counted { series: (8, 1), overflow: 10, points: 18, sum: 66 + 39 + 39 });
    let mut sets = admitted(&store);
    sets.sort_unstable();
    assert_eq!(sets, [3, MOST]);
}
