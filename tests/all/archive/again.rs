//! Runs of many invocations, and invocations that meet.

use std::time::Duration;

use archive::{Archive, Caller, Daily, Options};
use futures_util::future::join_all;
use tidemark_archive::{ObjectStore, layout};
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_local::stack::Stack;
use tidemark_tests::faulty::Fault;
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::watched::Watched;
use tidemark_tests::{NOW_MS, call};
use tokio::time::Instant;

use super::{AT_MS, archive, archive_with, at, check_finished, done, keys, more, run, stack, tables};

const HOUR_MS: i64 = 3_600_000;
/// Longer than any invocation is at a run.
const HELD_MS: i64 = 930_000;
/// Of this, a quarter is kept for ending files; and a scan begins when only a fifth is left.
const LEFT: Duration = Duration::from_secs(100);
const PASSES: Duration = Duration::from_secs(80);

/// An invocation whose time is up after its first page.
fn short(now_ms: i64) -> Call {
    Call { now_ms, deadline: Some(Instant::now() + LEFT) }
}

/// The function, when time passes; in a few segments, which are as many pages here.
fn short_of_time(stack: &Stack, watched: &Watched) -> Archive<DynamoStore, Watched> {
    archive_with(stack, watched.passing(PASSES), Options { segments: 5, ..Options::default() })
}

#[tokio::test]
async fn a_run_of_many_invocations_is_as_one() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let watched = Watched::new(&objects);
    let function = short_of_time(&stack, &watched);
    let (mut last, mut invocations) = (0, 0);
    let manifest = loop {
        invocations += 1;
        match function.daily(AT_MS, Caller(&invocations.to_string()), short(NOW_MS)).await.unwrap() {
            Daily::Done(manifest) => break *manifest,
            Daily::Continues { run, invocations: so_far, items } => {
                assert_eq!((run.as_str(), so_far), ("daily-20250102_020000", invocations));
                assert!(items >= last);
                last = items;
                assert_eq!(keys(&objects), [layout::RUN], "nothing is visible yet");
            }
            busy => panic!("{busy:?}"),
        }
    };
    assert!(invocations >= 10, "{invocations}");
    assert_eq!(manifest.invocations, invocations);
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "many").await;
    assert_eq!(watched.open(), [""; 0]);
    // The same at once: other parts, and none of the earlier ones is left.
    let at_once = run(&archive(&stack, watched.clone()), AT_MS, call()).await;
    check_finished(&objects, &at_once, &tables(&stack, NOW_MS).await, "at once").await;
    assert!(at_once.files.len() < manifest.files.len());
    assert_eq!((at_once.rows, at_once.entities), (manifest.rows, manifest.entities));
}

#[tokio::test]
async fn whatever_comes_next_goes_on_with_a_run() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let function = short_of_time(&stack, &Watched::new(&objects));
    assert_eq!(function.resume(Caller("upkeep"), call()).await.unwrap(), None);
    assert_eq!(keys(&objects), [""; 0]);
    function.daily(AT_MS, Caller("daily"), short(NOW_MS)).await.unwrap();
    let mut resumed = 0;
    let manifest = loop {
        resumed += 1;
        match function.resume(Caller("upkeep"), short(NOW_MS + resumed)).await.unwrap() {
            Some(Daily::Continues { .. }) => {}
            other => break done(other.unwrap()),
        }
    };
    assert!(resumed > 5);
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "resumed").await;
    assert_eq!(function.resume(Caller("upkeep"), call()).await.unwrap(), None);
}

#[tokio::test]
async fn commits_between_the_invocations_are_in_the_log() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let function = short_of_time(&stack, &Watched::new(&objects));
    function.daily(AT_MS, Caller("daily"), short(NOW_MS)).await.unwrap();
    more(&stack).await;
    let manifest = loop {
        if let Daily::Done(manifest) = function.daily(AT_MS, Caller("daily"), short(NOW_MS)).await.unwrap() {
            break manifest;
        }
    };
    assert_eq!(manifest.plans, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_held_is_left_alone_until_its_time_is_up() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let watched = Watched::new(&objects);
    let dies = archive(&stack, watched.with(Fault::CrashBefore, 25));
    dies.daily(AT_MS, Caller("one"), call()).await.unwrap_err();
    let before = objects.0.lock().unwrap().clone();
    let function = archive(&stack, watched.clone());
    for (at_ms, now_ms) in [(AT_MS, NOW_MS), (AT_MS + HOUR_MS, NOW_MS + HELD_MS - 1)] {
        let busy = function.daily(at_ms, Caller("another"), at(now_ms)).await.unwrap();
        let run = "daily-20250102_020000".to_owned();
        assert_eq!(busy, Daily::Busy { run, until_ms: NOW_MS + HELD_MS });
        assert_eq!(function.resume(Caller("another"), at(now_ms)).await.unwrap(), None);
        assert_eq!(*objects.0.lock().unwrap(), before);
    }
    let manifest = run(&function, AT_MS, at(NOW_MS + HELD_MS)).await;
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "taken over").await;
    assert_eq!((manifest.invocations, watched.open()), (2, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_invocation_goes_on_with_its_own_run() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let watched = Watched::new(&objects);
    let dies = archive(&stack, watched.with(Fault::CrashAfter, 30));
    dies.daily(AT_MS, Caller("invocation"), call()).await.unwrap_err();
    let manifest = run(&archive(&stack, watched.clone()), AT_MS, call()).await;
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "repeated").await;
    assert_eq!((manifest.invocations, watched.open()), (2, vec![]));
}

