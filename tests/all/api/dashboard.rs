//! Dashboards over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Api, router};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept};
use aws_sdk_dynamodb::error::BoxError;
use clap::Parser;
use fastrand::Rng;
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_ledger::Ledger;
use tidemark_ledger::dynamo::{Apps, DynamoStore, Scope, Tables};
use tidemark_local::cli::Options;
use tidemark_local::stack::{STATE_TABLE, Stack, VIEWS_TABLE};
use tidemark_model::Settings;
use tidemark_model::time::{DAY_MS, MINUTE_MS, utc};
use tidemark_tests::api::{Served, asked};
use tidemark_tests::values::{TAKEN_MS, metric, tracked, with};
use tidemark_tests::{NOW_MS, handle, invocation, options};

const QUARTER_MS: i64 = 15 * MINUTE_MS;

/// Requests to the store.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Any events of twelve days; some come again.
fn events(rng: &mut Rng) -> Vec<Value> {
    let mut events: Vec<Value> = (0..600)
        .map(|n| {
            let at = TAKEN_MS - rng.i64(0..12 * 96) * QUARTER_MS + rng.choice([0, 1, -1, 400_000]).unwrap();
            let (user, session) = (rng.u8(..9), rng.u8(..20));
            with(
                &tracked("app", &format!("u{user}")),
                json!({
                    "eventType": rng.choice(["a", "b#"]), "eventName": format!("n{}", rng.u8(..15)), "timestamp": at,
                    "sessionId": format!("s{session}"), "properties": {"n": n},
                }),
            )
        })
        .collect();
    events.extend(events.clone().into_iter().take(100));
    events.push(tracked("other", "u"));
    events
}

async fn send(served: &Served, topic: &str, values: &[Value]) {
    let values: Vec<String> = values.iter().map(Value::to_string).collect();
    handle(&served.stack.aggregate, invocation(topic, 0, 0, &values)).await;
}

fn at(event: &Value) -> i64 {
    event["timestamp"].as_i64().unwrap()
}

fn date(ms: i64) -> String {
    utc(ms)[..10].to_owned()
}

