//! Writing entities: single conditional UpdateItem calls beside batches of 25 conditional PartiQL
//! statements, in CPU of the client per item. The store runs on other threads of this process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use clap::Parser;
use cpu_time::ThreadTime;
use criterion::{Criterion, Throughput};
use futures_util::{StreamExt, stream};
use tidemark_benches::{Cpu, invocation, median_ns, values};
use tidemark_ledger::{LaneId, Store, Written};
use tidemark_local::cli::Options;
use tidemark_local::stack::{STATE_TABLE, Stack};
use tidemark_model::{Map, Settings, Transition, decode, fold};

const ITEMS: usize = 500;
const IN_FLIGHT: usize = 32;

async fn batches(store: &impl Store, lane: &LaneId, transitions: &[Transition]) -> f64 {
    let chunks: Vec<Vec<&Transition>> = transitions.chunks(25).map(|chunk| chunk.iter().collect()).collect();
    stream::iter(&chunks)
        .map(|chunk| store.write_entities(lane, 1, chunk))
        .buffer_unordered(IN_FLIGHT)
        .fold(0.0, |units, answer| async move {
            let answer = answer.unwrap();
            assert!(answer.value.iter().all(|written| *written == Written::Applied));
            units + answer.units.write
        })
        .await
}

async fn singles(client: &Client, mark: &str, transitions: &[Transition]) -> f64 {
    stream::iter(transitions)
        .map(|transition| async move {
            let number = |n: u64| AttributeValue::N(n.to_string());
            let answer = client
                .update_item()
                .table_name(STATE_TABLE)
                .key("PK", AttributeValue::S(transition.key.pk.to_string()))
                .key("SK", AttributeValue::S(transition.key.sk.to_string()))
                .update_expression("SET #n = :n, #v = :v, #s = :s, #m = :m")
                .condition_expression("#n = :old")
                .expression_attribute_names("#n", "n")
                .expression_attribute_names("#v", "v")
                .expression_attribute_names("#s", "s")
                .expression_attribute_names("#m", mark)
                .expression_attribute_values(":n", number(transition.counter + 1))
                .expression_attribute_values(":old", number(transition.counter))
                .expression_attribute_values(":v", AttributeValue::S(transition.version.to_string()))
                .expression_attribute_values(":s", AttributeValue::S(serde_json::to_string(&transition.after).unwrap()))
                .expression_attribute_values(":m", number(1))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .unwrap();
            answer.consumed_capacity().and_then(|consumed| consumed.capacity_units()).unwrap()
        })
        .buffer_unordered(IN_FLIGHT)
        .fold(0.0, |units, consumed| async move { units + consumed })
        .await
}

fn main() {
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stack = server.block_on(Stack::start(&Options::parse_from(["tidemark"]))).unwrap();
    // On this thread, so that its CPU time is the client's.
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = stack.aggregate.ledger.store();
    let lane = LaneId::stored("bench");
    // Half well stocked, so that no index is written.
    let decoded =
        decode(&invocation(&values(1_735_689_600_000)), &Settings { low_stock_threshold: 0, ..Settings::default() });
    let mut transitions = fold(&decoded.unwrap().first().unwrap().changes, &Map::default()).transitions;
    transitions.truncate(ITEMS);
    client.block_on(batches(store, &lane, &transitions));
    let step = |transitions: &mut [Transition]| {
        for transition in transitions {
            transition.counter += 1;
            transition.before = Some(transition.after.clone());
        }
    };

    let mut criterion = Criterion::default()
        .with_measurement(Cpu::<ThreadTime>::default())
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(8))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("requests");
    group.throughput(Throughput::Elements(ITEMS as u64));
    let mut units = [0.0; 2];
    let mark = lane.mark();
    group.bench_function("single UpdateItem", |b| {
        b.iter(|| {
            step(&mut transitions);
            units[0] = client.block_on(singles(&stack.clients.dynamodb, &mark, &transitions));
        });
    });
    group.bench_function("PartiQL batches of 25", |b| {
        b.iter(|| {
            step(&mut transitions);
            units[1] = client.block_on(batches(store, &lane, &transitions));
        });
    });
    group.finish();
    criterion.final_summary();

    println!("\n| write of an entity | client CPU us per item | write units per item |\n|---|---|---|");
    for (name, units) in ["single UpdateItem", "PartiQL batches of 25"].into_iter().zip(units) {
        let us = median_ns("requests", name) / 1e3 / ITEMS as f64;
        println!("| {name} | {us:.0} | {:.2} |", units / ITEMS as f64);
    }
}
