//! A daily run over a table of a million rows: time, CPU, read units and, in a process of its own, peak memory.
//! The local stack's DynamoDB and S3 run in this process, and the run in its child.
//!
//! `ROWS=n` takes another number of rows.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;
use std::time::Instant;

use archive::{Archive, Caller, Daily, Options as ArchiveOptions};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use clap::Parser;
use cpu_time::ProcessTime;
use futures_util::{StreamExt, stream};
use tidemark_archive::Bucket;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Call, Ledger, Options as LedgerOptions, Retry};
use tidemark_local::cli::Options;
use tidemark_local::stack::{BUCKET, STATE_TABLE, Stack, VIEWS_TABLE, sdk_config};
use tidemark_model::Key;
use tidemark_runtime::{Clients, now_ms};

const ROWS: usize = 1_000_000;
const IN_FLIGHT: usize = 16;
/// BatchWriteItem's limit.
const BATCH: usize = 25;

fn main() {
    // The runner passes --bench.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match (std::env::var("ARCHIVE_DYNAMODB"), std::env::var("ARCHIVE_S3")) {
        (Ok(dynamodb), Ok(s3)) => {
            // As it is deployed: one thread.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(&dynamodb, &s3));
        }
        _ => runtime.block_on(fill_and_spawn()),
    }
}

async fn fill_and_spawn() {
    let rows = std::env::var("ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let started = Instant::now();
    let batches: Vec<usize> = (0..rows).step_by(BATCH).collect();
    stream::iter(batches)
        .for_each_concurrent(IN_FLIGHT, |first| write(&stack.clients.dynamodb, first..rows.min(first + BATCH)))
        .await;
    eprintln!("{rows} rows written in {:.0} s", started.elapsed().as_secs_f64());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.env("ARCHIVE_DYNAMODB", &stack.dynamodb_url).env("ARCHIVE_S3", &stack.s3_url);
    let status = tokio::task::spawn_blocking(move || child.status().unwrap()).await.unwrap();
    assert!(status.success());
}

async fn write(client: &Client, rows: std::ops::Range<usize>) {
    let put = |n| {
        let put = PutRequest::builder().set_item(Some(row(n).into_iter().collect())).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let mut waiting: Vec<WriteRequest> = rows.map(put).collect();
    while !waiting.is_empty() {
        let answer = client.batch_write_item().request_items(VIEWS_TABLE, waiting).send().await.unwrap();
        waiting = answer.unprocessed_items.unwrap_or_default().remove(VIEWS_TABLE).unwrap_or_default();
    }
}

/// A row of one of several views.
fn row(n: usize) -> Vec<(String, AttributeValue)> {
    let number = |name: &str, n: usize| (name.to_owned(), AttributeValue::N(n.to_string()));
    let money = |name: &str| (name.to_owned(), AttributeValue::N(format!("{}.{:02}", n % 90_000, n % 100)));
    let id = (n / 10).to_string();
    let (key, mut attributes) = match n % 10 {
        0..4 => {
            let key = Key::of("PRODUCTSALES", &format!("{id}{}", n % 10), "METRICS#CURRENT");
            (key, vec![number("items", n % 50 + 1), number("quantity", n % 500), money("revenue")])
        }
        4..7 => {
            let key = Key::of("CUSTOMER", &format!("{id}{}", n % 10), "METRICS#CURRENT");
            (key, vec![number("orders", n % 30 + 1), money("spent")])
        }
        7 => {
            let key = Key::of("SELLER", &id, "METRICS#CURRENT");
            (key, vec![number("total", 20), number("active", 15), number("deleted", 5), money("value")])
        }
        8 => {
            let start = (1_735_689_600_000 + n / 1_000 * 900_000).to_string();
            let key = Key::parts(&["APP", "shop"], &["15M", &start, "page_view", &format!("Page {}", n / 10 % 100)]);
            (key, vec![number("events", n % 1_000 + 1)])
        }
        _ => {
            let start = (1_735_689_600_000 + n / 1_000 * 60_000).to_string();
            let key = Key::parts(&["METRIC", "shop", "latency", "1M"], &["METRICS", &start, "gauge", "host", &id]);
            let buckets = (0..30).map(|bucket| number(&format!("b{}", 200 + bucket), n % 7 + 1));
            let measures = [number("count", 100), money("sum"), number("min", 1), number("max", 900)];
            (key, measures.into_iter().chain(buckets).collect())
        }
    };
    attributes.push(number("~abcdefg", n % 1_000 + 1));
    attributes.push(("PK".to_owned(), AttributeValue::S(key.pk.to_string())));
    attributes.push(("SK".to_owned(), AttributeValue::S(key.sk.to_string())));
    attributes
}

async fn run(dynamodb: &str, s3: &str) {
    let (dynamodb, s3) = (sdk_config(Some(dynamodb), true).await, sdk_config(Some(s3), true).await);
    let clients = Clients::new(&dynamodb, &s3, &Retry::default());
    let tables = Tables { state: STATE_TABLE.to_owned(), views: VIEWS_TABLE.to_owned() };
    let archive = Archive {
        ledger: Ledger::new(DynamoStore::new(clients.dynamodb, tables), LedgerOptions::default()),
        objects: Bucket::new(clients.s3, BUCKET.to_owned(), None),
        // Without a pace: what is measured is the work.
        options: ArchiveOptions { read_units: 1e9, ..ArchiveOptions::default() },
    };
    let (started, cpu) = (Instant::now(), ProcessTime::now());
    let call = Call { now_ms: now_ms(), deadline: None };
    let Daily::Done(manifest) = archive.daily(call.now_ms, Caller("bench"), call).await.unwrap() else {
        unreachable!("there is no deadline")
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!(
        "{} rows, {} files, {:.1} MB: {:.1} s, {:.1} s of CPU, {:.0} read units ({:.0} s at 3,000 a second), peak memory {peak}",
        manifest.rows,
        manifest.files.len(),
        manifest.bytes() as f64 / 1e6,
        started.elapsed().as_secs_f64(),
        cpu.elapsed().as_secs_f64(),
        manifest.units.read,
        manifest.units.read / 3_000.0,
    );
}
