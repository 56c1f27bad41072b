//! The API function, asked over HTTP, on the embedded DynamoDB.

mod apps;
mod auth;
mod contract;
mod dashboard;
mod exports;
mod health;
mod history;
mod ingestion;
mod jwt;
mod keys;
mod limits;
mod metrics;
mod monitoring;
mod openapi;
mod prometheus;
mod regressions;
mod sellers;
mod shop;
mod tenancy;
mod timeline;

use clap::Parser;
use serde_json::Value;
use tidemark_local::cli::Options;
use tidemark_local::stack::Stack;
use tidemark_local::{delivery, feed, play};
use tidemark_model::views::Tables;
use tidemark_tests::api::Served;

/// The function on what the local run plays, at its time; and what its tables hold.
async fn played() -> (Served, Tables) {
    let options = Options::parse_from(["tidemark"]);
    let logs = feed::logs(&options.input, options.partitions).unwrap();
    let stack = Stack::start(&options).await.unwrap();
    play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
    let now_ms = feed::clock_ms(&logs);
    let tables = stack.aggregate.ledger.store().read_tables(now_ms).await.unwrap();
    (Served::at(stack, now_ms).await, tables)
}

/// All pages of a list, and the first of them.
async fn pages(served: &Served, path: &str) -> (Vec<Value>, Value) {
    let first = served.get(path).await.exact();
    let (mut items, mut page) = (Vec::new(), first.clone());
    loop {
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return (items, first) };
        page = served.get(&format!("{path}&cursor={next}")).await.exact();
    }
}

/// A text as a part of a path or a query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
