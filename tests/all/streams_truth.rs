//! The truth files of orders and activity, reproduced exactly in every form, however the records are
//! delivered.

use std::collections::BTreeMap;

use clap::Parser;
use serde_json::{Map, Value, json};
use tidemark_local::cli::Options;
use tidemark_local::delivery::{Delivery, chaotic, orderly};
use tidemark_local::feed::{self, Log};
use tidemark_local::play::play;
use tidemark_local::stack::Stack;
use tidemark_model::stream::STREAMS;
use tidemark_model::views::Tables;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, documents, fixture_lines, fixture_path};

const ORDERS: [&str; 3] = ["cdc_deployed.ndjson.gz", "cdc_flatstr.ndjson.gz", "cdc_envelope.ndjson.gz"];

pub(crate) fn logs(stream: &str, values: &[Vec<u8>]) -> Vec<Log> {
    let stream = STREAMS.iter().find(|known| known.name == stream).unwrap();
    feed::logs_of(stream, values.iter().map(Vec::as_slice), 4)
}

/// A truth file.
pub(crate) fn truth(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture_path(name)).unwrap()).unwrap()
}

/// A decimal in units as whole cents.
pub(crate) fn cents(n: &Value) -> i64 {
    let n: rust_decimal::Decimal = n.as_str().unwrap().parse().unwrap();
    (n * rust_decimal::Decimal::ONE_HUNDRED).normalize().to_string().parse().unwrap()
}

fn whole(n: &Value) -> i64 {
    n.as_str().unwrap().parse().unwrap()
}

/// A field, and how the truth writes its number.
type Figure = (&'static str, fn(&Value) -> i64);
/// A stream, a file of it, and what its views must read.
type Played = (&'static str, &'static str, fn(&Tables, &str));

/// A list as an object: by a field, other fields by what they are called in the truth.
fn by(list: &Value, id: &str, fields: &[Figure]) -> Value {
    let row = |row: &Value| {
        let fields = fields.iter().map(|(name, read)| ((*name).to_owned(), read(&row[*name]).into()));
        (row[id].as_str().unwrap().to_owned(), Value::Object(fields.collect()))
    };
    Value::Object(list.as_array().unwrap().iter().map(row).collect::<Map<_, _>>())
}

/// An object with its members in order, and so its members' members.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name, sorted(value))).collect();
            serde_json::to_value(members).unwrap()
        }
        other => other.clone(),
    }
}

pub(crate) fn check_orders(tables: &Tables, what: &str) {
    let (views, truth, totals) = (documents(tables), truth("cdc_views_truth.json"), truth("cdc_truth.json"));
    for (view, id, fields, expected) in [
        ("dailySales", "date", [("order_count", whole as fn(&Value) -> i64), ("total_amount", cents)], "daily_sales"),
        ("customers", "customer_id", [("order_count", whole), ("total_spent", cents)], "customers"),
        ("productSales", "product_id", [("quantity_sold", whole), ("total_revenue", cents)], "products"),
    ] {
        assert_eq!(sorted(&by(&views[view], id, &fields)), sorted(&truth[expected]), "{what}: {view}");
    }
    let status: Map<String, Value> =
        views["orderStatus"].as_object().unwrap().iter().map(|(name, n)| (name.clone(), whole(n).into())).collect();
    assert_eq!(sorted(&Value::Object(status)), sorted(&totals["status"]), "{what}: orderStatus");
    let summary = &views["summary"];
    assert_eq!(whole(&summary["total_orders"]), totals["orders"].as_i64().unwrap(), "{what}");
    assert_eq!(summary["total_revenue"], "581748.25", "{what}");
    assert_eq!(whole(&summary["unique_customers"]), truth["customers"].as_object().unwrap().len() as i64, "{what}");
    assert_eq!(whole(&summary["unique_products_sold"]), truth["products"].as_object().unwrap().len() as i64, "{what}");
}

