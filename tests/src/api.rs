//! The API function under test: its router on running stores, asked as a caller would.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Api, issue, router};
use axum::Router;
use axum::body::Body;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_local::cli;
use tidemark_local::stack::Stack;
use tower::ServiceExt;

use crate::{NOW_MS, exact};

/// The function on a stack of its own.
pub struct Served {
    pub stack: Stack,
    pub api: Arc<Api>,
    pub router: Router,
    /// A key of everything.
    pub key: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Answered {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.body))
    }

    /// The body as JSON, numbers as text, so that nothing passes through a float.
    pub fn exact(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        exact(&self.body)
    }
}

impl Served {
    /// The function on empty tables, at [`NOW_MS`].
    pub async fn start() -> Self {
        Self::on(Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap()).await
    }

    /// The function on a stack.
    pub async fn on(stack: Stack) -> Self {
        Self::at(stack, NOW_MS).await
    }

    /// The function on a stack, at a time.
    pub async fn at(stack: Stack, now_ms: i64) -> Self {
        let api = stack.api(Box::new(move || now_ms)).unwrap();
        let router = router(Arc::clone(&api));
        let mut served = Self { stack, api, router, key: String::new() };
        served.key = served.key_for(&[Scope::Read, Scope::Ingest, Scope::Admin], Apps::All).await;
        served
    }

    /// A new key.
    pub async fn key_for(&self, scopes: &[Scope], apps: Apps) -> String {
        let scopes: BTreeSet<Scope> = scopes.iter().copied().collect();
        let (text, key) = issue(&self.api.keys, "test", scopes, apps, NOW_MS).unwrap();
        self.api.ledger.store().put_api_key(&key).await.unwrap();
        text
    }

    /// What a GET by the key of everything answers.
    pub async fn get(&self, path: &str) -> Answered {
        self.get_as(&self.key, path).await
    }

    /// What a GET by a key answers.
    pub async fn get_as(&self, key: &str, path: &str) -> Answered {
        let request = Request::get(path).header("X-Api-Key", key).body(Body::empty()).unwrap();
        self.ask(request).await
    }

    /// What a POST of JSON by a key answers.
    pub async fn post_as(&self, key: &str, path: &str, body: impl Into<Body>) -> Answered {
        let request = Request::builder().method(Method::POST).uri(path).header("X-Api-Key", key);
        let request = request.header("Content-Type", "application/json").body(body.into()).unwrap();
        self.ask(request).await
    }

    /// What any request answers.
    pub async fn ask(&self, request: Request<Body>) -> Answered {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answered { status: parts.status, headers: parts.headers, body }
    }
}
