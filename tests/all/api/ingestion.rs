//! What is sent over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use krafka::testing::FakeBroker;
use serde_json::{Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_local::stack::Stack;
use tidemark_tests::api::{Answered, Served, stack};
use tidemark_tests::values::{metric, tracked, with, without};
use tidemark_tests::{NOW_MS, documents, handle, invocation};

const EVENTS: &str = "/analytics/events";
const METRICS: &str = "/analytics/metrics";

/// A POST with further headers.
async fn post_with(served: &Served, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
    let mut request = Request::post(path).header("X-Api-Key", &served.key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    served.ask(request.body(body.into()).unwrap()).await
}

async fn keyed(served: &Served, path: &str, key: &str, body: &Value) -> Answered {
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
    post_with(served, path, &headers, body.to_string()).await
}

/// The fields that an answer complains about.
fn fields(answered: &Answered) -> Vec<String> {
    let errors = answered.json()["errors"].clone();
    errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_comes_over_http_counts_as_what_comes_from_kafka() {
    let (events, points): (Vec<Value>, Vec<Value>) = (0..30)
        .map(|n| {
            let event = with(&tracked(&format!("app {}", n % 3), &format!("u{}", n % 7)), json!({"sessionId": n % 11}));
            let event = with(&event, json!({"eventName": format!("e{}", n % 5), "properties": {"n": n}}));
            (event, metric("shop", n, json!({"pod": n % 2})))
        })
        .unzip();
    let by_kafka = stack().await;
    for (topic, values) in [("analytics.events", &events), ("analytics.metrics", &points)] {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        handle(&by_kafka.aggregate, invocation(topic, 0, 0, &values)).await;
    }
    let expected = documents(&by_kafka.aggregate.ledger.store().read_tables(NOW_MS).await.unwrap());
    let served = Served::start().await;
    for _ in 0..2 {
        let answered = keyed(&served, "/analytics/events/batch", "events", &json!({"events": events})).await;
        assert_eq!((answered.status, answered.json()["accepted"].clone()), (StatusCode::CREATED, json!(30)));
        let answered = keyed(&served, "/analytics/metrics/batch", "points", &json!({"metrics": points})).await;
        assert_eq!(answered.status, StatusCode::CREATED, "{}", answered.body);
    }
    assert_eq!(served.documents().await, expected);
}

#[tokio::test]
async fn an_event_without_a_time_counts_once_under_its_key_however_late_it_comes_again() {
    let mut served = Served::start().await;
    let event = without(&tracked("app", "u"), "timestamp");
    for _ in 0..2 {
        assert_eq!(keyed(&served, EVENTS, "k", &event).await.status, StatusCode::CREATED);
        served.pass(5);
    }
    assert_eq!(served.documents().await["eventTotals"][0]["count"], json!("1"));
    // Another key, and another caller's key of the same name, are other requests.
    assert_eq!(keyed(&served, EVENTS, "l", &event).await.status, StatusCode::CREATED);
    served.key = served.key_for(&[Scope::Ingest], Apps::All).await;
    served.pass(5);
    assert_eq!(keyed(&served, EVENTS, "k", &event).await.status, StatusCode::CREATED);
    assert_eq!(served.documents().await["eventTotals"][0]["count"], json!("3"));
}

#[tokio::test]
async fn a_measurement_without_an_id_counts_each_time() {
    let served = Served::start().await;
    for _ in 0..3 {
        assert_eq!(served.post(METRICS, &metric("app", 2, json!({}))).await.status, StatusCode::CREATED);
    }
    let metrics = served.documents().await["metrics"].clone();
    assert_eq!((metrics[0]["count"].clone(), metrics[0]["sum"].clone()), (json!("3"), json!("6")));
}

#[tokio::test]
async fn requests_at_once_all_count() {
    let served = Served::start().await;
    let sending = (0..40).map(|n| {
        let event = with(&tracked("app", &format!("u{}", n % 4)), json!({"eventId": n}));
        let served = &served;
        async move { served.post(EVENTS, &event).await.status }
    });
    let answered = futures_util::future::join_all(sending).await;
    assert!(answered.iter().all(|status| *status == StatusCode::CREATED), "{answered:?}");
    let documents = served.documents().await;
    assert_eq!(documents["eventTotals"][0]["count"], json!("40"));
    assert_eq!(documents["apps"][0]["days"][0]["activeUsers"], json!("4"));
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_and_nothing_counts() {
    let served = Served::start().await;
    let good = tracked("app", "u");
    let bad = json!({"appId": 7, "eventType": "x".repeat(101), "properties": [], "timestamp": true});
    let batch = json!({"events": [good, bad, with(&good, json!({"timestamp": "yesterday"})), {}], "async": "no"});
    let answered = served.post("/analytics/events/batch", &batch).await;
    assert_eq!(answered.status, StatusCode::BAD_REQUEST);
    let found = fields(&answered);
    for field in [
        "async",
        "events[1].userId",
        "events[1].eventType",
        "events[1].eventName",
        "events[1].properties",
        "events[1].timestamp",
        "events[2].timestamp",
        "events[3].appId",
        "events[3].userId",
        "events[3].eventType",
        "events[3].eventName",
    ] {
        assert!(found.iter().any(|found| found == field), "{field} is not in {found:?}");
    }
    assert_eq!(found.len(), 11, "{found:?}");
    // One is enough.
    let answered = served
        .post("/analytics/events/batch", &json!({"events": [good, with(&good, json!({"timestamp": "yesterday"}))]}))
        .await;
    assert_eq!((answered.status, fields(&answered)), (StatusCode::BAD_REQUEST, vec!["events[1].timestamp".to_owned()]));
    assert_eq!(served.documents().await["eventTotals"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_with_what_to_do() {
    let served = Served::start().await;
    let json_type = [("Content-Type", "application/json")];
    let event = tracked("app", "u").to_string();
    let deep = format!(r#"{{"properties":{}{}}}"#, r#"{"a":"#.repeat(20), "1".to_owned() + &"}".repeat(20));
    let many = json!({"events": vec![tracked("app", "u"); 501]}).to_string();
    for (path, headers, body, status) in [
        (EVENTS, &[][..], event.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (EVENTS, &[("Content-Type", "text/plain")][..], event.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (EVENTS, &json_type[..], String::new(), StatusCode::BAD_REQUEST),
        (EVENTS, &json_type[..], "[]".to_owned(), StatusCode::BAD_REQUEST),
        (EVENTS, &json_type[..], "null".to_owned(), StatusCode::BAD_REQUEST),
        (EVENTS, &json_type[..], event[..event.len() - 1].to_owned(), StatusCode::BAD_REQUEST),
        (EVENTS, &json_type[..], deep, StatusCode::BAD_REQUEST),
        (EVENTS, &json_type[..], format!("{}{event}", " ".repeat(10_000_000)), StatusCode::PAYLOAD_TOO_LARGE),
        ("/analytics/events/batch", &json_type[..], event.clone(), StatusCode::BAD_REQUEST),
        ("/analytics/events/batch", &json_type[..], r#"{"events":[]}"#.to_owned(), StatusCode::BAD_REQUEST),
        ("/analytics/events/batch", &json_type[..], r#"{"events":[1]}"#.to_owned(), StatusCode::BAD_REQUEST),
        ("/analytics/events/batch", &json_type[..], many, StatusCode::BAD_REQUEST),
        (EVENTS, &[json_type[0], ("Idempotency-Key", "")][..], event.clone(), StatusCode::BAD_REQUEST),
    ] {
        let answered = post_with(&served, path, headers, body.clone()).await;
        assert_eq!(answered.status, status, "{headers:?} {:.60}: {}", body, answered.body);
        assert_eq!(answered.headers["content-type"], "application/problem+json");
    }
    assert_eq!(served.documents().await["eventTotals"], json!([]));
}

#[tokio::test]
async fn nobody_tells_anything_of_an_app_that_is_not_theirs() {
    let served = Served::start().await;
    let key = served.key_for(&[Scope::Ingest], Apps::Of(["mine".to_owned()].into())).await;
    let post = async |path: &str, body: Value| served.post_as(&key, path, body.to_string()).await.status;
    assert_eq!(post(EVENTS, tracked("mine", "u")).await, StatusCode::CREATED);
    assert_eq!(post(EVENTS, tracked("other", "u")).await, StatusCode::FORBIDDEN);
    assert_eq!(post(METRICS, metric("other", 1, json!({}))).await, StatusCode::FORBIDDEN);
    let both = json!({"events": [tracked("mine", "v"), tracked("other", "v")]});
    assert_eq!(post("/analytics/events/batch", both).await, StatusCode::FORBIDDEN);
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": tracked("other", "u")});
    assert_eq!(post(EVENTS, cloud).await, StatusCode::FORBIDDEN);
    let totals = served.documents().await["eventTotals"].clone();
    assert_eq!(
        (totals.as_array().unwrap().len(), &totals[0]["service"], &totals[0]["count"]),
        (1, &json!("mine"), &json!("1"))
    );
}

#[tokio::test]
async fn ids_of_every_unicode_plane_are_ids() {
    let served = Served::start().await;
    for plane in 0..=16_u32 {
        let id = char::from_u32((plane << 16) | 0x41).map_or_else(|| "x".to_owned(), |c| format!("{c}#%/\u{0}"));
        let answered = served.post(EVENTS, &tracked(&id, &id)).await;
        assert_eq!(answered.status, StatusCode::CREATED, "plane {plane}: {}", answered.body);
    }
    assert_eq!(served.documents().await["apps"].as_array().unwrap().len(), 17);
}

#[tokio::test]
async fn what_is_past_its_retention_is_said_to_be_late() {
    let served = Served::start().await;
    let late = with(&tracked("app", "u"), json!({"timestamp": "2020-01-01T00:00:00Z"}));
    let answered = served.post(EVENTS, &late).await;
    assert_eq!((answered.status, answered.json()), (StatusCode::OK, json!({"accepted": 0, "late": 1})));
    let answered = served.post("/analytics/events/batch", &json!({"events": [late, tracked("app", "u")]})).await;
    assert_eq!((answered.status, answered.json()), (StatusCode::CREATED, json!({"accepted": 1, "late": 1})));
}

#[tokio::test]
async fn who_sent_an_event_is_kept_only_where_the_deployment_says_so() {
    for stores in [false, true] {
        let mut served = Served::start().await;
        let mut api = Arc::into_inner(served.stack.api(Box::new(|| NOW_MS)).unwrap()).unwrap();
        api.settings.store_user_agent = stores;
        served.router = api::router(Arc::new(api));
        let headers = [("Content-Type", "application/json"), ("User-Agent", "agent/7")];
        let answered = post_with(&served, EVENTS, &headers, tracked("app", "u").to_string()).await;
        assert_eq!(answered.status, StatusCode::CREATED);
        assert_eq!(state_table(&served.stack).await.contains("agent/7"), stores);
    }
}

/// Everything in the state table.
async fn state_table(stack: &Stack) -> String {
    let items = stack.clients.dynamodb.scan().table_name(tidemark_local::stack::STATE_TABLE).send().await.unwrap();
    format!("{:?}", items.items())
}

/// The function beside a broker, or where one was.
async fn beside(bootstrap_servers: String) -> Served {
    Served::set_up(&[("KAFKA_BOOTSTRAP_SERVERS", &bootstrap_servers)]).await
}

#[tokio::test]
async fn what_is_handed_to_kafka_counts_from_there_once() {
    let broker = FakeBroker::start().await.unwrap();
    for topic in ["analytics.events", "analytics.metrics"] {
        broker.create_topic(topic, 2);
    }
    let served = beside(broker.bootstrap_servers()).await;
    let event = with(&without(&tracked("app", "u"), "timestamp"), json!({"async": true}));
    let answered = keyed(&served, EVENTS, "k", &event).await;
    assert_eq!((answered.status, answered.json()["accepted"].clone()), (StatusCode::ACCEPTED, json!(1)));
    let batch = json!({"async": true, "metrics": [metric("app", 1, json!({})), metric("app", 2, json!({}))]});
    for _ in 0..2 {
        assert_eq!(keyed(&served, "/analytics/metrics/batch", "m", &batch).await.status, StatusCode::ACCEPTED);
    }
    assert_eq!(served.documents().await["eventTotals"], json!([]), "it counts when it is read from Kafka");
    // The very same request, not handed to Kafka, names the same event.
    assert_eq!(keyed(&served, EVENTS, "k", &without(&event, "async")).await.status, StatusCode::CREATED);
    for topic in ["analytics.events", "analytics.metrics"] {
        let records = broker.all_records(topic).unwrap();
        let values: Vec<String> = records.iter().map(|record| record.value_str().unwrap().to_owned()).collect();
        handle(&served.stack.aggregate, invocation(topic, 0, 0, &values)).await;
    }
    let documents = served.documents().await;
    assert_eq!(documents["eventTotals"][0]["count"], json!("1"));
    assert_eq!((&documents["metrics"][0]["count"], &documents["metrics"][0]["sum"]), (&json!("2"), &json!("3")));
}

/// As over HTTP.
#[tokio::test]
async fn equal_events_that_are_handed_to_kafka_without_a_time_count_each() {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic("analytics.events", 1);
    let served = beside(broker.bootstrap_servers()).await;
    let event = without(&tracked("app", "u"), "timestamp");
    let texts = [r#"{"a": 1, "b": [2]}"#, r#"{"b":[2],"a":1}"#]
        .map(|properties| with(&event, json!({"properties": "?"})).to_string().replace("\"?\"", properties));
    let timed = tracked("app", "u");
    let batch = format!(r#"{{"async": true, "events": [{event}, {event}, {timed}, {timed}, {}]}}"#, texts.join(", "));
    assert_eq!(served.post_as(&served.key, "/analytics/events/batch", batch).await.status, StatusCode::ACCEPTED);
    let records = broker.all_records("analytics.events").unwrap();
    let values: Vec<String> = records.iter().map(|record| record.value_str().unwrap().to_owned()).collect();
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 0, &values)).await;
    assert_eq!(served.documents().await["eventTotals"][0]["count"], json!("5"));
}

#[tokio::test]
async fn without_kafka_nothing_is_handed_to_it_and_nothing_is_accepted() {
    let served = Served::start().await;
    let event = with(&tracked("app", "u"), json!({"async": true}));
    let answered = served.post(EVENTS, &event).await;
    assert_eq!((answered.status, fields(&answered)), (StatusCode::BAD_REQUEST, vec!["async".to_owned()]));
    let broker = FakeBroker::start().await.unwrap();
    let away = broker.bootstrap_servers();
    drop(broker);
    let served = beside(away).await;
    let answered = tokio::time::timeout(Duration::from_secs(20), served.post(EVENTS, &event)).await.unwrap();
    assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answered.headers.contains_key("retry-after"));
    assert_eq!(served.documents().await["eventTotals"], json!([]));
}
