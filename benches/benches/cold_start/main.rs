//! Cold starts of the functions' binaries as they are deployed, beside a bare function in the same run: wall and CPU
//! from exec to the first /next and to the first answer, each process on empty stores of its own behind TLS.
//!
//! ```text
//! cargo lambda build --release --compiler cargo --bin aggregate --bin archive --bin api --bin bare
//! cargo bench --profile dev --bench cold_start
//! ```
//!
//! What is measured are other executables, so this one's profile does not matter. `RUNS=n` sets how often each is
//! started, and `BINARIES=folder` where they lie, by their names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod runtime_api;
mod tls;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use tidemark_local::cli::Options;
use tidemark_local::serve::put_events_key;
use tidemark_local::stack::Stack;
use tidemark_runtime::now_ms;

use crate::runtime_api::RuntimeApi;
use crate::tls::Authority;

const RUNS: usize = 40;
/// What an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The bare function comes first: the others are compared with it.
const FUNCTIONS: [Function; 4] = [
    Function { name: "bare", event: "upkeep.json" },
    Function { name: "aggregate", event: "products.json" },
    Function { name: "archive", event: "upkeep.json" },
    Function { name: "api", event: "api-sellers.json" },
];

/// A function, and the file of `events/` that it is first invoked with.
struct Function {
    name: &'static str,
    event: &'static str,
}

/// From exec on.
#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

/// One cold start.
struct Start {
    next: Spent,
    answer: Spent,
}

fn main() {
    let runs = std::env::var("RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let authority = Authority::new();
    let mut starts: [Vec<Start>; FUNCTIONS.len()] = Default::default();
    // In turns, because machines drift.
    for _ in 0..runs {
        for (function, starts) in FUNCTIONS.iter().zip(&mut starts) {
            let stack = server.block_on(Stack::start(&Options::parse_from(["tidemark"]))).unwrap();
            let api = stack.api(Box::new(now_ms)).unwrap();
            server.block_on(put_events_key(&api, now_ms())).unwrap();
            let [dynamodb, s3] = [&stack.dynamodb_url, &stack.s3_url].map(|url| server.block_on(authority.serve(url)));
            starts.push(start(function, &authority.bundle, &dynamodb, &s3));
        }
    }
    println!("Medians of {runs} starts, in ms\n");
    println!("| function | MB | to /next: wall | CPU | CPU above bare | to the first answer: wall | CPU |");
    println!("|---|---|---|---|---|---|---|");
    let bare = median(&starts[0], |start| start.next.cpu);
    for (function, starts) in FUNCTIONS.iter().zip(&starts) {
        let ms = |of: fn(&Start) -> Duration| median(starts, of);
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            function.name,
            binary(function.name).metadata().unwrap().len() as f64 / 1e6,
            ms(|start| start.next.wall),
            ms(|start| start.next.cpu),
            ms(|start| start.next.cpu) - bare,
            ms(|start| start.answer.wall),
            ms(|start| start.answer.cpu),
        );
    }
}

fn start(function: &Function, bundle: &Path, dynamodb: &str, s3: &str) -> Start {
    let event = std::fs::read(root().join("events").join(function.event)).unwrap();
    let api = RuntimeApi::listen();
    let mut command = Command::new(binary(function.name));
    command.env_clear().envs(variables()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb).env("AWS_ENDPOINT_URL_S3", s3).env("AWS_CA_BUNDLE", bundle);
    command.env("AWS_LAMBDA_RUNTIME_API", api.address.to_string()).env("AWS_LAMBDA_FUNCTION_NAME", function.name);

    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let spent = |at: Instant| Spent { wall: at - started, cpu: cpu(child.id()) };
    let call = api.call(PATIENCE);
    let next = spent(call.at);
    assert!(call.path.ends_with("/invocation/next"), "{} cannot start: {}", function.name, call.body);
    call.invoke(&event);
    let call = api.call(PATIENCE);
    let answer = spent(call.at);
    assert!(call.path.ends_with("/response"), "{} failed: {}", function.name, call.body);
    assert!(function.name != "api" || call.body.contains(r#""statusCode":200"#), "{}", call.body);
    child.kill().unwrap();
    child.wait().unwrap();
    Start { next, answer }
}

/// What `events/local.env` sets, and what Lambda sets besides.
fn variables() -> Vec<(String, String)> {
    let local = std::fs::read_to_string(root().join("events/local.env")).unwrap();
    let local = local.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let lambda = [
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("AWS_SESSION_TOKEN", "local"),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
    ];
    local.chain(lambda).map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
}

/// CPU of all threads that live: the process waits when it is asked, so its share is up to date.
fn cpu(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let ns = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(ns.sum())
}

fn median(starts: &[Start], of: impl Fn(&Start) -> Duration) -> f64 {
    let mut all: Vec<Duration> = starts.iter().map(of).collect();
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e3
}

fn binary(name: &str) -> PathBuf {
    match std::env::var_os("BINARIES") {
        Some(folder) => Path::new(&folder).join(name),
        None => root().join("target/lambda").join(name).join("bootstrap"),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
