//! Runs that die, wherever that is: the next invocation makes them good.

use archive::{Caller, Daily, Options};
use serde_json::Value;
use tidemark_archive::{Bucket, layout};
use tidemark_local::stack::Stack;
use tidemark_runtime::telemetry::chain;
use tidemark_tests::faulty::Fault;
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::watched::Watched;
use tidemark_tests::{NOW_MS, call, say};

use super::{AT_MS, Content, archive, archive_with, at, check_finished, run, stack, tables};

/// When nobody can be at a run any more that was begun now.
const LATER_MS: i64 = NOW_MS + 930_000;

/// The run's state, if there is one.
fn state(objects: &MemoryObjects) -> Option<Value> {
    objects.0.lock().unwrap().get(layout::RUN).map(|body| serde_json::from_slice(body).unwrap())
}

/// One run with a fault at a request, and one after it; whether there was such a request.
async fn check(stack: &Stack, expected: &Content, fault: Fault, at_request: usize) -> bool {
    let what = format!("{fault:?} at {at_request}");
    let objects = MemoryObjects::default();
    let watched = Watched::new(&objects);
    let faulty = watched.with(fault, at_request);
    let outcome = archive(stack, faulty.clone()).daily(AT_MS, Caller("first"), call()).await;
    let met = faulty.sent() > at_request;
    assert_eq!(outcome.is_err(), met, "{what}: {outcome:?}");
    let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
    if let (false, Some(state)) = (crashes, state(&objects)) {
        // It lived on: it has given up what is no file of the run.
        let open = state["open"].to_string();
        let is_left = |id: &String| open.contains(id.as_str()) && state["heldUntilMs"] == 0;
        assert!(!watched.open().iter().any(is_left), "{what}: {state}");
    }
    let manifest = run(&archive(stack, watched.clone()), AT_MS, at(LATER_MS)).await;
    check_finished(&objects, &manifest, expected, &what).await;
    // What nobody can know of is an upload whose id never came, or died with the invocation: the bucket's lifecycle
    // ends it.
    let open = watched.open();
    assert!(!open.iter().any(|id| watched.was_saved(id)), "{what}: {open:?}");
    assert!(crashes || open.len() <= usize::from(fault == Fault::AnswerLost), "{what}: {open:?}");
    met
}

async fn check_everywhere(fault: Fault) {
    let stack = stack().await;
    let (expected, mut requests) = (tables(&stack, NOW_MS).await, 0);
    while check(&stack, &expected, fault, requests).await {
        requests += 1;
    }
    say(&format!("archive: {fault:?} at each of {requests} requests"));
    assert!(requests > 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_before_any_request_is_made_good() {
    check_everywhere(Fault::CrashBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_after_any_request_is_made_good() {
    check_everywhere(Fault::CrashAfter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_misses_any_answer_is_made_good() {
    check_everywhere(Fault::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_request_fails_once_is_made_good() {
    check_everywhere(Fault::Throttled).await;
}

/// It dies again and again, one invocation after the other, until one gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_again_and_again_is_made_good() {
    let stack = stack().await;
    let expected = tables(&stack, NOW_MS).await;
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let objects = MemoryObjects::default();
        let watched = Watched::new(&objects);
        let (mut now_ms, mut invocations) = (NOW_MS, 0);
        let manifest = loop {
            invocations += 1;
            let fault = [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost][rng.usize(0..3)];
            let faulty = watched.with(fault, rng.usize(0..60));
            let options = Options { segments: rng.u32(1..6), ..Options::default() };
            let function = archive_with(&stack, faulty, options);
            match function.daily(AT_MS, Caller(&invocations.to_string()), at(now_ms)).await {
                Ok(Daily::Done(manifest)) => break *manifest,
                Ok(other) => panic!("{other:?}"),
                Err(_) => now_ms += 930_000,
            }
        };
        check_finished(&objects, &manifest, &expected, &format!("seed {seed}, {invocations} invocations")).await;
        assert!(!watched.open().iter().any(|id| watched.was_saved(id)), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_missing_is_named_with_its_variable() {
    let stack = stack().await;
    let nowhere = Bucket::new(stack.clients.s3.clone(), "nowhere".to_owned(), None);
    let function = archive(&stack, nowhere);
    let daily = function.daily(AT_MS, Caller("one"), call()).await.unwrap_err();
    let report = function.report(AT_MS, call()).await.unwrap_err();
    let resumed = function.resume(Caller("one"), call()).await.unwrap_err();
    for error in [daily, report, resumed] {
        assert_eq!(chain(&error), "there is no bucket nowhere, which the variable BUCKET names");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_none_says_what_to_do() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    objects.0.lock().unwrap().insert(layout::RUN.to_owned(), b"{}".to_vec());
    let error = archive(&stack, objects).daily(AT_MS, Caller("one"), call()).await.unwrap_err();
    assert!(chain(&error).starts_with("object runs/daily.json is not the state of a run; delete it to begin anew"));
}
