//! The sample invocations: what each decodes to, as golden files, and what it comes to.

use bytes::Bytes;
use serde_json::{Value, json};
use tidemark_model::{Batch, Settings, decode};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{NOW_MS, aggregate, documents, handle, root};

use crate::golden::check;

/// The same changes in every form that connectors write.
const ORDERS: [&str; 5] =
    ["orders-envelope", "orders-envelope-schema", "orders-unwrapped", "orders-unwrapped-schema", "orders-mysql"];
const OTHERS: [&str; 5] = ["activity", "activity-cloudevents", "user-events", "metrics", "bad-records"];

fn sample(name: &str) -> Bytes {
    std::fs::read(root().join("events").join(format!("{name}.json"))).unwrap().into()
}

/// What a batch says, and how many of its records say nothing.
fn shown(batch: &Batch) -> Value {
    let changes = batch.changes.iter();
    let changes = changes.map(|c| json!({"key": c.key, "version": c.version, "state": c.state}));
    let points = batch.points.iter();
    let points = points.map(|p| json!({"offset": p.offset, "series": p.series, "at": p.at, "value": p.value}));
    let rejects = batch.rejects.iter().map(|reject| json!({"offset": reject.offset, "reason": reject.reason}));
    json!({
        "topic": batch.topic, "partition": batch.partition, "changes": changes.collect::<Vec<_>>(),
        "points": points.collect::<Vec<_>>(), "rejects": rejects.collect::<Vec<_>>(),
        "counted": batch.counted, "empty": batch.empty, "late": batch.late,
    })
}

#[test]
fn decoded_samples_of_every_stream() {
    let settings = Settings { now_ms: NOW_MS, ..Settings::default() };
    for name in ORDERS.iter().chain(&OTHERS) {
        let batches = decode(&sample(name), &settings).unwrap();
        check(&format!("decoded_{name}.json"), &batches.iter().map(shown).collect());
    }
}

/// Two orders of three items; one is changed and shipped, the other deleted.
#[tokio::test]
async fn every_form_of_the_orders_reads_the_same() {
    for name in ORDERS {
        let store = MemoryStore::default();
        let report = handle(&aggregate(store.clone(), MemoryObjects::default(), 0), sample(name)).await;
        assert_eq!(report.rejects, [], "{name}");
        assert_eq!((report.records, report.empty, report.contradictions), (12, 2, 0), "{name}");
        let views = documents(&store.tables());
        for (view, expected) in [
            ("dailySales", json!([{"date": "2025-01-01", "order_count": "1", "total_amount": "129.98"}])),
            (
                "productSales",
                json!([
                    {"product_id": "102", "quantity_sold": "2", "total_revenue": "90"},
                    {"product_id": "101", "quantity_sold": "2", "total_revenue": "39.98"},
                ]),
            ),
            ("customers", json!([{"customer_id": "1001", "order_count": "1", "total_spent": "129.98"}])),
            ("orderStatus", json!({"shipped": "1"})),
            (
                "summary",
                json!({
                    "total_orders": "1", "total_revenue": "129.98", "unique_customers": "1",
                    "unique_products_sold": "2",
                }),
            ),
        ] {
            assert_eq!(views[view], expected, "{name}: {view}");
        }
    }
}

#[tokio::test]
async fn every_sample_handled_again_changes_nothing() {
    for name in ORDERS.iter().chain(&OTHERS).chain(&["products"]) {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 0);
        let first = handle(&function, sample(name)).await;
        let rows = store.tables().rows;
        assert!(first.entities > 0 && !rows.is_empty(), "{name}: {first:?}");
        let second = handle(&function, sample(name)).await;
        assert_eq!((second.entities, second.rows, second.overflow), (0, 0, 0), "{name}");
        assert_eq!(second.rejects, first.rejects, "{name}");
        assert_eq!(store.tables().rows, rows, "{name}");
    }
}

#[tokio::test]
async fn the_samples_of_activity_and_metrics_come_to_what_is_in_them() {
    for (name, events, points) in
        [("activity", 6, 0), ("activity-cloudevents", 5, 0), ("user-events", 9, 0), ("metrics", 0, 7)]
    {
        let store = MemoryStore::default();
        let report = handle(&aggregate(store.clone(), MemoryObjects::default(), 0), sample(name)).await;
        assert_eq!((report.late, report.rejects.len()), (0, 0), "{name}");
        let views = documents(&store.tables());
        let sum = |rows: &[Value], field: &str| -> i64 {
            rows.iter().map(|row| row[field].as_str().unwrap().parse::<i64>().unwrap()).sum()
        };
        let apps = views["apps"].as_array().unwrap().iter();
        let found: i64 = apps.map(|app| sum(app["days"].as_array().unwrap(), "events")).sum();
        assert_eq!(found, events, "{name}");
        assert_eq!(sum(views["eventTotals"].as_array().unwrap(), "count"), events, "{name}");
        assert_eq!(sum(views["metrics"].as_array().unwrap(), "count"), points, "{name}");
    }
}
