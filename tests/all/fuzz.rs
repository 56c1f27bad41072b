//! A fuzz target over the decoder of every stream, on stable: sample values, mangled.
//!
//! It runs for `FUZZ_SECONDS` (2 without it) from the seed `FUZZ_SEED` (random without it; printed).
//! No coverage guides it: the corpus is every form there is, and the mangling knows JSON.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tidemark_model::fold::{effects, fold};
use tidemark_model::metric::Admission;
use tidemark_model::{Batch, Map, Settings, State, decode};
use tidemark_tests::{NOW_MS, base64, envelope, fixture_lines, root};

/// What breaks parsers: odd numbers, ends of ranges, names that mean something, odd characters.
const TOKENS: &[&str] = &[
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "0",
    "-0",
    "-1",
    "1e400",
    "1E-400",
    "0.1e1",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999999999999999999",
    "1735689600000",
    "1735689600000000000",
    "253402300800000",
    "\"1e9\"",
    "\"NaN\"",
    "\"gA==\"",
    "\"/////////////////////w==\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"#%23\"",
    "\"😀\"",
    "\"__debezium_unavailable_value\"",
    "\"2025-02-30T25:00:00Z\"",
    "\"0001-01-01T00:00:00Z\"",
    "\"9999-12-31T23:59:59.999999999-23:59\"",
    "{\"scale\":400,\"value\":\"AQ==\"}",
    "\"d\"",
    "\"t\"",
    "[[[[[[1]]]]]]",
    // As long as a text may be, and all of it to be escaped.
    RESERVED_LONG,
    RESERVED_SHORT,
];

const RESERVED_LONG: &str = concat!(
    "\"",
    "################################################################\
################################################################\
################################################################\
################################################################\
################################################################",
    "\""
);
const RESERVED_SHORT: &str = concat!(
    "\"",
    "################################################################\
################################",
    "\""
);

/// Values by topic: the first lines of every fixture, and every sample invocation's.
fn corpus() -> Vec<(String, Vec<u8>, Value)> {
    let mut corpus = Vec::new();
    for (topic, file) in [
        ("product.created", "products_contract.ndjson.gz"),
        ("product.updated", "products_producer.ndjson.gz"),
        ("dbserver1.public.orders", "cdc_deployed.ndjson.gz"),
        ("dbserver1.public.orders", "cdc_flatstr.ndjson.gz"),
        ("dbserver1.public.order_items", "cdc_envelope.ndjson.gz"),
        ("analytics.events", "track.ndjson.gz"),
        ("user-events", "user.ndjson.gz"),
    ] {
        let lines = fixture_lines(file).into_iter().take(40);
        corpus.extend(lines.map(|line| (topic.to_owned(), line, Value::Null)));
    }
    for file in std::fs::read_dir(root().join("events")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let invocation: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        // Not every invocation carries records.
        let Some(records) = invocation["records"].as_object() else { continue };
        for record in records.values().flat_map(|list| list.as_array().unwrap()) {
            let value = base64_simd::forgiving_decode_to_vec(record["value"].as_str().unwrap_or_default().as_bytes());
            let topic = record["topic"].as_str().unwrap().to_owned();
            corpus.push((topic, value.unwrap_or_default(), record["headers"].clone()));
        }
    }
    corpus
}

fn mangled(rng: &mut Rng, value: &[u8], other: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    for _ in 0..rng.usize(..4) {
        if value.is_empty() {
            break;
        }
        let at = rng.usize(..value.len());
        match rng.u8(..8) {
            0 => value[at] ^= 1 << rng.u8(..8),
            1 => value.truncate(at),
            2 => drop(value.drain(at..(at + rng.usize(..20)).min(value.len()))),
            3 => {
                let from = rng.usize(..=other.len());
                value.splice(at..at, other[from..(from + 30).min(other.len())].iter().copied());
            }
            // A member's value becomes something else, most often what its reader does not expect.
            _ => {
                let colons: Vec<usize> =
                    value.iter().enumerate().filter(|(_, b)| **b == b':').map(|(at, _)| at).collect();
                let Some(colon) = rng.choice(colons) else { continue };
                let end =
                    value[colon..].iter().position(|b| matches!(b, b',' | b'}')).map_or(value.len(), |n| colon + n);
                let token = rng.choice(TOKENS).unwrap();
                value.splice(colon + 1..end, token.bytes());
            }
        }
    }
    value
}

fn check(batch: &Batch, records: usize) {
    let ended = batch.counted + batch.empty + batch.late + batch.rejects.len();
    assert_eq!(ended, records, "every record ends as an event, a no-op, late or a reject");
    let known = Map::default();
    let folded = fold(&batch.changes, &known);
    let rows = Admission::new(&known, 3).rows(&batch.points);
    let keys = folded.transitions.iter().map(|transition| transition.key.clone());
    let mut all = effects(&folded.transitions);
    all.merge(rows);
    for key in keys.chain(all.into_sorted().into_iter().map(|(key, _)| key)) {
        // DynamoDB's limits.
        assert!((1..=2048).contains(&key.pk.len()) && (1..=1024).contains(&key.sk.len()), "{key:?}");
    }
    for transition in &folded.transitions {
        let stored = serde_json::to_string(&transition.after).unwrap();
        assert_eq!(
            serde_json::from_str::<State>(&stored).unwrap(),
            transition.after,
            "a state is read as it was stored"
        );
    }
}

#[test]
fn no_value_of_any_stream_breaks_the_decoder() {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let seed = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(2));
    println!("FUZZ_SEED={seed}");
    let (mut rng, corpus, mut decoded) = (Rng::with_seed(seed), corpus(), 0_u64);
    let settings = Settings { now_ms: NOW_MS, ..Settings::default() };
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    while Instant::now() < until {
        let (topic, _, headers) = rng.choice(&corpus).unwrap();
        let records: Vec<Value> = (0..64)
            .map(|offset| {
                let (_, value, _) =
                    rng.choice(corpus.iter().filter(|(known, ..)| known == topic).collect::<Vec<_>>()).unwrap();
                let (_, other, _) = rng.choice(&corpus).unwrap();
                let value = mangled(&mut rng, value, other);
                let value = (rng.u8(..50) > 0).then(|| base64(&value));
                json!({"topic": topic, "partition": 0, "offset": offset, "timestamp": NOW_MS, "value": value,
                    "headers": headers})
            })
            .collect();
        let count = records.len();
        let batches = decode(&envelope(&json!({format!("{topic}-0"): records})), &settings).unwrap();
        check(&batches[0], count);
        decoded += count as u64;
        for (end, n) in [
            ("counted", batches[0].counted),
            ("empty", batches[0].empty),
            ("late", batches[0].late),
            ("rejected", batches[0].rejects.len()),
        ] {
            *ends.entry(end).or_default() += n;
        }
    }
    println!("{decoded} records: {ends:?}");
    assert!(ends.values().all(|n| *n > 0), "a fuzz target that never gets anywhere tests nothing: {ends:?}");
}
