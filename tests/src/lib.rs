//! What the tests share: stores in memory, faults, and the brute-force truth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

pub mod api;
pub mod arbitrary;
pub mod archived;
pub mod explore;
pub mod faulty;
pub mod memory;
mod objects;
pub mod oracle;
pub mod tokens;
pub mod values;
pub mod watched;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregate::{Aggregate, AggregateError, Report};
use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_archive::{ObjectStore, Quarantine};
use tidemark_ledger::{Call, Ledger, Options, Retry, Store};
use tidemark_model::views::{Tables, VIEWS};
use tidemark_model::{Decimal, Settings};

/// The time of test invocations: 2025-01-02.
pub const NOW_MS: i64 = 1_735_776_000_000;

pub fn call() -> Call {
    Call { now_ms: NOW_MS, deadline: None }
}

/// The function on any stores, with quick retries and fixed randomness.
pub fn aggregate<S: Store, O: ObjectStore>(store: S, objects: O, seed: u64) -> Arc<Aggregate<S, O>> {
    aggregate_with(store, objects, seed, Settings::default())
}

/// The same, set up otherwise.
pub fn aggregate_with<S: Store, O: ObjectStore>(
    store: S,
    objects: O,
    seed: u64,
    settings: Settings,
) -> Arc<Aggregate<S, O>> {
    let ledger = Ledger::new(store, options(seed));
    Arc::new(Aggregate::new(ledger, Quarantine::new(objects, 0), settings))
}

/// Quick retries and fixed randomness.
pub fn options(seed: u64) -> Options {
    let retry =
        Retry { max_attempts: 4, initial: Duration::from_millis(1), factor: 2.0, cap: Duration::from_millis(4) };
    Options { retry, seed: Some(seed), ..Options::default() }
}

/// Handles an invocation that must succeed.
pub async fn handle<S: Store, O: ObjectStore>(function: &Aggregate<S, O>, payload: Bytes) -> Report {
    let (report, outcome) = function.handle(payload, call()).await;
    outcome.unwrap_or_else(|error| panic!("{}", tidemark_runtime::telemetry::chain(&error)));
    report
}

/// Handles an invocation that must fail.
pub async fn fail<S: Store, O: ObjectStore>(function: &Aggregate<S, O>, payload: Bytes) -> AggregateError {
    function.handle(payload, call()).await.1.unwrap_err()
}

/// All views as one JSON value; numbers as text, so that nothing passes through a float.
pub fn documents(tables: &Tables) -> Value {
    VIEWS.iter().map(|view| (view.name.to_owned(), exact((view.document)(tables).unwrap().get()))).collect()
}

/// A JSON document with its numbers as text, so that nothing passes through a float.
pub fn exact(document: &str) -> Value {
    serde_json::from_str(&quoted_numbers(document)).unwrap()
}

/// The views of the products alone, as [`documents`] gives them.
pub fn catalogue(tables: &Tables) -> Value {
    views(tables, &["sellers", "categories", "lowStock"])
}

/// The views of orders and their items.
pub const SALES: [&str; 5] = ["dailySales", "productSales", "customers", "orderStatus", "summary"];

/// Some of the views, as [`documents`] gives them.
pub fn views(tables: &Tables, names: &[&str]) -> Value {
    let all = documents(tables);
    names.iter().map(|name| ((*name).to_owned(), all[*name].clone())).collect()
}

/// Views without what the oracle does not tell of metrics, if those are among them.
pub fn without_quantiles(mut views: Value) -> Value {
    for metric in views.get_mut("metrics").and_then(Value::as_array_mut).into_iter().flatten() {
        for quantile in ["p50", "p95", "p99"] {
            metric.as_object_mut().unwrap().remove(quantile).unwrap();
        }
    }
    views
}

/// A JSON text with every number in quotes.
fn quoted_numbers(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len() * 2);
    let (mut in_string, mut escaped, mut number) = (false, false, String::new());
    for c in raw.chars() {
        // A letter alone begins no number: `true` has one, too.
        let goes_on = !number.is_empty() && matches!(c, '+' | '.' | 'e' | 'E');
        if !in_string && (c.is_ascii_digit() || c == '-' || goes_on) {
            number.push(c);
            continue;
        }
        if !number.is_empty() {
            // Equal numbers are equal texts, however many digits their documents show.
            let n: Decimal = std::mem::take(&mut number).parse().unwrap();
            text.push_str(&format!("\"{n}\""));
        }
        text.push(c);
        if in_string && !escaped && c == '\\' {
            escaped = true;
            continue;
        }
        if c == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = false;
    }
    text
}

/// Tells people, past the test harness's capture: what the macros print of a test that passes is not shown.
pub fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A program of a virtual environment that CONTRIBUTING.md says how to make, or of the `PATH`. Without it a test is
/// skipped, and says so; CI has to have it.
pub fn program(environment: &str, name: &str) -> Option<PathBuf> {
    let here = root().join(environment).join("bin").join(name);
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let found = std::iter::once(here).chain(on_path.map(|folder| folder.join(name))).find(|program| program.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI installs {name}");
        say(&format!("skipped: {name} is not installed (see CONTRIBUTING.md)"));
    }
    found
}

pub fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A fixture's lines.
pub fn fixture_lines(name: &str) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(fixture_path(name)).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// An invocation of one partition with these values; offsets from `first`, a ms apart.
pub fn invocation(topic: &str, partition: i32, first: i64, values: &[impl AsRef<[u8]>]) -> Bytes {
    let mut records = records(topic, first, values);
    records.iter_mut().for_each(|record| record["partition"] = partition.into());
    envelope(&json!({format!("{topic}-{partition}"): records}))
}

/// The records of partition 0 with these values.
pub fn records(topic: &str, first: i64, values: &[impl AsRef<[u8]>]) -> Vec<Value> {
    values
        .iter()
        .zip(first..)
        .map(|(value, offset)| {
            json!({
                "topic": topic, "partition": 0, "offset": offset,
                "timestamp": 1_735_689_600_000_i64 + offset, "timestampType": "CREATE_TIME",
                "value": base64(value.as_ref()),
            })
        })
        .collect()
}

/// An invocation with any records.
pub fn envelope(records: &Value) -> Bytes {
    json!({"eventSource": "aws:kafka", "eventSourceArn": "arn:test", "records": records}).to_string().into()
}

pub fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// A product event in the documented form.
pub fn product(
    id: i64,
    kind: &str,
    timestamp: i64,
    seller: &str,
    category: &str,
    price: &str,
    quantity: i64,
) -> String {
    let data = match kind {
        "Deleted" => json!({"productId": id, "sellerId": seller, "name": "n", "category": category, "deletedAt": "x"}),
        _ => json!({
            "productId": id, "sellerId": seller, "name": "n", "description": null, "price": 0,
            "quantity": quantity, "category": category, "createdAt": "x", "updatedAt": "x",
        }),
    };
    json!({"eventId": format!("{id}-{timestamp}"), "eventType": format!("Product{kind}"), "timestamp": timestamp, "data": data})
        .to_string()
        .replace("\"price\":0", &format!("\"price\":{price}"))
}