/// The dashboard of an app whose events these are, from one quarter of an hour to another.
fn expected(events: &[Value], from: i64, to: i64) -> Value {
    let mut all: BTreeMap<i64, &Value> = BTreeMap::new();
    all.extend(events.iter().filter_map(|event| Some((event["properties"]["n"].as_i64()?, event))));
    let in_range: Vec<i64> = all.values().map(|event| at(event)).filter(|at| (from..to).contains(at)).collect();
    let dates: Vec<String> =
        (from.div_euclid(DAY_MS)..=(to - 1).div_euclid(DAY_MS)).map(|d| date(d * DAY_MS)).collect();
    let of_day = |on: &String| all.values().filter(|event| date(at(event)) == **on).copied().collect::<Vec<&Value>>();
    let distinct = |on: &String, field: &str| {
        of_day(on).iter().map(|event| event[field].to_string()).collect::<BTreeSet<_>>().len()
    };
    let users: Vec<usize> = dates.iter().map(|on| distinct(on, "userId")).collect();
    let sessions: Vec<usize> = dates.iter().map(|on| distinct(on, "sessionId")).collect();
    let day = |(at, on): (usize, &String)| {
        let events = of_day(on).len().to_string();
        json!({"date": on, "events": events, "activeUsers": users[at].to_string(), "sessions": sessions[at].to_string()})
    };
    let mut names: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in dates.iter().flat_map(of_day) {
        *names.entry((event["eventType"].as_str().unwrap(), event["eventName"].as_str().unwrap())).or_default() += 1;
    }
    let mut top: Vec<_> = names.into_iter().collect();
    top.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let top = top.into_iter().take(10);
    let top = top.map(|((kind, name), n)| json!({"eventType": kind, "eventName": name, "events": n.to_string()}));
    let (window, width) = match (to - from) / QUARTER_MS {
        ..=144 => ("15m", QUARTER_MS),
        145..=960 => ("1h", 4 * QUARTER_MS),
        _ => ("1d", DAY_MS),
    };
    let windows = (from.div_euclid(width)..=(to - 1).div_euclid(width)).map(|window| {
        let n = in_range.iter().filter(|at| at.div_euclid(width) == window).count();
        json!({"start": utc(window * width), "events": n.to_string()})
    });
    json!({
        "appId": "app", "from": utc(from), "to": utc(to),
        "summary": {
            "totalEvents": in_range.len().to_string(), "activeUsers": users.iter().max().unwrap().to_string(),
            "sessions": sessions.iter().sum::<usize>().to_string(),
            "days": dates.iter().enumerate().map(day).collect::<Vec<_>>(),
        },
        "topEvents": {
            "fromDate": dates[0], "toDate": dates[dates.len() - 1], "isComplete": true, "items": top.collect::<Vec<_>>(),
        },
        "window": window, "events": windows.collect::<Vec<_>>(), "metrics": [],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_is_what_the_events_say() {
    let mut rng = Rng::with_seed(5);
    let events = events(&mut rng);
    let served = Served::start().await;
    send(&served, "analytics.events", &events).await;
    for longest in [DAY_MS, 3 * DAY_MS, 12 * DAY_MS] {
        for _ in 0..15 {
            let start = NOW_MS - rng.i64(1..14 * DAY_MS);
            let end = start + rng.i64(1..longest);
            let path = asked("/analytics/dashboards/app", &[("startTime", &utc(start)), ("endTime", &end.to_string())]);
            let (from, to) = (start.div_euclid(QUARTER_MS), (end - 1).div_euclid(QUARTER_MS) + 1);
            assert_eq!(
                served.get(&path).await.exact(),
                expected(&events, from * QUARTER_MS, to * QUARTER_MS),
                "{path}"
            );
        }
    }
    let days: Vec<Value> = expected(&events, NOW_MS - DAY_MS, NOW_MS)["events"].as_array().unwrap().clone();
    let by_default = served.get("/analytics/dashboards/app").await.exact();
    assert_eq!(by_default["events"].as_array().unwrap(), &days, "the last day");
}

#[tokio::test]
async fn a_dashboard_shows_the_newest_metrics() {
    let served = Served::start().await;
    let named = |name: &str, value: i64, pod: &str, at: i64| {
        with(&metric("app", value, json!({"pod": pod})), json!({"metricName": name, "timestamp": at}))
    };
    let now = TAKEN_MS + 10 * MINUTE_MS;
    let mut points = vec![named("b", 1, "x", now - QUARTER_MS), named("b", 5, "x", now), named("b", -2, "y", now)];
    points.extend(["a", "c", "d"].map(|name| named(name, 7, "x", now)));
    points.push(named("e", 7, "x", now - 2 * DAY_MS));
    send(&served, "analytics.metrics", &points).await;
    let found = served.get("/analytics/dashboards/app?startTime=-5d").await.exact();
    let metric = |name: &str, count: i64, mean: &str, min: i64, max: i64| {
        json!({
            "metricName": name, "metricType": "timer", "start": utc(TAKEN_MS), "count": count.to_string(),
            "mean": mean, "min": min.to_string(), "max": max.to_string(), "isComplete": true,
        })
    };
    assert_eq!(
        found["metrics"],
        json!([metric("a", 1, "7", 7, 7), metric("b", 2, "1.5", -2, 5), metric("c", 1, "7", 7, 7)])
    );
    assert_eq!(found["summary"]["totalEvents"], "0");
}

#[tokio::test]
async fn a_dashboard_takes_at_most_eight_requests_to_the_store() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let counted = Counted::default();
    let config = stack.clients.dynamodb.config().to_builder().interceptor(counted.clone()).build();
    let tables = Tables { state: STATE_TABLE.to_owned(), views: VIEWS_TABLE.to_owned() };
    let ledger = Ledger::new(DynamoStore::new(Client::from_conf(config), tables), options(0));
    let secret = |name: &str| (name == "API_SECRET").then(|| "s".repeat(32));
    let set = api::Options::read(secret).unwrap();
    let api = Arc::new(Api::new(ledger, Settings::default(), set, Box::new(|| NOW_MS)));
    let (router, clock) = (router(Arc::clone(&api)), Arc::default());
    let mut served = Served { stack, router, api, key: String::new(), clock };
    served.key = served.key_for(&[Scope::Read], Apps::All).await;
    send(&served, "analytics.events", &events(&mut Rng::with_seed(1))).await;
    let points: Vec<Value> = (0..200)
        .map(|n| with(&metric("app", n, json!({"n": n})), json!({"metricName": format!("m{}", n % 10)})))
        .collect();
    send(&served, "analytics.metrics", &points).await;
    for (path, metrics) in [("/analytics/dashboards/app?startTime=-90d", 3), ("/analytics/dashboards/app", 3)] {
        counted.0.store(0, Ordering::SeqCst);
        let found = served.get(path).await.json();
        let requests = counted.0.load(Ordering::SeqCst);
        assert_eq!(found["metrics"].as_array().unwrap().len(), metrics);
        assert!((4..=8).contains(&requests), "{requests} requests for {path}");
    }
}

#[tokio::test]
async fn an_app_without_anything_in_the_range_has_zeros_and_an_unknown_one_is_not_found() {
    let served = Served::start().await;
    send(&served, "analytics.events", &[tracked("a/b#😀", "u")]).await;
    send(&served, "analytics.metrics", &[metric("measured", 1, json!({}))]).await;
    for app in ["a%2Fb%23%F0%9F%98%80", "measured"] {
        let path = format!("/analytics/dashboards/{app}?startTime=-20d&endTime=-19d");
        let found = served.get(&path).await.exact();
        let summary = &found["summary"];
        assert_eq!(
            (&summary["totalEvents"], &summary["activeUsers"], &summary["sessions"]),
            (&json!("0"), &json!("0"), &json!("0"))
        );
        assert!(found["events"].as_array().unwrap().iter().all(|window| window["events"] == "0"));
    }
    for app in ["none", "%00", "%F4%8F%BF%BF", &"x".repeat(3_000)] {
        let answered = served.get(&format!("/analytics/dashboards/{app}")).await;
        assert_eq!(answered.status, StatusCode::NOT_FOUND, "{app}");
    }
    let bound = served.key_for(&[Scope::Read], Apps::Of(["b".to_owned()].into())).await;
    assert_eq!(served.get_as(&bound, "/analytics/dashboards/measured").await.status, StatusCode::FORBIDDEN);
    for query in [
        "startTime=-93d",
        "startTime=now&endTime=-1h",
        "startTime=1&endTime=2&endTime=3",
        "limit=1",
        "startTime=-1000000d",
    ] {
        let answered = served.get(&format!("/analytics/dashboards/measured?{query}")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