pub(crate) fn check_tracked(tables: &Tables, what: &str) {
    let views = documents(tables);
    let apps: Map<String, Value> = views["apps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| {
            let fields: [Figure; 2] = [("events", whole), ("activeUsers", whole)];
            let mut days = by(&app["days"], "date", &fields);
            for day in app["days"].as_array().unwrap() {
                let names = day["names"].as_object().unwrap().iter();
                let names: Map<String, Value> = names.map(|(name, n)| (name.clone(), whole(n).into())).collect();
                days[day["date"].as_str().unwrap()]["names"] = Value::Object(names);
            }
            (app["appId"].as_str().unwrap().to_owned(), days)
        })
        .collect();
    assert_eq!(sorted(&Value::Object(apps)), sorted(&truth("track_truth.json")), "{what}");
}

/// There is no truth file of user events: their types are counted here as they are written.
fn check_user_events(tables: &Tables, what: &str) {
    let mut expected: BTreeMap<(String, String), i64> = BTreeMap::new();
    for line in fixture_lines("user.ndjson.gz") {
        let event: Value = serde_json::from_slice(&line).unwrap();
        let kind = event["event_type"].as_str().unwrap().strip_prefix("user.").unwrap().replace("_performed", "");
        *expected.entry((event["service"].as_str().unwrap().to_owned(), kind)).or_default() += 1;
    }
    let total = |total: &Value| {
        let text = |name: &str| total[name].as_str().unwrap().to_owned();
        ((text("service"), text("type")), whole(&total["count"]))
    };
    let found: BTreeMap<_, _> = documents(tables)["eventTotals"].as_array().unwrap().iter().map(total).collect();
    assert_eq!(found, expected, "{what}");
}

/// Every file with its stream and its check.
fn files() -> Vec<Played> {
    let orders = ORDERS.map(|file| ("orders", file, check_orders as fn(&Tables, &str)));
    let activity: [Played; 2] =
        [("activity", "track.ndjson.gz", check_tracked), ("user-events", "user.ndjson.gz", check_user_events)];
    orders.into_iter().chain(activity).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_in_order_reads_the_truth() {
    for (stream, file, check) in files() {
        let store = MemoryStore::default();
        let logs = logs(stream, &fixture_lines(file));
        play(&aggregate(store.clone(), MemoryObjects::default(), 0), &logs, orderly(&logs, 1000, 4)).await.unwrap();
        check(&store.tables(), file);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_batch_twice_and_the_stream_once_more_read_the_truth() {
    for (stream, file, check) in files() {
        let store = MemoryStore::default();
        let logs = logs(stream, &fixture_lines(file));
        let twice = |wave: Vec<Delivery>| wave.iter().chain(&wave).cloned().collect::<Vec<_>>();
        let waves = orderly(&logs, 100, 4).into_iter().map(twice).chain(orderly(&logs, 77, 4)).collect();
        play(&aggregate(store.clone(), MemoryObjects::default(), 0), &logs, waves).await.unwrap();
        check(&store.tables(), file);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_changes_no_row() {
    for seed in 0..15 {
        let (stream, file, check) = files()[seed as usize % 5];
        let (mut values, store) = (fixture_lines(file), MemoryStore::default());
        if seed >= 10 {
            // The versions of a row stand in its records, so even the stream's own order says nothing.
            fastrand::Rng::with_seed(seed).shuffle(&mut values);
        }
        let logs = logs(stream, &values);
        let waves = chaotic(&logs, 400, 5, seed);
        play(&aggregate(store.clone(), MemoryObjects::default(), seed), &logs, waves).await.unwrap();
        check(&store.tables(), &format!("{file} seed {seed}"));
        let rows = store.tables().rows.into_iter().filter(|(_, row)| !row.is_empty());
        let rows: Vec<_> = rows.map(|(key, row)| json!([key, row])).collect();
        let sums: Vec<_> = store.recomputed().into_sorted().iter().map(|(key, row)| json!([key, row])).collect();
        assert_eq!(rows, sums, "{file} seed {seed}: every row is the sum over the states");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_dynamodb_reads_the_truth_under_chaos() {
    for (seed, (stream, file, check)) in files().into_iter().enumerate() {
        let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
        let logs = logs(stream, &fixture_lines(file));
        play(&stack.aggregate, &logs, chaotic(&logs, 700, 4, seed as u64)).await.unwrap();
        let tables = stack.aggregate.ledger.store().read_tables(feed::clock_ms(&logs)).await.unwrap();
        check(&tables, file);
    }
}