/// Its rows would be those of now, filed under a day that is gone; and the newer day would be lost.
#[tokio::test]
async fn a_day_that_comes_late_gives_way_to_a_newer_one() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let function = short_of_time(&stack, &Watched::new(&objects));
    function.daily(AT_MS, Caller("daily"), short(NOW_MS)).await.unwrap();
    let before = objects.0.lock().unwrap().clone();
    let late = function.daily(AT_MS - 24 * HOUR_MS, Caller("late"), call()).await.unwrap();
    assert_eq!(late, Daily::Busy { run: "daily-20250102_020000".to_owned(), until_ms: 0 });
    assert_eq!(*objects.0.lock().unwrap(), before);
}

#[tokio::test]
async fn a_run_that_is_never_finished_gives_way_to_another() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let watched = Watched::new(&objects);
    let function = short_of_time(&stack, &watched);
    for at_ms in [AT_MS - 24 * HOUR_MS, AT_MS - HOUR_MS] {
        for _ in 0..3 {
            let daily = function.daily(at_ms, Caller("early"), short(NOW_MS)).await.unwrap();
            assert!(matches!(daily, Daily::Continues { .. }));
        }
        assert!(!watched.open().is_empty());
    }
    let manifest = run(&archive(&stack, watched.clone()), AT_MS, call()).await;
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "instead").await;
    assert_eq!((manifest.invocations, watched.open()), (1, vec![]));
}

/// A claim that loses must not have given up what the winner goes on with.
#[tokio::test]
async fn whoever_is_late_with_a_claim_spoils_nothing() {
    let stack = stack().await;
    let expected = tables(&stack, NOW_MS).await;
    for held in [1, 2, 4, 9] {
        let objects = MemoryObjects::default();
        let watched = Watched::new(&objects);
        let function = short_of_time(&stack, &watched);
        for _ in 0..4 {
            function.daily(AT_MS, Caller("early"), short(NOW_MS)).await.unwrap();
        }
        let late = watched.with(Fault::Held, held);
        let claims = tokio::spawn({
            let function = archive(&stack, late.clone());
            async move { function.daily(AT_MS + HOUR_MS, Caller("late"), call()).await }
        });
        while late.sent() <= held {
            tokio::task::yield_now().await;
        }
        let resumed = archive(&stack, watched.clone()).resume(Caller("upkeep"), call()).await.unwrap();
        if held == 1 {
            check_finished(&objects, &done(resumed.unwrap()), &expected, "in time").await;
        } else {
            assert_eq!(resumed, None, "the other has claimed it");
        }
        late.let_go();
        let manifest = done(claims.await.unwrap().unwrap());
        assert_eq!(super::content(&objects, &manifest).await, expected);
        assert_eq!(watched.open(), [""; 0], "{held}");
    }
}

/// Over the embedded S3 and its conditions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_at_once_one_works() {
    let stack = stack().await;
    let expected = tables(&stack, NOW_MS).await;
    for round in 0..4 {
        let bucket = &stack.archive.objects;
        let functions: Vec<_> = (0..6).map(|n| (n.to_string(), archive(&stack, bucket.clone()))).collect();
        let daily = functions.iter().map(|(name, function)| function.daily(AT_MS, Caller(name), call()));
        let outcomes: Vec<Daily> = join_all(daily).await.into_iter().map(Result::unwrap).collect();
        let (finished, busy): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|outcome| matches!(outcome, Daily::Done(_)));
        assert_eq!((finished.len(), busy.len()), (1, 5), "round {round}");
        assert!(busy.iter().all(|outcome| matches!(outcome, Daily::Busy { .. })), "{busy:?}");
        let manifest = done(finished.into_iter().next().unwrap());
        assert_eq!(super::content(bucket, &manifest).await, expected);
        assert_eq!(bucket.get(layout::RUN).await.unwrap(), None);
    }
}
