//! Sellers over HTTP.

use http::{Request, StatusCode};
use serde_json::{Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_tests::api::Served;
use tidemark_tests::{documents, handle};

use super::{encoded, pages};
use crate::audit::everything;

#[tokio::test]
async fn pages_of_sellers_are_all_sellers() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let tables = served.api.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap();
    let expected = documents(&tables)["sellers"].clone();
    let (sellers, _) = pages(&served, "/analytics/sellers?limit=1").await;
    assert!(sellers.len() > 1);
    assert_eq!(Value::from(sellers.clone()), expected);
    for seller in sellers {
        let id = seller["sellerId"].as_str().unwrap();
        assert_eq!(served.get(&format!("/analytics/sellers/{}", encoded(id))).await.exact(), seller);
    }
}

#[tokio::test]
async fn an_answer_that_the_caller_has_is_not_sent_again() {
    let served = Served::start().await;
    let first = served.get("/analytics/sellers").await;
    let tag = first.headers["etag"].to_str().unwrap();
    let again = Request::get("/analytics/sellers").header("X-Api-Key", &served.key).header("If-None-Match", tag);
    let again = served.ask(again.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(again.headers["etag"], first.headers["etag"]);
}

#[tokio::test]
async fn only_callers_of_all_apps_see_the_shop() {
    let served = Served::start().await;
    let bound = served.key_for(&[Scope::Read], Apps::Of(["web".to_owned()].into())).await;
    let blind = served.key_for(&[Scope::Ingest], Apps::All).await;
    for key in [&bound, &blind] {
        let answered = served.get_as(key, "/analytics/sellers").await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN);
    }
    for key in ["", "tm_x_y", "x", &format!("{}0", served.key)] {
        let answered = served.get_as(key, "/analytics/sellers").await;
        assert_eq!(answered.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answered.headers["content-type"], "application/problem+json");
        assert_eq!(answered.json()["correlationId"], answered.headers["x-correlation-id"].to_str().unwrap());
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_one_caller_and_one_question() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let other = served.key_for(&[Scope::Read], Apps::All).await;
    let next = served.get("/analytics/sellers?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    let path = format!("/analytics/sellers?cursor={next}");
    assert_eq!(served.get(&path).await.status, StatusCode::OK);
    let forged = served.get(&path.replace(&next[..4], "AAAA")).await;
    for answered in [served.get_as(&other, &path).await, forged] {
        assert_eq!(answered.status, StatusCode::BAD_REQUEST);
        assert_eq!(answered.json()["errors"][0]["field"], json!("cursor"));
    }
}
