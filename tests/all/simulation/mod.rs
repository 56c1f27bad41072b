//! A deterministic simulation of the real handler and the real ledger: only the store, the event source
//! and time are the simulation's. One seed decides what is sent, how it is batched, redelivered, replayed
//! and given up on; which request lands when, late, twice or never; which answers are lost; which
//! invocations die, and which go on though the source has given up on them; and what DynamoDB deletes when
//! days go by. Some values come by requests over HTTP, which share a few lanes. Beside it all, archives take cuts, which must be exact, and come to the truth when they are
//! restored.
//!
//! After every run all views read the brute-force truth, and on the way I1 to I5 hold wherever they can
//! be seen. `SIMULATION_SEED=n` replays one run and prints all that happened; `SIMULATION_SEEDS=n` is how
//! many run.

mod archive;
mod check;
mod http;
mod reach;
mod request;
mod run;
mod source;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use run::Run;
use tidemark_tests::say;
use world::{Without, World};

/// Runs in CI.
const SEEDS: u64 = 5_000;
/// Runs until a piece that is left out must have been missed.
const SEEDS_TO_SEE: u64 = 5_000;

/// What must happen in some of the runs, or they show little.
const HAPPENS: [&str; 22] = [
    "answer lost",
    "throttled",
    "timed out",
    "done in part",
    "stale",
    "late",
    "death",
    "zombie",
    "discard",
    "forgotten",
    "an audit",
    "redriven",
    "a request over HTTP",
    "one that finishes what others left",
    "redone",
    "conflicted",
    "overtaken",
    "unseen",
    "several plans of a batch",
    "a cut",
    "a cut through a plan",
    "a cut without conflicts",
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|n| n.parse().unwrap_or_else(|_| panic!("{variable} takes a number")))
}

#[test]
fn whatever_happens_every_view_reads_the_truth() {
    let (seeds, prints) = match number("SIMULATION_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("SIMULATION_SEEDS").unwrap_or(SEEDS), false),
    };
    let started = Instant::now();
    let (next, tally) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::<&str, usize>::new()));
    let failure = Mutex::new(None);
    let work = || {
        while failure.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let (world, outcome) = simulate(seed, Without::Nothing);
            let world = world.lock().unwrap_or_else(PoisonError::into_inner);
            if prints {
                println!("{}", world.trace.join("\n"));
            }
            let mut tally = tally.lock().unwrap();
            world.met.iter().for_each(|name| *tally.entry(name).or_default() += 1);
            *tally.entry("requests").or_default() += world.trace.len();
            if let Err(what) = outcome {
                *failure.lock().unwrap() = Some(format!(
                    "seed {seed}: {what}\n{}\nreplay it with SIMULATION_SEED={seed}",
                    if prints { String::new() } else { world.trace.join("\n") }
                ));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{failure}");
    }
    let tally = tally.into_inner().unwrap();
    say(&format!("{} runs in {:.0} s: {tally:?}", seeds.end - seeds.start, started.elapsed().as_secs_f64()));
    for what in HAPPENS {
        let runs = tally.get(what).copied().unwrap_or_default();
        assert!(runs >= 20 || seeds.end - seeds.start < SEEDS, "{what} in {runs} runs: too few show it");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let trace = || simulate(seed, Without::Nothing).0.lock().unwrap().trace.clone();
        let (first, second) = (trace(), trace());
        for (at, (first, second)) in first.iter().zip(&second).enumerate() {
            assert_eq!(first, second, "seed {seed}, line {at}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// A simulation that cannot fail shows nothing: without any of these it must.
#[test]
fn a_store_without_its_conditions_is_seen() {
    let pieces = [
        Without::MarkOnRows,
        Without::Counter,
        Without::CompareAndSet,
        Without::FinishCondition,
        Without::RankCondition,
        Without::ExtremeCondition,
        Without::ConflictNotes,
        Without::MarksInScans,
    ];
    for without in pieces {
        let seen = first_failure(0..SEEDS_TO_SEE, without);
        let Some((seed, what)) = seen else { panic!("nobody misses {without:?} in {SEEDS_TO_SEE} runs") };
        println!("without {without:?}, seed {seed}: {what}");
    }
}

fn first_failure(mut seeds: Range<u64>, without: Without) -> Option<(u64, String)> {
    seeds.find_map(|seed| Some((seed, simulate(seed, without).1.err()?)))
}

/// One run: the world as it was left, and what did not hold.
fn simulate(seed: u64, without: Without) -> (Arc<Mutex<World>>, Result<(), String>) {
    let world = Arc::new(Mutex::new(World::new(without)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // One after the other, so that nothing depends on threads.
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let run = AssertUnwindSafe(|| runtime.block_on(Run::new(seed, Arc::clone(&world)).go()));
    let outcome = catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    (world, outcome)
}
