//! What once went wrong over HTTP.

use http::{Request, StatusCode};
use serde_json::json;
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_tests::api::{Served, asked};
use tidemark_tests::values::{metric, tracked, with, without};
use tidemark_tests::{NOW_MS, handle, invocation};

use super::pages;

#[tokio::test]
async fn a_time_beyond_all_windows_is_refused() {
    let served = Served::start().await;
    for (path, start, end) in [
        ("/analytics/dashboards/app", "0", "9223372036854775807"),
        ("/analytics/dashboards/app", "299999999999999", "300000000000000"),
        ("/analytics/dashboards/app", "-9223372036854775808", "0"),
        ("/analytics/metrics?appId=app&metricName=m", "2286-11-20T00:00:00Z", "2286-11-21T00:00:00Z"),
        ("/analytics/users/u/events?appId=app", "999999999999999", "1000000000000001"),
    ] {
        let range = asked("", &[("startTime", start), ("endTime", end)]);
        let path = format!("{path}{}{}", if path.contains('?') { '&' } else { '?' }, &range[1..]);
        assert_eq!(served.get(&path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_timeline_since_some_time_ago_goes_on_when_that_has_passed_its_place() {
    let served = Served::start().await;
    let events: Vec<String> = (0..6)
        .map(|n| with(&tracked("app", "u"), json!({"timestamp": NOW_MS - 3_599_000 + n, "eventName": n})).to_string())
        .collect();
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 0, &events)).await;
    let path = "/analytics/users/u/events?appId=app&startTime=-1h&limit=3";
    let next = served.get(path).await.json()["next"].as_str().unwrap().to_owned();
    served.pass(2_000);
    let page = served.get(&format!("{path}&cursor={next}")).await;
    assert_eq!((page.status, page.json()), (StatusCode::OK, json!({"items": []})));
}

/// Lambda's answer has 6 MB at most.
#[tokio::test]
async fn a_page_of_large_events_ends_before_it_is_too_large() {
    let served = Served::start().await;
    for n in 0..30 {
        let event = with(&tracked("app", "u"), json!({"eventName": n, "properties": {"text": "x".repeat(120_000)}}));
        handle(&served.stack.aggregate, invocation("analytics.events", 0, n, &[event.to_string()])).await;
    }
    let path = "/analytics/users/u/events?appId=app&limit=1000";
    assert!(served.get(path).await.body.len() < 3_000_000);
    assert_eq!(pages(&served, path).await.0.len(), 30);
}

#[tokio::test]
async fn a_late_value_of_a_foreign_app_is_as_foreign_as_another() {
    let served = Served::start().await;
    let key = served.key_for(&[Scope::Ingest], Apps::Of(["mine".to_owned()].into())).await;
    let late = json!({"timestamp": "2020-01-01T00:00:00Z"});
    let event = with(&tracked("other", "u"), late.clone());
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": event});
    for (path, body) in [
        ("/analytics/events", event),
        ("/analytics/events", cloud),
        ("/analytics/metrics", with(&metric("other", 1, json!({})), late)),
    ] {
        assert_eq!(served.post_as(&key, path, body.to_string()).await.status, StatusCode::FORBIDDEN, "{body}");
    }
}

#[tokio::test]
async fn equal_events_of_a_request_that_say_no_time_count_as_often_as_they_are_there() {
    let served = Served::start().await;
    let event = without(&tracked("app", "u"), "timestamp");
    let body = json!({"events": [event, event]});
    for _ in 0..2 {
        assert_eq!(served.post("/analytics/events/batch", &body).await.json()["accepted"], 2);
    }
    assert_eq!(served.documents().await["eventTotals"][0]["count"], json!("4"));
    assert_eq!(pages(&served, "/analytics/users/u/events?appId=app&limit=3").await.0.len(), 4);
    // What says its time is the same event wherever it comes.
    let timed = tracked("app", "v");
    let body = json!({"events": [timed, timed]});
    assert_eq!(served.post("/analytics/events/batch", &body).await.status, StatusCode::CREATED);
    assert_eq!(served.documents().await["eventTotals"][0]["count"], json!("5"));
}

#[tokio::test]
async fn a_time_and_tags_that_are_none_are_said_beside_all_that_is_wrong() {
    let served = Served::start().await;
    let event = json!({"appId": "app", "userId": "u", "eventType": "t", "timestamp": "yesterday"});
    let point = with(&metric("app", 1, json!({"pod": {"deep": 1}})), json!({"value": "1"}));
    for (path, body, fields) in
        [("/analytics/events", event, ["eventName", "timestamp"]), ("/analytics/metrics", point, ["value", "tags"])]
    {
        let answered = served.post(path, &body).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path}");
        let errors = answered.json()["errors"].as_array().unwrap().clone();
        let found: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, fields, "{path}");
    }
}

