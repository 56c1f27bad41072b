//! Timelines over HTTP.

use std::collections::BTreeMap;

use fastrand::Rng;
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_model::erasure::Person;
use tidemark_model::time::{DAY_MS, MINUTE_MS, utc};
use tidemark_tests::api::{Served, asked};
use tidemark_tests::values::{TAKEN_MS, tracked, with};
use tidemark_tests::{NOW_MS, call, handle, invocation};

const USER: &str = "u#/😀";

fn path(parameters: &[(&str, &str)]) -> String {
    asked("/analytics/users/u%23%2F%F0%9F%98%80/events", &[&[("appId", "app")], parameters].concat())
}

/// An event of few times, with an id or without one; `n` tells it from all others.
fn event(rng: &mut Rng, n: i64) -> Value {
    let event = with(
        &tracked("app", USER),
        json!({
            "eventType": rng.choice(["a", "b"]), "eventName": rng.choice(["x", "y", "z"]), "properties": {"n": n},
            "timestamp": TAKEN_MS - rng.i64(0..6) * MINUTE_MS,
        }),
    );
    if rng.bool() { with(&event, json!({"eventId": format!("id-{n}")})) } else { event }
}

/// What the timeline must show, in any order among equal times.
fn expected(events: &[Value]) -> Vec<Value> {
    let mut first: BTreeMap<i64, &Value> = BTreeMap::new();
    for event in events {
        let known = first.entry(event["properties"]["n"].as_i64().unwrap()).or_insert(event);
        if event["timestamp"].as_i64() < known["timestamp"].as_i64() {
            *known = event;
        }
    }
    let shown = |event: &&Value| {
        let mut shown = (*event).clone();
        let object = shown.as_object_mut().unwrap();
        object.remove("eventId");
        object["timestamp"] = json!(utc(event["timestamp"].as_i64().unwrap()));
        object["properties"] = json!({"n": event["properties"]["n"].to_string()});
        shown
    };
    let mut events: Vec<Value> = first.values().map(shown).collect();
    events.sort_by_key(order);
    events
}

fn order(event: &Value) -> (std::cmp::Reverse<String>, String) {
    (std::cmp::Reverse(event["timestamp"].as_str().unwrap().to_owned()), event["properties"]["n"].to_string())
}

fn in_order(found: &[Value]) -> Vec<Value> {
    let times: Vec<&str> = found.iter().map(|event| event["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let mut found = found.to_vec();
    found.sort_by_key(order);
    found
}

async fn served(events: &[Value]) -> Served {
    let served = Served::start().await;
    let values: Vec<String> = events.iter().map(Value::to_string).collect();
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 0, &values)).await;
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_any_size_are_the_whole_timeline_newest_first() {
    let mut rng = Rng::with_seed(3);
    let mut events: Vec<Value> = (0..120).map(|n| event(&mut rng, n)).collect();
    // Some with an id are told again, earlier or later than before.
    let again: Vec<Value> = events.iter().filter(|event| event["eventId"].is_string() && rng.bool()).cloned().collect();
    for event in again {
        let at = event["timestamp"].as_i64().unwrap() + rng.i64(-3..3) * MINUTE_MS;
        events.push(with(&event, json!({"timestamp": at})));
    }
    let served = served(&events).await;
    let (whole, all) = (expected(&events), served.pages(&path(&[("limit", "1000")])).await);
    assert_eq!(in_order(&all), whole);
    for limit in ["1", "2", "7", "50", "119", "120", "121"] {
        assert_eq!(served.pages(&path(&[("limit", limit)])).await, all, "limit {limit}");
    }
    for (kind, name) in [(Some("a"), None), (None, Some("x")), (Some("b"), Some("z")), (Some("none"), None)] {
        let (start, end) = (TAKEN_MS - 4 * MINUTE_MS, TAKEN_MS - MINUTE_MS);
        let is_asked = |event: &&Value| {
            let at = event["timestamp"].as_str().unwrap();
            kind.is_none_or(|kind| event["eventType"] == kind)
                && name.is_none_or(|name| event["eventName"] == name)
                && (utc(start).as_str()..utc(end).as_str()).contains(&at)
        };
        let (start, end) = (start.to_string(), utc(end));
        let mut parameters = vec![("startTime", &*start), ("endTime", &*end), ("limit", "3")];
        parameters.extend(kind.map(|kind| ("eventType", kind)));
        parameters.extend(name.map(|name| ("eventName", name)));
        let some: Vec<Value> = all.iter().filter(is_asked).cloned().collect();
        assert_eq!(served.pages(&path(&parameters)).await, some, "{parameters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_ends_somewhere_even_where_nothing_is_found() {
    let old = with(&tracked("app", USER), json!({"eventType": "rare", "timestamp": TAKEN_MS - DAY_MS}));
    let mut events = vec![old];
    events.extend((0..4_500).map(|n| with(&tracked("app", USER), json!({"properties": {"n": n}}))));
    let served = served(&events).await;
    let first = served.get(&path(&[("eventType", "rare")])).await.exact();
    assert_eq!(first["items"], json!([]));
    let next = first["next"].as_str().unwrap();
    let second = served.get(&path(&[("eventType", "rare"), ("cursor", next)])).await.exact();
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    assert_eq!(served.pages(&path(&[("limit", "700")])).await.len(), 4_501, "of one ms");
}

#[tokio::test]
async fn erased_and_forgotten_events_are_not_shown_nor_those_of_other_users_and_apps() {
    let of = |app: &str, user: &str, id: Option<&str>| {
        let event = with(&tracked(app, user), json!({"properties": {"of": user}}));
        id.map_or(event.clone(), |id| with(&event, json!({"eventId": id})))
    };
    let mut events = vec![of("app", USER, None), of("app", USER, Some("1"))];
    events.extend([of("app", "other", None), of("app", "other", Some("2")), of("web", USER, Some("3"))]);
    let served = served(&events).await;
    assert_eq!(served.pages(&path(&[("limit", "9")])).await.len(), 2);
    let others = asked("/analytics/users/other/events", &[("appId", "app")]);
    let person = Person::User { app: "app".into(), user: "other".into() };
    assert_eq!(served.get(&others).await.exact()["items"].as_array().unwrap().len(), 2);
    served.api.ledger.erase(&person, false, call()).await.unwrap();
    assert_eq!(served.get(&others).await.exact(), json!({"items": []}));

    let later = Served::at(served.stack, NOW_MS + 40 * DAY_MS).await;
    assert_eq!(later.get(&path(&[])).await.exact(), json!({"items": []}), "past their retention");
    let bound = later.key_for(&[Scope::Read], Apps::Of(["web".to_owned()].into())).await;
    assert_eq!(later.get_as(&bound, &path(&[])).await.status, StatusCode::FORBIDDEN);
    let unknown = asked("/analytics/users/u/events", &[("appId", "none")]);
    assert_eq!(later.get(&unknown).await.status, StatusCode::NOT_FOUND);
    for (query, field) in [
        ("", "appId"),
        ("appId=app&limit=0", "limit"),
        ("appId=app&limit=1000000000", "limit"),
        ("appId=app&startTime=-1h&endTime=-2h", "startTime"),
        ("appId=app&cursor=AAAA", "cursor"),
        ("appId=app&eventid=1", "eventid"),
    ] {
        let answered = later.get(&format!("/analytics/users/u/events?{query}")).await;
        assert_eq!((answered.status, &answered.json()["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!(field)));
    }
}
