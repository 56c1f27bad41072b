//! The function's own executable under Lambda's runtime API, several of it at once: killed with SIGKILL at
//! any moment, stopped and woken when its records have come again, its requests delayed, lost, doubled,
//! answered by errors or done late. At the end every view is exact.
//!
//! | variable | default | what it sets |
//! |---|---|---|
//! | `PROCESS_SECONDS` | 40 | how long the mayhem goes on; rounds on fresh stores follow each other until then |
//! | `PROCESS_SEED` | any | which choices are made; when they meet which request is up to the machine |
//! | `TIDEMARK_BINARY` | the one of this build | the executable, such as `target/release/aggregate` |
//!
//! It is a test of this package, not one of `tests`, because only here does Cargo build the executable for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod environment;
mod proxy;
mod runtime_api;
mod source;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use futures_util::future::join_all;
use serde_json::Value;
use tidemark_ledger::{Call, Ledger};
use tidemark_local::cli::Options;
use tidemark_local::stack::Stack;
use tidemark_runtime::now_ms;
use tidemark_tests::{root, say};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::environment::{ENDED, Process, World};
use crate::proxy::{Fault, Proxy, Tongue};
use crate::runtime_api::RuntimeApi;
use crate::source::Source;
use crate::verdict::Streams;

/// Processes that are invoked at once; zombies come on top.
const ENVIRONMENTS: usize = 3;
/// Places of each ranking that must be exact.
const TOP: usize = 10;
/// What the calm may take on a slow machine. Whatever takes longer never ends.
const PATIENCE: Duration = Duration::from_secs(120);
/// A round that is shorter shows little.
const LEAST: Duration = Duration::from_secs(10);
/// Rounds beyond the time, if something has not happened yet.
const MORE: usize = 4;
/// Attempts of one request.
const ATTEMPTS: usize = 6;
/// What must have happened, or the test shows nothing.
const BEFALLEN: [&str; 8] = [
    "invocations that failed",
    "invocations that succeeded",
    "invocations given up",
    "processes killed at work",
    "processes killed in init",
    "processes killed when idle",
    "processes stopped",
    "zombies that succeeded",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_die_behind_a_failing_network_leave_exact_views() {
    let mut end = Instant::now() + Duration::from_secs(variable("PROCESS_SECONDS").unwrap_or(40));
    let seed = variable("PROCESS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let streams = Streams::read();
    let mut told = Told::default();
    let mut more = MORE;
    for seed in seed.. {
        say(&format!("PROCESS_SEED={seed}"));
        play(&streams, seed, end, &mut told).await;
        if Instant::now() + LEAST < end {
            continue;
        }
        if more == 0 || told.missing().is_empty() {
            break;
        }
        more -= 1;
        end = Instant::now() + LEAST;
    }
    assert!(told.missing().is_empty(), "never happened: {:?}", told.missing());
}

/// One round: fresh stores, all streams, mayhem until all is delivered or time is up, then calm.
async fn play(streams: &Streams, seed: u64, end: Instant, told: &mut Told) {
    let started = Instant::now();
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let dynamodb = Proxy::start(Tongue::DynamoDb, &stack.dynamodb_url, seed).await;
    let s3 = Proxy::start(Tongue::S3, &stack.s3_url, seed).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let world = Arc::new(World {
        api: RuntimeApi::start().await,
        source: Mutex::new(Source::new(streams.logs(), seed)),
        counts: Mutex::default(),
        binary: binary(),
        variables: variables(&dynamodb.url, &s3.url),
        log: std::fs::File::options().create(true).append(true).open(&log).unwrap(),
        rng: Mutex::new(fastrand::Rng::with_seed(seed)),
        calm: AtomicBool::new(false),
        zombies: Mutex::new(JoinSet::new()),
    });
    let processes = environments(&world, (0..ENVIRONMENTS).map(|_| None).collect(), end).await;
    let mayhem = started.elapsed();
    world.calm.store(true, Ordering::SeqCst);
    let zombies = std::mem::take(&mut *world.zombies.lock().unwrap());
    let calm = async {
        zombies.join_all().await;
        dynamodb.calm().await;
        s3.calm().await;
        world.source.lock().unwrap().calm();
        environments(&world, processes, end).await;
        // The function that archives does this on a schedule.
        let options = tidemark_ledger::Options { top: TOP, ..tidemark_ledger::Options::default() };
        let ledger = Ledger::new(stack.aggregate.ledger.store().clone(), options);
        archive::upkeep(&ledger, Call { now_ms: now_ms(), deadline: None }).await.is_ok()
    };
    let kept_up = timeout(PATIENCE, calm).await;

    let mut round = Told::default();
    round.take(&world, &dynamodb, &s3, &std::fs::read_to_string(&log).unwrap());
    say(&format!("mayhem {:.0} s, in all {:.0} s\n{round}", mayhem.as_secs_f32(), started.elapsed().as_secs_f32()));
    told.add(&round);
    let what = format!("seed {seed}");
    assert!(kept_up.unwrap_or_else(|_| panic!("{what}: an invocation never ends")), "{what}: upkeep");
    for never in [ENDED, PANICS, UNEXPECTED] {
        assert!(!round.0.contains_key(never), "{what}: {never}");
    }
    streams.check(&stack, TOP, &what).await;
}

async fn environments(world: &Arc<World>, processes: Vec<Option<Process>>, end: Instant) -> Vec<Option<Process>> {
    let tasks = processes.into_iter().map(|process| tokio::spawn(Arc::clone(world).environment(process, end)));
    join_all(tasks.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect()
}

/// The committed environment of local runs, with waits that suit a minute.
fn variables(dynamodb_url: &str, s3_url: &str) -> BTreeMap<String, String> {
    let committed = std::fs::read_to_string(root().join("events/local.env")).unwrap();
    let committed = committed.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let (attempts, top) = (ATTEMPTS.to_string(), TOP.to_string());
    let here = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ("AWS_ENDPOINT_URL_S3", s3_url),
        ("AWS_LAMBDA_FUNCTION_NAME", "aggregate"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
        ("RETRY_MAX_ATTEMPTS", attempts.as_str()),
        ("RETRY_INITIAL_MS", "5"),
        ("RETRY_CAP_MS", "300"),
        ("TOP_N", top.as_str()),
    ];
    committed.chain(here).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn binary() -> PathBuf {
    let given = std::env::var_os("TIDEMARK_BINARY").map(|path| root().join(path));
    let binary = given.unwrap_or_else(|| env!("CARGO_BIN_EXE_aggregate").into());
    assert!(binary.exists(), "{} is not there; cargo build --release -p aggregate makes one", binary.display());
    binary
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, but takes a number")))
}

const PANICS: &str = "panics";
const UNEXPECTED: &str = "failures that should not be";

/// What a partition's failure was, by its message.
fn failure(error: &str) -> &'static str {
    if error.contains("could not be set aside") {
        "failures: S3 never answered"
    } else if error.contains("stopped before the deadline") {
        "failures: no time left"
    } else if error.contains(&format!("request failed after {ATTEMPTS} attempts")) {
        "failures: DynamoDB never answered"
    } else {
        say(error);
        UNEXPECTED
    }
}

fn of_dynamodb(fault: Fault) -> String {
    format!("DynamoDB requests: {fault:?}")
}

/// How often what happened.
#[derive(Default)]
struct Told(BTreeMap<String, usize>);

impl Told {
    fn count(&mut self, what: impl Into<String>, n: usize) {
        if n > 0 {
            *self.0.entry(what.into()).or_default() += n;
        }
    }

    /// What has not happened yet.
    fn missing(&self) -> Vec<String> {
        let must = BEFALLEN.map(str::to_owned).into_iter().chain(Fault::ALL.map(of_dynamodb));
        must.filter(|what| !self.0.contains_key(what)).collect()
    }

    fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, n)| self.count(what, *n));
    }

    fn take(&mut self, world: &World, dynamodb: &Proxy, s3: &Proxy, log: &str) {
        world.counts.lock().unwrap().iter().for_each(|(what, n)| self.count(*what, *n));
        let delivered = world.source.lock().unwrap().counts();
        self.count("deliveries", delivered.invocations);
        self.count("deliveries beside their own repetition", delivered.echoes);
        self.count("deliveries of all once more", delivered.replays);
        self.count("records delivered", delivered.delivered);
        self.count("slices delivered again", delivered.redelivered);
        self.count("DynamoDB requests", dynamodb.requests());
        self.count("S3 requests", s3.requests());
        dynamodb.faults().into_iter().for_each(|(fault, n)| self.count(of_dynamodb(fault), n));
        s3.faults().into_iter().for_each(|(fault, n)| self.count(format!("S3 requests: {fault:?}"), n));
        for line in log.lines() {
            if line.contains("panicked at") {
                say(line);
                self.count(PANICS, 1);
            }
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if let Some(error) = line["error"].as_str().filter(|_| line["level"] == "ERROR") {
                self.count(failure(error), 1);
            }
            for (metric, what) in [("RedonePlans", "plans redone"), ("Conflicts", "transitions in conflict")] {
                self.count(what, line[metric].as_f64().unwrap_or_default() as usize);
            }
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(what, n)| writeln!(f, "{n:>9} {what}"))
    }
}
