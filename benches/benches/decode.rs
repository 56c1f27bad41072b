//! Decode and fold of a full invocation, beside the floor and beside a plain version.
//!
//! CPU time of the whole process, on one rayon thread: `RAYON_NUM_THREADS=2` shows what two cost.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use aws_lambda_events::kafka::KafkaEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use cpu_time::ProcessTime;
use criterion::Criterion;
use serde::Deserialize;
use tidemark_benches::{Cpu, RECORDS, invocation, median_ns, records, values};
use tidemark_model::fold::{add_effect, fold};
use tidemark_model::{Batch, Key, Known, Map, Rows, Settings, decode};

/// The whole of what the function computes for a batch: bytes to transitions and row deltas.
fn tidemark(payload: &[u8], known: &Map<Key, Known>) -> usize {
    let batches = decode(payload, &Settings::default()).unwrap();
    let mut rows = Rows::default();
    let mut transitions = 0;
    for batch in &batches {
        for transition in &fold(&batch.changes, known).transitions {
            add_effect(transition, &mut rows);
            transitions += 1;
        }
    }
    transitions + rows.into_sorted().len()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<S> {
    event_type: S,
    timestamp: i64,
    data: Data<S>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<S> {
    product_id: i64,
    seller_id: S,
    name: S,
    price: f64,
    quantity: i64,
    category: S,
}

/// The least that anybody must do: base64 and a typed, borrowed parse.
fn floor(values: &[String]) -> usize {
    let mut value = Vec::new();
    let mut parsed = 0;
    for base64 in values {
        value.clear();
        base64_simd::STANDARD.decode_append(base64, &mut value).unwrap();
        let event: Event<&str> = sonic_rs::from_slice(&value).unwrap();
        black_box((event.event_type, event.timestamp, event.data.product_id, event.data.seller_id));
        black_box((event.data.name, event.data.price, event.data.quantity, event.data.category));
        parsed += 1;
    }
    parsed
}

/// What one would write first: the published event type, parsed as lambda_runtime parses it, owned
/// structs, floats, standard maps. It keeps no versions and no decimals.
fn plain(payload: &[u8]) -> usize {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let event: KafkaEvent = serde_path_to_error::deserialize(&mut json).unwrap();
    let mut newest: HashMap<i64, Event<String>> = HashMap::new();
    for record in event.records.into_values().flatten() {
        let value = BASE64.decode(record.value.unwrap()).unwrap();
        let event: Event<String> = serde_json::from_slice(&value).unwrap();
        let known = newest.get(&event.data.product_id).map(|known| known.timestamp);
        if known.is_none_or(|known| known < event.timestamp) {
            newest.insert(event.data.product_id, event);
        }
    }
    let mut sellers: HashMap<String, (u64, f64)> = HashMap::new();
    let mut categories: HashMap<String, (u64, f64, f64)> = HashMap::new();
    for Event { data, event_type, .. } in newest.into_values() {
        black_box((&event_type, &data.name));
        let value = data.price * data.quantity as f64;
        let seller = sellers.entry(data.seller_id).or_default();
        *seller = (seller.0 + 1, seller.1 + value);
        let category = categories.entry(data.category).or_default();
        *category = (category.0 + 1, category.1 + value, category.2 + data.price);
    }
    sellers.len() + categories.len()
}

/// All products known in an older version, as in a running deployment.
fn known() -> Map<Key, Known> {
    let batches: Vec<Batch> = decode(&invocation(&values(0)), &Settings::default()).unwrap();
    let transitions = fold(&batches.first().unwrap().changes, &Map::default()).transitions;
    let known = |t: tidemark_model::Transition| (t.key, Known { counter: 1, version: t.version, state: t.after });
    transitions.into_iter().map(known).collect()
}

fn main() {
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let values = values(1_735_689_600_000);
    let base64: Vec<String> = values.iter().map(|value| base64_simd::STANDARD.encode_to_string(value)).collect();
    let (payload, known): (Bytes, _) = (invocation(&values), known());
    println!("{RECORDS} records, {:.2} MB, {threads} thread(s)", payload.len() as f64 / 1e6);

    let mut criterion = Criterion::default()
        .with_measurement(Cpu::<ProcessTime>::default())
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(50)
        .configure_from_args();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(records());
    group.bench_function("floor", |b| b.iter(|| floor(black_box(&base64))));
    group.bench_function("tidemark", |b| b.iter(|| tidemark(black_box(&payload), &known)));
    group.bench_function("plain", |b| b.iter(|| plain(black_box(&payload))));
    group.finish();
    criterion.final_summary();

    let medians = ["floor", "tidemark", "plain"].map(|name| (name, median_ns("decode", name)));
    let ours = median_ns("decode", "tidemark");
    println!("\n| version | CPU ms per invocation | events per CPU second | times tidemark |\n|---|---|---|---|");
    for (name, ns) in medians {
        println!("| {name} | {:.1} | {:.0} | {:.2} |", ns / 1e6, RECORDS as f64 / ns * 1e9, ours / ns);
    }
}
