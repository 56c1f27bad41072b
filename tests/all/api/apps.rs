//! Apps over HTTP.

use http::StatusCode;
use serde_json::{Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_tests::api::{Served, asked};
use tidemark_tests::values::{tracked, with};
use tidemark_tests::{handle, invocation};

/// Apps whose ids stand close to each other's, and more types of one than a page shows.
async fn served() -> Served {
    let served = Served::start().await;
    let mut events: Vec<Value> = ["web", "web!", "web#x", "web%", "we", "é😀"].map(|app| tracked(app, "u")).into();
    events.push(with(&tracked("web", "v"), json!({"eventType": "a#b"})));
    events.push(with(&tracked("web", "v"), json!({"eventType": "a#b", "eventName": "other"})));
    events.extend((0..1_100).map(|n| with(&tracked("many", "u"), json!({"eventType": format!("t{n:04}")}))));
    let events: Vec<String> = events.iter().map(Value::to_string).collect();
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 0, &events)).await;
    served
}

fn app(id: &str, types: Value) -> Value {
    let events: i64 = types.as_object().unwrap().values().map(|n| n.as_str().unwrap().parse::<i64>().unwrap()).sum();
    json!({"appId": id, "events": events.to_string(), "types": types})
}

fn sorted(mut apps: Vec<Value>) -> Vec<Value> {
    apps.sort_by_key(|app| app["appId"].as_str().unwrap().to_owned());
    apps
}

#[tokio::test]
async fn all_apps_have_their_totals_by_type() {
    let served = served().await;
    let once = json!({"page_view": "1"});
    for limit in ["1", "2", "1000"] {
        let mut found = served.pages(&asked("/analytics/apps", &[("limit", limit)])).await;
        let many: Vec<Value> = found.iter().filter(|app| app["appId"] == "many").cloned().collect();
        found.retain(|app| app["appId"] != "many");
        let types: usize = many.iter().map(|app| app["types"].as_object().unwrap().len()).sum();
        assert_eq!((many.len(), types), (2, 1_100), "an app of more types than a page shows goes on");
        let expected = [
            app("we", once.clone()),
            app("web!", once.clone()),
            app("web", json!({"a#b": "2", "page_view": "1"})),
            app("web#x", once.clone()),
            app("web%", once.clone()),
            app("é😀", once.clone()),
        ];
        assert_eq!(sorted(found), sorted(expected.into()), "limit {limit}");
    }
}

#[tokio::test]
async fn a_caller_of_some_apps_sees_those_alone() {
    let served = served().await;
    let bound: Vec<String> = ["web", "none", "many"].map(str::to_owned).into();
    let key = served.key_for(&[Scope::Read], Apps::Of(bound.into_iter().collect())).await;
    let served = Served { key, ..served };
    for limit in ["1", "1000"] {
        let found = served.pages(&asked("/analytics/apps", &[("limit", limit)])).await;
        let mut ids: Vec<&str> = found.iter().map(|app| app["appId"].as_str().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids, ["many", "none", "web"], "limit {limit}");
        assert_eq!(found[found.len() - 2], app("none", json!({})));
        assert_eq!(found[found.len() - 1], app("web", json!({"a#b": "2", "page_view": "1"})));
    }
    let blind = served.key_for(&[Scope::Ingest], Apps::All).await;
    assert_eq!(served.get_as(&blind, "/analytics/apps").await.status, StatusCode::FORBIDDEN);
    for query in ["limit=0", "limit=1000000000", "limit=x", "cursor=x", "appId=web"] {
        let answered = served.get(&format!("/analytics/apps?{query}")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
