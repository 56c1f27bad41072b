//! Days of sales are those of the configured zone: at midnight, and where clocks are changed.

use std::sync::Arc;

use serde_json::{Value, json};
use tidemark_model::Settings;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, documents, handle, invocation};

/// One order made at this time, for 1.
fn order(id: i64, created_at: &str) -> String {
    let row = json!({"id": id, "customer_id": 1, "total_amount": "1.00", "status": "new", "created_at": created_at});
    json!({"before": null, "after": row, "source": {"ts_ms": 1_735_689_600_000_i64, "table": "orders"}, "op": "c"})
        .to_string()
}

/// How many orders each day has, as (date, orders).
async fn days(zone: &str, times: &[&str]) -> Vec<(String, String)> {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let settings = Settings { zone: zone.parse().unwrap(), clock_skew_ms: i64::MAX / 4, ..Settings::default() };
    Arc::get_mut(&mut function).unwrap().settings = settings;
    let orders: Vec<String> = times.iter().zip(1..).map(|(time, id)| order(id, time)).collect();
    let report = handle(&function, invocation("db.public.orders", 0, 0, &orders)).await;
    assert_eq!(report.rejects, []);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let views = documents(&store.tables());
    let days = views["dailySales"].as_array().unwrap().iter();
    days.map(|day| (text(&day["date"]), text(&day["order_count"]))).collect()
}

#[tokio::test]
async fn an_order_counts_on_the_day_that_its_zone_had() {
    let times = [
        "2025-03-29T22:59:59.999Z", // 23:59:59.999 in Berlin
        "2025-03-29T23:00:00Z",     // midnight
        "2025-03-30T00:59:59Z",     // before the clock goes forward
        "2025-03-30T01:00:00Z",     // after it
        "2025-03-30T21:59:59.999Z", // 23:59:59.999: the day had 23 hours
        "2025-03-30T22:00:00Z",     // midnight
        "2025-10-25T22:00:00Z",     // midnight
        "2025-10-26T00:30:00Z",     // half past two
        "2025-10-26T01:30:00Z",     // half past two once more
        "2025-10-26T22:59:59.999Z", // 23:59:59.999: the day had 25 hours
        "2025-10-26T23:00:00Z",     // midnight
    ];
    let expected = |days: &[(&str, &str)]| days.iter().map(|(d, n)| ((*d).into(), (*n).into())).collect::<Vec<_>>();
    assert_eq!(
        days("Europe/Berlin", &times).await,
        expected(&[
            ("2025-03-29", "1"),
            ("2025-03-30", "4"),
            ("2025-03-31", "1"),
            ("2025-10-26", "4"),
            ("2025-10-27", "1"),
        ])
    );
    assert_eq!(
        days("UTC", &times).await,
        expected(&[("2025-03-29", "2"), ("2025-03-30", "4"), ("2025-10-25", "1"), ("2025-10-26", "4")])
    );
}

/// Another zone takes effect with each order's next record; until then it stays on its day, and is
/// taken off that very day.
#[tokio::test]
async fn a_changed_zone_never_lets_days_drift() {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    handle(&function, invocation("db.public.orders", 0, 0, &[order(1, "2025-01-01T23:30:00Z")])).await;
    let zone = "Europe/Berlin".parse().unwrap();
    Arc::get_mut(&mut function).unwrap().settings = Settings { zone, ..Settings::default() };
    handle(&function, invocation("db.public.orders", 0, 1, &[order(1, "2025-01-01T23:30:00Z")])).await;
    let views = documents(&store.tables());
    assert_eq!(views["dailySales"], json!([{"date": "2025-01-02", "order_count": "1", "total_amount": "1"}]));
    assert_eq!(
        store.recomputed().into_sorted().len(),
        store.tables().rows.iter().filter(|(_, r)| !r.is_empty()).count()
    );
}
