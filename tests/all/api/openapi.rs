//! The API's description of itself.

use std::collections::BTreeSet;

use api::openapi;
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tidemark_tests::api::Served;

use crate::golden::check;

#[tokio::test]
async fn the_description_is_served_as_it_is_committed() {
    check("../../docs/openapi.json", &openapi());
    let served = Served::start().await;
    assert_eq!(served.get_as("", "/openapi.json").await.json(), openapi());
}

/// What holds for all operations is said in one place, so that none can say less, or something else.
#[test]
fn every_operation_says_all_that_it_may_answer() {
    let (document, mut ids) = (openapi(), BTreeSet::new());
    let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let of = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{of}: its id is another's");
            assert!(operation["summary"].is_string(), "{of}");
            assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)), "{of}");
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                assert!(status.parse::<u16>().is_ok(), "{of}: {status} is no status");
                let is_shared = response["$ref"].is_string();
                let is_own = response["description"].is_string() && response["headers"].is_object();
                assert!(is_shared || is_own, "{of}: {status}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{of}: {}", parameter["name"]);
                assert!(parameter["schema"]["type"].is_string(), "{of}: {}", parameter["name"]);
            }
        }
    }
}

#[tokio::test]
async fn what_no_route_takes_is_told_as_a_problem() {
    let served = Served::start().await;
    for (method, path, expected) in [
        (Method::GET, "/nowhere", StatusCode::NOT_FOUND),
        (Method::DELETE, "/health", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PUT, "/analytics/sellers", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PATCH, "/metrics", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let request = Request::builder().method(method).uri(path).header("X-Api-Key", &served.key);
        let answered = served.ask(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answered.status, expected, "{path}");
        assert_eq!(answered.headers["content-type"], "application/problem+json");
        assert_eq!(answered.json()["status"], expected.as_u16());
        assert_eq!(answered.headers.contains_key("allow"), expected == StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
