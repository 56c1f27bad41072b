//! Metrics over HTTP: what they say, to whom, and that counters never fall.

use std::collections::BTreeMap;

use http::{Request, StatusCode};
use tidemark_ledger::Store;
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_model::{Decimal, Key, Measures};
use tidemark_tests::api::Served;
use tidemark_tests::{documents, handle, invocation, product};

use crate::audit::everything;

/// The samples of a text: name and labels, and the value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

async fn scraped(served: &Served) -> BTreeMap<String, f64> {
    let answered = served.get("/metrics").await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
    assert_eq!(answered.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(answered.headers["cache-control"], "no-store");
    samples(&answered.body)
}

#[tokio::test]
async fn metrics_say_what_the_tables_say() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let found = scraped(&served).await;

    let store = served.api.ledger.store();
    let totals = documents(&store.read_tables(tidemark_tests::NOW_MS).await.unwrap())["eventTotals"].clone();
    let mut stored = 0.0;
    for total in totals.as_array().unwrap() {
        let (kind, service) = (total["type"].as_str().unwrap(), total["service"].as_str().unwrap());
        let count: f64 = total["count"].as_str().unwrap().parse().unwrap();
        assert_eq!(found[&format!("events_processed_total{{type=\"{kind}\",service=\"{service}\"}}")], count);
        stored += count;
    }
    assert_eq!((found["events_stored_total"], found["events_hidden_series"]), (stored, 0.0));
    assert!(stored > 0.0);
    let errors =
        |reason: &str| found[&format!("processing_errors_total{{type=\"product.created\",reason=\"{reason}\"}}")];
    assert_eq!(["no_stream", "unreadable", "refused"].map(errors), [0.0, 1.0, 0.0]);
    assert_eq!(found.keys().filter(|name| name.starts_with("processing_errors_total")).count(), 3);

    let products = "{source=\"arn:test\",topic=\"product.created\",partition=\"0\"}";
    assert_eq!(found[&format!("kafka_consumer_offset{products}")], 20.0);
    assert_eq!(found[&format!("kafka_consumer_newest_record_timestamp_seconds{products}")], 1_735_689_600.02);
    assert_eq!(found[&format!("kafka_consumer_last_commit_timestamp_seconds{products}")], 1_735_776_000.0);
    assert_eq!(found[&format!("kafka_consumer_lag{products}")], 86_399.98);

    let lanes = store.lane_stats().await.unwrap().value;
    let (_, stats) = lanes.iter().find(|(cursor, _)| cursor.name.contains("product.created")).unwrap();
    let of = |name: &str| found[&format!("{name}{{topic=\"product.created\"}}")];
    assert_eq!(of("commit_plans_total"), stats.plans as f64);
    assert_eq!(of("commit_conflicts_total"), 0.0);
    assert_eq!(of("commit_pending_plans"), 0.0);
    assert_eq!(of("consumed_write_units_total"), stats.write_units.to_f64());
    assert_eq!(of("consumed_read_units_total"), stats.read_units.to_f64());
    assert_eq!(of("event_processing_duration_seconds_count"), stats.plans as f64);
    assert_eq!(of("event_processing_duration_seconds_sum"), stats.seconds.to_f64());
    assert!(of("consumed_write_units_total") > 0.0);
    let bucket =
        |le: &str| found[&format!("event_processing_duration_seconds_bucket{{topic=\"product.created\",le=\"{le}\"}}")];
    assert_eq!(bucket("+Inf"), stats.plans as f64);
    assert!(bucket("0.05") <= bucket("0.1") && bucket("30") <= bucket("60") && bucket("60") <= bucket("+Inf"));
}

#[tokio::test]
async fn counters_never_fall_and_are_those_of_every_instance() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let first = served.get("/metrics").await.body;
    let Served { stack, .. } = served;
    let served = Served::on(stack).await;
    assert_eq!(served.get("/metrics").await.body, first, "another instance says the same");
    let more = ["broken".to_owned(), "{}".to_owned(), product(1, "Updated", 9, "s1", "c1", "3", 1)];
    handle(&served.stack.aggregate, invocation("product.created", 1, 0, &more)).await;
    handle(&served.stack.aggregate, invocation("new", 0, 0, &more)).await;
    let (first, second) = (samples(&first), scraped(&served).await);
    for (name, value) in first.iter().filter(|(name, _)| !name.starts_with("kafka_")) {
        assert!(second[name] >= *value, "{name}: {value}, then {}", second[name]);
    }
    for (topic, reasons) in [("product.created", [0.0, 2.0, 1.0]), ("new", [3.0, 0.0, 0.0])] {
        let errors = |reason: &str| second[&format!("processing_errors_total{{type=\"{topic}\",reason=\"{reason}\"}}")];
        assert_eq!(["no_stream", "unreadable", "refused"].map(errors), reasons, "{topic}");
    }
}

#[tokio::test]
async fn only_operators_see_metrics() {
    let served = Served::start().await;
    let app = || Apps::Of(["app".to_owned()].into());
    for (key, expected) in [
        (String::new(), StatusCode::UNAUTHORIZED),
        (served.key_for(&[Scope::Read, Scope::Ingest], Apps::All).await, StatusCode::FORBIDDEN),
        (served.key_for(&[Scope::Admin], app()).await, StatusCode::FORBIDDEN),
        (served.key_for(&[Scope::Admin], Apps::All).await, StatusCode::OK),
    ] {
        let request = Request::get("/metrics").header("Authorization", format!("Bearer {key}"));
        let answered = served.ask(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answered.status, expected);
        assert_eq!(answered.headers.contains_key("www-authenticate"), expected == StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn types_of_any_name_and_number_make_a_bounded_text() {
    let served = Served::start().await;
    let store = served.api.ledger.store();
    let put = async |service: &str, kind: &str, events: i64| {
        let mut row = Measures::default();
        row.add("events", Decimal::whole(events));
        store.create_row(&Key::parts(&["EVENTS"], &["SERVICE", service, kind]), &row, &[]).await.unwrap();
    };
    for n in 0..1_000 {
        put("app", &format!("t{n}"), n + 1).await;
    }
    put("\"quoted\"", "back\\slash\nline", 5_000).await;
    put("#😀", &"x".repeat(201), 6_000).await;
    let found = scraped(&served).await;
    let shown: Vec<_> = found.keys().filter(|name| name.starts_with("events_processed_total")).collect();
    assert_eq!((shown.len(), found["events_hidden_series"]), (1_000, 2.0));
    let odd = "events_processed_total{type=\"back\\\\slash\\nline\",service=\"\\\"quoted\\\"\"}";
    assert_eq!(found[odd], 5_000.0);
    assert!(!found.contains_key("events_processed_total{type=\"t0\",service=\"app\"}"), "the least is left out");
    assert_eq!(found["events_stored_total"], (1..=1_000).sum::<i64>() as f64 + 11_000.0);
}
