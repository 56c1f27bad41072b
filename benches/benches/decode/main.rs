//! Decode and fold of a full invocation, beside the floor and beside a plain version.
//!
//! CPU time of the whole process, on one rayon thread: `RAYON_NUM_THREADS=2` shows what two cost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod plain;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::Duration;

use cpu_time::ProcessTime;
use criterion::Criterion;
use serde::Deserialize;
use tidemark_benches::{Cpu, RECORDS, invocation, records, values};
use tidemark_model::fold::{effects, fold};
use tidemark_model::{Batch, Key, Known, Map, Measures, Settings, decode};

/// The whole of what the function computes for a batch: bytes to transitions and row deltas.
fn tidemark(payload: &[u8], known: &Map<Key, Known>) -> (usize, Vec<(Key, Measures)>) {
    let batches = decode(payload, &Settings::default()).unwrap();
    let transitions = fold(&batches.first().unwrap().changes, known).transitions;
    (transitions.len(), effects(&transitions).into_sorted())
}

/// Both versions must agree on every row, or comparing them means nothing.
fn check_agreement(payload: &[u8], known: &Map<Key, Known>, plainly_known: &HashMap<i64, plain::Product>) {
    let (transitions, rows) = tidemark(payload, known);
    let (plain_transitions, plain_rows) = plain::plain(payload, plainly_known);
    let ours = rows.iter().flat_map(|(key, measures)| measures.iter().map(move |(name, n)| (key, name, n)));
    let ours: BTreeMap<String, String> =
        ours.map(|(key, name, n)| (format!("{} {name}", key.pk), n.to_string())).collect();
    let theirs = plain_rows.into_iter().filter(|(_, n)| !n.is_zero());
    let theirs: BTreeMap<String, String> =
        theirs.map(|((row, name), n)| (format!("{row} {name}"), n.normalize().to_string())).collect();
    assert_eq!((transitions, ours), (plain_transitions, theirs));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    event_type: &'a str,
    timestamp: i64,
    data: Data<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    product_id: i64,
    seller_id: &'a str,
    name: &'a str,
    price: f64,
    quantity: i64,
    category: &'a str,
}

/// The least that anybody must do: base64 and a typed, borrowed parse.
fn floor(values: &[String]) -> usize {
    let mut value = Vec::new();
    let mut parsed = 0;
    for base64 in values {
        value.clear();
        base64_simd::STANDARD.decode_append(base64, &mut value).unwrap();
        let event: Event<'_> = sonic_rs::from_slice(&value).unwrap();
        black_box((event.event_type, event.timestamp, event.data.product_id, event.data.seller_id));
        black_box((event.data.name, event.data.price, event.data.quantity, event.data.category));
        parsed += 1;
    }
    parsed
}

/// All products known in an older version, as in a running deployment.
fn known() -> Map<Key, Known> {
    let batches: Vec<Batch> = decode(&invocation(&values(0)), &Settings::default()).unwrap();
    let transitions = fold(&batches.first().unwrap().changes, &Map::default()).transitions;
    let known = |t: tidemark_model::Transition| (t.key, Known { counter: 1, version: t.version, state: t.after });
    transitions.into_iter().map(known).collect()
}

/// CPU of the second of two runs, so that no version pays for the heap that another left.
fn cpu_ms<T>(work: impl Fn() -> T) -> f64 {
    black_box(work());
    let started = ProcessTime::now();
    black_box(work());
    started.elapsed().as_secs_f64() * 1e3
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Turns of each version for the ratios.
const TURNS: usize = 60;

fn main() {
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let values = values(1_735_689_600_000);
    let base64: Vec<String> = values.iter().map(|value| base64_simd::STANDARD.encode_to_string(value)).collect();
    let (payload, known) = (invocation(&values), known());
    let plainly_known = plain::known(&invocation(&tidemark_benches::values(0)));
    check_agreement(&payload, &known, &plainly_known);
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
    group.bench_function("plain", |b| b.iter(|| plain::plain(black_box(&payload), &plainly_known)));
    group.finish();
    criterion.final_summary();

    // Machines drift between groups: for the ratios the versions take turns.
    let mut turns: [Vec<f64>; 3] = Default::default();
    for _ in 0..TURNS {
        let [a, b, c] = &mut turns;
        a.push(cpu_ms(|| floor(black_box(&base64))));
        b.push(cpu_ms(|| tidemark(black_box(&payload), &known)));
        c.push(cpu_ms(|| plain::plain(black_box(&payload), &plainly_known)));
    }
    let [floor, ours, plain] = turns;
    println!(
        "\n| version | CPU ms per invocation | events per CPU second | CPU beside tidemark's |\n|---|---|---|---|"
    );
    for (name, turns) in [("floor", &floor), ("tidemark", &ours), ("plain", &plain)] {
        let (ms, ratio) = (median(turns.clone()), median(turns.iter().zip(&ours).map(|(a, b)| a / b).collect()));
        println!("| {name} | {ms:.1} | {:.0} | {ratio:.2} |", RECORDS as f64 / ms * 1e3);
    }
    streams::report();
}
