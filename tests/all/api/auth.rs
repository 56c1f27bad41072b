//! Who is let in, what browsers may do, and what stands around every request.

use std::io::Write;
use std::sync::{Arc, Mutex};

use api::{BODY_BYTES, layered};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing;
use http::{Method, Request, StatusCode};
use serde_json::json;
use tidemark_ledger::dynamo::{ApiKey, Apps, Scope};
use tidemark_tests::NOW_MS;
use tidemark_tests::api::{Answered, Served, ask, get};
use tidemark_tests::tokens::Issuer;

const SELLERS: &str = "/analytics/sellers";
const ORIGIN: &str = "https://app.example";

/// Every error is a problem that names the request.
fn is_problem(answered: &Answered, status: StatusCode) {
    assert_eq!(answered.status, status, "{}", answered.body);
    assert_eq!(answered.headers["content-type"], "application/problem+json");
    let problem = answered.json();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["correlationId"], answered.headers["x-correlation-id"].to_str().unwrap());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    if let Some(length) = answered.headers.get("content-length") {
        assert_eq!(length.to_str().unwrap(), answered.body.len().to_string());
    }
}

#[tokio::test]
async fn a_key_comes_in_either_header() {
    let served = Served::start().await;
    for (name, value) in [
        ("X-Api-Key", served.key.clone()),
        ("Authorization", format!("Bearer {}", served.key)),
        ("authorization", format!("bearer  {}", served.key)),
    ] {
        let request = Request::get(SELLERS).header(name, value).body(Body::empty()).unwrap();
        assert_eq!(served.ask(request).await.status, StatusCode::OK, "{name}");
    }
    for value in [served.key.clone(), format!("Basic {}", served.key), "Bearer".to_owned(), "Bearer ".to_owned()] {
        let request = Request::get(SELLERS).header("Authorization", value).body(Body::empty()).unwrap();
        let answered = served.ask(request).await;
        is_problem(&answered, StatusCode::UNAUTHORIZED);
        assert_eq!(answered.headers["www-authenticate"], "Bearer");
    }
    let odd = Request::get(SELLERS).header("X-Api-Key", &b"tm_\xe9_x"[..]).body(Body::empty()).unwrap();
    is_problem(&served.ask(odd).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_that_is_revoked_is_dead_within_a_minute_and_one_that_expires_at_once() {
    let served = Served::start().await;
    let text = served.key_for(&[Scope::Read], Apps::All).await;
    assert_eq!(served.get_as(&text, SELLERS).await.status, StatusCode::OK);
    ends(&served, &text, NOW_MS).await;
    served.pass(59_999);
    assert_eq!(served.get_as(&text, SELLERS).await.status, StatusCode::OK);
    served.pass(1);
    is_problem(&served.get_as(&text, SELLERS).await, StatusCode::UNAUTHORIZED);
    // Another instance never knew it.
    let answered = ask(&served.beside(&[]), get(&text, SELLERS)).await;
    is_problem(&answered, StatusCode::UNAUTHORIZED);

    let text = served.key_for(&[Scope::Read], Apps::All).await;
    ends(&served, &text, NOW_MS + 60_500).await;
    assert_eq!(served.get_as(&text, SELLERS).await.status, StatusCode::OK);
    served.pass(500);
    is_problem(&served.get_as(&text, SELLERS).await, StatusCode::UNAUTHORIZED);
}

/// Lets a key end, at a time in ms since 1970.
pub(super) async fn ends(served: &Served, text: &str, expires_ms: i64) {
    let store = served.api.ledger.store();
    let key = store.api_key(ApiKey::split(text).unwrap().0).await.unwrap().value.unwrap();
    store.put_api_key(&ApiKey { expires_ms: Some(expires_ms), ..key }).await.unwrap();
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_and_no_other() {
    let served = Served::set_up(&[("ALLOWED_ORIGINS", ORIGIN)]).await;
    let preflight = |origin: &str| {
        Request::builder()
            .method(Method::OPTIONS)
            .uri(SELLERS)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "x-api-key,idempotency-key")
            .body(Body::empty())
            .unwrap()
    };
    let allowed = served.ask(preflight(ORIGIN)).await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.headers["access-control-allow-origin"], ORIGIN);
    let headers = allowed.headers["access-control-allow-headers"].to_str().unwrap();
    for name in ["x-api-key", "authorization", "idempotency-key", "x-correlation-id", "if-none-match"] {
        assert!(headers.contains(name), "{name} in {headers}");
    }
    for origin in ["https://app.example.evil.test", "http://app.example", "null"] {
        let refused = served.ask(preflight(origin)).await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
    let from = |origin: &str, tag: &str| {
        let request = Request::get(SELLERS).header("X-Api-Key", &served.key).header("Origin", origin);
        request.header("If-None-Match", tag).body(Body::empty()).unwrap()
    };
    let answered = served.ask(from(ORIGIN, "")).await;
    assert_eq!(answered.headers["access-control-allow-origin"], ORIGIN);
    let exposed = answered.headers["access-control-expose-headers"].to_str().unwrap();
    for name in ["etag", "x-correlation-id", "retry-after"] {
        assert!(exposed.contains(name), "{name} in {exposed}");
    }
    // Browsers want the origin on what has not changed, too, and on problems.
    let unchanged = served.ask(from(ORIGIN, answered.headers["etag"].to_str().unwrap())).await;
    assert_eq!((unchanged.status, unchanged.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(unchanged.headers["access-control-allow-origin"], ORIGIN);
    let nobody = Request::get(SELLERS).header("Origin", ORIGIN).body(Body::empty()).unwrap();
    let problem = served.ask(nobody).await;
    is_problem(&problem, StatusCode::UNAUTHORIZED);
    assert_eq!(problem.headers["access-control-allow-origin"], ORIGIN);
}

#[tokio::test]
async fn without_allowed_origins_no_page_may_ask() {
    let served = Served::start().await;
    let request = Request::get(SELLERS).header("X-Api-Key", &served.key).header("Origin", ORIGIN);
    let answered = served.ask(request.body(Body::empty()).unwrap()).await;
    assert!(!answered.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem() {
    let served = Served::start().await;
    is_problem(&served.get("/nothing/here").await, StatusCode::NOT_FOUND);
    is_problem(&served.get_as("", "/nothing/here").await, StatusCode::NOT_FOUND);
    let wrong = Request::delete(SELLERS).header("X-Api-Key", &served.key).body(Body::empty()).unwrap();
    let wrong = served.ask(wrong).await;
    is_problem(&wrong, StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong.headers["allow"].to_str().unwrap().contains("GET"));

    // Routes that read a body, or do not come back.
    let routes = Router::new()
        .route("/body", routing::post(|body: Bytes| async move { body.len().to_string() }))
        .route("/json", routing::post(|_: axum::Json<serde_json::Value>| async { "taken" }))
        .route("/panic", routing::get(panics));
    let router = layered(Arc::clone(&served.api), routes);
    let post = |path: &str, bytes: usize, kind: &str| {
        Request::post(path).header("Content-Type", kind).body(Body::from(vec![b' '; bytes])).unwrap()
    };
    assert_eq!(ask(&router, post("/body", BODY_BYTES, "text/plain")).await.body, BODY_BYTES.to_string());
    is_problem(&ask(&router, post("/body", BODY_BYTES + 1, "text/plain")).await, StatusCode::PAYLOAD_TOO_LARGE);
    // Said to be larger, it is not even read.
    let said = Request::post("/json").header("Content-Length", "10000000").body(Body::empty()).unwrap();
    is_problem(&ask(&router, said).await, StatusCode::PAYLOAD_TOO_LARGE);
    is_problem(&ask(&router, post("/json", 10, "text/plain")).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    is_problem(&ask(&router, post("/json", 10, "application/json")).await, StatusCode::BAD_REQUEST);
    is_problem(&ask(&router, get("", "/panic")).await, StatusCode::INTERNAL_SERVER_ERROR);
    let caught = Request::get("/panic").header("X-Correlation-Id", "mine").body(Body::empty()).unwrap();
    assert_eq!(ask(&router, caught).await.json()["correlationId"], json!("mine"));
}

async fn panics() -> StatusCode {
    panic!("of a test")
}

/// Where logs go that a test reads.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_key_and_no_token_is_ever_logged_or_answered() {
    let logged = Logged::default();
    let writer = logged.clone();
    let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    // Of a single subscriber, tracing lets whichever thread comes upon a line first decide whether it is ever logged, and
    // other tests have none.
    let _another = tracing::Dispatch::new(all.with_writer(std::io::sink).finish());
    let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // Of this thread, on which the test runs with all that it starts.
    let _logging = tracing::subscriber::set_default(all.finish());
    let issuer = Issuer::start().await;
    let served = Served::set_up(&issuer.variables()).await;
    let (token, forged) = (issuer.token("read", json!("*")), format!("{}A", issuer.token("read", json!("*"))));
    let other = format!("{}0", served.key);
    let asked = [&served.key, &other, &token, &forged];
    for credentials in asked {
        for path in [SELLERS, "/analytics/sellers/x?limit=0", "/analytics/sellers?cursor=x"] {
            let answered = served.ask(get(credentials, path)).await;
            let bearer = Request::get(path).header("Authorization", format!("Bearer {credentials}"));
            let again = served.ask(bearer.body(Body::empty()).unwrap()).await;
            for answered in [answered, again] {
                let headers = format!("{:?}", answered.headers);
                assert!(!answered.body.contains(credentials.as_str()) && !headers.contains(credentials.as_str()));
            }
        }
    }
    let logs = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(logs.contains("request answered"), "logs are not read");
    let secret = ApiKey::split(&served.key).unwrap().1;
    let signature = token.rsplit('.').next().unwrap();
    for secret in [secret, signature, token.as_str()] {
        assert!(!logs.contains(secret), "a secret is logged");
    }
}
