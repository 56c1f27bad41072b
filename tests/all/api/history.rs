//! Closing totals by day: what the daily run keeps is what it archives, and what the API shows.

use archive::{Archive, Caller, Daily, Options};
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{AuditOptions, Call, Ledger, Segment, Store};
use tidemark_local::stack::Stack;
use tidemark_model::time::{DAY_MS, utc};
use tidemark_tests::api::Served;
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::{NOW_MS, handle, invocation, options, product};

use super::{encoded, pages};
use crate::audit::everything;

/// The snapshot of a day, which must finish at once.
async fn snapshot(stack: &Stack, how: Options, at_ms: i64) {
    let ledger = Ledger::new(stack.aggregate.ledger.store().clone(), options(7));
    let archive = Archive::<DynamoStore, _> { ledger, objects: MemoryObjects::default(), options: how };
    let call = Call { now_ms: at_ms, deadline: None };
    let daily = archive.daily(at_ms, Caller("invocation"), call).await.unwrap();
    assert!(matches!(daily, Daily::Done(_)), "{daily:?}");
}

/// An object without what history adds.
fn totals(day: &Value) -> Value {
    let mut totals = day.clone();
    totals.as_object_mut().unwrap().retain(|name, _| name != "date" && name != "closedAt");
    totals
}

fn days(history: &Value) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| (text(&day["date"]).unwrap(), text(&day["closedAt"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_what_the_rows_were_when_a_day_was_closed() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let before = pages(&served, "/analytics/sellers?limit=9").await.0;
    let categories = pages(&served, "/analytics/categories?limit=9").await.0;
    // Again and again, in any number of segments, it is one item for each row and day.
    for segments in [1, 3, 3] {
        snapshot(&served.stack, Options { segments, ..Options::default() }, NOW_MS).await;
    }
    let more = product(100, "Created", 5, "s1", "c1", "9.99", 3);
    handle(&served.stack.aggregate, invocation("product.created", 1, 0, &[more])).await;
    for seller in &before {
        let path = format!("/analytics/sellers/{}", encoded(seller["sellerId"].as_str().unwrap()));
        let history = served.get(&format!("{path}/history")).await.exact();
        let expected = [("2025-01-01".to_owned(), Some(utc(NOW_MS))), ("2025-01-02".to_owned(), None)];
        assert_eq!(days(&history), expected);
        assert_eq!(&totals(&history["items"][0]), seller);
        assert_eq!(totals(&history["items"][1]), served.get(&path).await.exact());
        let past = served.get(&format!("{path}/history?to=2025-01-01")).await.exact();
        assert_eq!(past["items"], json!([history["items"][0]]));
    }
    for category in &categories {
        let path = format!("/analytics/categories/{}/history", encoded(category["category"].as_str().unwrap()));
        assert_eq!(&totals(&served.get(&path).await.exact()["items"][0]), category);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_are_the_zone_s_and_are_kept_for_their_time() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    // An hour before and an hour after midnight there.
    for at_ms in [NOW_MS + 17 * 3_600_000, NOW_MS + 19 * 3_600_000] {
        let how = Options { zone: "Asia/Kathmandu".parse().unwrap(), ..Options::default() };
        snapshot(&served.stack, how, at_ms).await;
    }
    let store = served.stack.aggregate.ledger.store();
    let key = tidemark_model::Key::of("SELLER", "s1", "METRICS#CURRENT");
    let found = store.closings(&key, NOW_MS - 3 * DAY_MS, NOW_MS + 3 * DAY_MS).await.unwrap().value;
    let found: Vec<_> = found.iter().map(|(closing, _)| (closing.date.as_str(), closing.expires_ms)).collect();
    let midnight = NOW_MS - (5 * 60 + 45) * 60_000;
    assert_eq!(found, [("2025-01-01", midnight + 31 * DAY_MS), ("2025-01-02", midnight + 32 * DAY_MS)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_totals_are_no_entities_and_may_be_left_out() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let store = served.stack.aggregate.ledger.store();
    let entities = store.states(Segment::WHOLE, None).await.unwrap().value.0;
    snapshot(&served.stack, Options { history_ms: None, ..Options::default() }, NOW_MS).await;
    assert_eq!(days(&served.get("/analytics/sellers/s1/history").await.exact()).len(), 1);
    snapshot(&served.stack, Options::default(), NOW_MS).await;
    assert_eq!(days(&served.get("/analytics/sellers/s1/history").await.exact()).len(), 2);
    let after = store.states(Segment::WHOLE, None).await.unwrap().value.0;
    assert_eq!(after.len(), entities.len());
    let audit = served.stack.aggregate.ledger.audit(&AuditOptions::default(), tidemark_tests::call()).await.unwrap();
    assert_eq!(audit.remaining(), 0);
}

#[tokio::test]
async fn what_no_history_takes_is_refused() {
    let served = Served::start().await;
    for path in ["sellers/x/history?from=2025-01-02&to=2025-01-01", "categories/x/history?from=1990-01-01"] {
        let answered = served.get(&format!("/analytics/{path}")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answered.json()["errors"][0]["field"], "from", "{path}");
    }
    let long = "x".repeat(3_000);
    assert_eq!(served.get(&format!("/analytics/sellers/{long}/history")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(served.get("/analytics/sellers/x/history").await.exact(), json!({"items": []}));
}