#[tokio::test]
async fn a_route_without_pages_takes_no_cursor() {
    let served = Served::start().await;
    let answered = served.get("/analytics/orders/summary?cursor=x").await;
    assert_eq!(answered.json()["errors"], json!([{"field": "cursor", "reason": "is no parameter of this route"}]));
}

#[tokio::test]
async fn only_an_event_comes_in_an_envelope() {
    let served = Served::start().await;
    for (path, body) in [
        ("/analytics/events", json!({"specversion": null})),
        ("/analytics/metrics", json!({"specversion": "1.0", "value": "x"})),
    ] {
        let answered = served.post(path, &body).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST);
        assert_eq!(answered.json()["errors"].as_array().unwrap().len(), 4, "{}", answered.body);
    }
}

#[tokio::test]
async fn what_one_caller_sees_is_no_answer_for_another_in_any_cache() {
    let served = Served::start().await;
    let answered = served.get("/analytics/sellers").await;
    let vary: Vec<_> = answered.headers.get_all("vary").iter().map(|vary| vary.to_str().unwrap()).collect();
    assert!(vary.join(", ").contains("authorization, x-api-key"), "{vary:?}");
}

#[tokio::test]
async fn what_each_value_is_refused_for_is_said_at_once() {
    let served = Served::start().await;
    let point = metric("app", 1, json!({}));
    let raw = |field: &str, value: &str| {
        let point = with(&point, json!({field: "?"})).to_string();
        point.replace("\"?\"", value)
    };
    let batch = format!(
        r#"{{"metrics": [{}, {}, {}, {}]}}"#,
        raw("value", "1e4294967284"),
        raw("tags", r#"{"pod": []}"#),
        raw("timestamp", "4000000000000"),
        raw("tags", &format!("{{\"pod\": \"{}\"}}", "x".repeat(2_000))),
    );
    let request = Request::post("/analytics/metrics/batch")
        .header("X-Api-Key", &served.key)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", "k".repeat(300));
    let answered = served.ask(request.body(batch.into()).unwrap()).await;
    assert_eq!(answered.status, StatusCode::BAD_REQUEST);
    let errors = answered.json()["errors"].as_array().unwrap().clone();
    let found: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    let expected = ["Idempotency-Key", "metrics[0].value", "metrics[1].tags", "metrics[2].timestamp", "metrics[3]"];
    assert_eq!(found, expected, "{}", answered.body);
}

#[tokio::test]
async fn a_dashboard_of_92_days_may_begin_at_any_time() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 0, &[tracked("app", "u").to_string()])).await;
    served.pass(12_345);
    assert_eq!(served.get("/analytics/dashboards/app?startTime=-92d").await.status, StatusCode::OK);
    let longer = served.get("/analytics/dashboards/app?startTime=-132481m").await;
    assert_eq!(longer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_envelope_is_of_a_known_version_and_comes_alone() {
    let served = Served::start().await;
    let cloud = |version: &str| {
        let event = without(&tracked("app", "u"), "timestamp");
        json!({"specversion": version, "id": "1", "source": "s", "type": "t", "data": event})
    };
    let event = tracked("app", "u");
    let post = async |path: &str, kind: &str, body: serde_json::Value| {
        let request = Request::post(path).header("X-Api-Key", &served.key).header("Content-Type", kind);
        served.ask(request.body(body.to_string().into()).unwrap()).await.status
    };
    let (json, enveloped) = ("application/json", "application/cloudevents+json");
    for (path, kind, body, status) in [
        ("/analytics/events", enveloped, cloud("1.0"), StatusCode::CREATED),
        ("/analytics/events", json, cloud("1.0"), StatusCode::CREATED),
        ("/analytics/events", json, cloud("2.0"), StatusCode::BAD_REQUEST),
        ("/analytics/events", enveloped, event.clone(), StatusCode::BAD_REQUEST),
        ("/analytics/events/batch", json, json!({"events": [cloud("1.0"), event]}), StatusCode::CREATED),
        ("/analytics/events/batch", enveloped, json!({"events": [event]}), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("/analytics/metrics", enveloped, metric("app", 1, json!({})), StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        assert_eq!(post(path, kind, body.clone()).await, status, "{path} {kind} {body}");
    }
}
