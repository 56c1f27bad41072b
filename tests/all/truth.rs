//! The truth files, reproduced exactly, however the records are delivered.

use std::collections::BTreeMap;

use clap::Parser;
use serde_json::{Value, json};
use tidemark_local::cli::Options;
use tidemark_local::delivery::{chaotic, orderly};
use tidemark_local::feed::{self, Log};
use tidemark_local::play::play;
use tidemark_local::stack::Stack;
use tidemark_model::stream::STREAMS;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, catalogue, fixture_lines, fixture_path, oracle};

const FORMS: [&str; 2] = ["products_contract.ndjson.gz", "products_producer.ndjson.gz"];

/// The truth file's figures, in its own units.
pub(crate) fn truth() -> Value {
    let text = std::fs::read_to_string(fixture_path("products_truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&text).unwrap();
    json!({"seller": truth["seller"], "category": truth["category"], "lowStock": truth["lowStock"], "count": truth["lowStockCount"]})
}

/// The views in the truth file's units: money in cents.
pub(crate) fn figures(views: &Value) -> Value {
    let number = |value: &Value| value.as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap();
    let whole = |n: rust_decimal::Decimal| -> u64 { n.round_dp(6).normalize().to_string().parse().unwrap() };
    let cents = |value: &Value| whole(number(value) * rust_decimal::Decimal::ONE_HUNDRED);
    let list = |name: &str| views[name].as_array().unwrap().iter();
    json!({
        "seller": list("sellers").map(|s| (s["sellerId"].as_str().unwrap().to_owned(), json!({
            "totalProducts": whole(number(&s["totalProducts"])), "activeProducts": whole(number(&s["activeProducts"])),
            "deletedProducts": whole(number(&s["deletedProducts"])), "totalValue": cents(&s["totalValue"]),
        }))).collect::<BTreeMap<_, _>>(),
        "category": list("categories").map(|c| (c["category"].as_str().unwrap().to_owned(), json!({
            "totalProducts": whole(number(&c["totalProducts"])), "totalValue": cents(&c["totalValue"]),
            // The mean is rounded to twelve digits, so the sum of prices comes back.
            "priceSum": whole(number(&c["averagePrice"]) * number(&c["totalProducts"]) * rust_decimal::Decimal::ONE_HUNDRED),
        }))).collect::<BTreeMap<_, _>>(),
        "lowStock": views["lowStock"]["products"].as_array().unwrap().iter()
            .map(|p| (p["productId"].as_str().unwrap().to_owned(), whole(number(&p["quantity"])))).collect::<BTreeMap<_, _>>(),
        "count": whole(number(&views["lowStock"]["count"])),
    })
}

/// Both sides with their keys in order.
pub(crate) fn check(found: &Value, expected: &Value, what: &str) {
    for part in ["seller", "category", "lowStock", "count"] {
        let sorted = |v: &Value| match v {
            Value::Object(o) => serde_json::to_value(o.iter().collect::<BTreeMap<_, _>>()).unwrap(),
            other => other.clone(),
        };
        assert_eq!(sorted(&found[part]), sorted(&expected[part]), "{what}: {part}");
    }
}

pub(crate) fn logs(values: &[Vec<u8>], partitions: i32) -> Vec<Log> {
    feed::logs_of(&STREAMS[0], values.iter().map(Vec::as_slice), partitions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_forms_in_order_read_the_truth() {
    for form in FORMS {
        let (values, store) = (fixture_lines(form), MemoryStore::default());
        let logs = logs(&values, 4);
        play(&aggregate(store.clone(), MemoryObjects::default(), 0), &logs, orderly(&logs, 1000, 4)).await.unwrap();
        check(&figures(&catalogue(&store.tables())), &truth(), form);
        assert_eq!(catalogue(&store.tables()), oracle::products(values.iter().map(Vec::as_slice)), "{form}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_batch_twice_and_the_stream_once_more_read_the_truth() {
    for form in FORMS {
        let (values, store) = (fixture_lines(form), MemoryStore::default());
        let logs = logs(&values, 4);
        // Each batch beside itself, then all of them again with other boundaries.
        let twice = |wave: Vec<_>| wave.iter().chain(&wave).cloned().collect::<Vec<_>>();
        let waves = orderly(&logs, 100, 4).into_iter().map(twice).chain(orderly(&logs, 77, 4)).collect();
        let played = play(&aggregate(store.clone(), MemoryObjects::default(), 0), &logs, waves).await.unwrap();
        assert_eq!(played.delivered, 3 * values.len());
        check(&figures(&catalogue(&store.tables())), &truth(), form);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_changes_no_row() {
    for seed in 0..24 {
        let form = FORMS[seed as usize % 2];
        let (mut values, store) = (fixture_lines(form), MemoryStore::default());
        let mut rng = fastrand::Rng::with_seed(seed);
        if seed % 3 == 0 {
            // Not even a producer's order within a partition.
            rng.shuffle(&mut values);
        }
        let logs = logs(&values, rng.i32(1..9));
        let waves = chaotic(&logs, rng.usize(1..2000), rng.usize(1..9), seed);
        let played = play(&aggregate(store.clone(), MemoryObjects::default(), seed), &logs, waves).await.unwrap();
        assert!(played.delivered >= 2 * values.len(), "the whole stream comes at least twice");
        check(&figures(&catalogue(&store.tables())), &truth(), &format!("seed {seed}"));
        let rows: tidemark_model::Rows = store.tables().rows.into_iter().collect();
        assert_eq!(
            rows.into_sorted(),
            store.recomputed().into_sorted(),
            "seed {seed}: rows are the sums of the states"
        );
        assert!(store.items().cursors.values().all(|cursor| !cursor.pending), "seed {seed}: nothing is left pending");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_dynamodb_reads_the_same() {
    for (seed, form) in [(None, FORMS[0]), (Some(1), FORMS[0]), (Some(2), FORMS[1])] {
        let options = Options::parse_from(["tidemark", "--partitions", "3"]);
        let stack = Stack::start(&Options { chaos: seed, ..options.clone() }).await.unwrap();
        let logs = logs(&fixture_lines(form), 3);
        let waves = match seed {
            Some(seed) => chaotic(&logs, 700, 4, seed),
            None => orderly(&logs, 700, 4),
        };
        play(&stack.aggregate, &logs, waves).await.unwrap();
        let tables = stack.aggregate.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap();
        check(&figures(&catalogue(&tables)), &truth(), &format!("{form} {seed:?}"));
    }
}
