//! The API function under test: its router on running stores, asked as a caller would.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use api::{Api, issue, router};
use axum::Router;
use axum::body::Body;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tidemark_ledger::dynamo::{ApiKey, Apps, Scope};
use tidemark_local::stack::Stack;
use tidemark_local::{cli, delivery, feed, play};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{NOW_MS, documents, exact};

/// The function on a stack of its own.
pub struct Served {
    pub stack: Stack,
    pub api: Arc<Api>,
    pub router: Router,
    /// A key of everything.
    pub key: String,
    /// The function's time, in ms since 1970.
    pub clock: Arc<AtomicI64>,
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

/// A stack with empty tables.
pub async fn stack() -> Stack {
    Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap()
}

/// A path with parameters.
pub fn asked(path: &str, parameters: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

impl Served {
    /// The function on empty tables, at [`NOW_MS`].
    pub async fn start() -> Self {
        Self::set_up(&[]).await
    }

    /// The same, set up by variables.
    pub async fn set_up(variables: &[(&str, &str)]) -> Self {
        Self::of(stack().await, variables, NOW_MS).await
    }

    /// The function on the bundled samples of all streams, at [`NOW_MS`].
    pub async fn on_samples() -> Self {
        let options = cli::Options::parse_from(["tidemark"]);
        let stack = Stack::start(&options).await.unwrap();
        let logs = feed::logs(&options.input, options.partitions).unwrap();
        play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
        Self::on(stack).await
    }

    /// The function on a stack, at [`NOW_MS`].
    pub async fn on(stack: Stack) -> Self {
        Self::of(stack, &[], NOW_MS).await
    }

    /// The function on a stack, at a time in ms since 1970.
    pub async fn at(stack: Stack, now_ms: i64) -> Self {
        Self::of(stack, &[], now_ms).await
    }

    async fn of(stack: Stack, variables: &[(&str, &str)], now_ms: i64) -> Self {
        let clock = Arc::new(AtomicI64::new(now_ms));
        let api = instance(&stack, variables, &clock);
        let mut served = Self { router: router(Arc::clone(&api)), stack, api, key: String::new(), clock };
        served.key = served.key_for(&[Scope::Read, Scope::Ingest, Scope::Admin], Apps::All).await;
        served
    }

    /// Another instance of the function on the same tables, set up by variables.
    pub fn beside(&self, variables: &[(&str, &str)]) -> Router {
        router(instance(&self.stack, variables, &self.clock))
    }

    /// Lets time pass.
    pub fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// Serves the function on a loopback port: its URL.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = axum::serve(listener, self.router.clone());
        tokio::spawn(async move { serving.await });
        url
    }

    /// A new key.
    pub async fn key_for(&self, scopes: &[Scope], apps: Apps) -> String {
        let scopes: BTreeSet<Scope> = scopes.iter().copied().collect();
        let (text, key) = issue(&self.api.keys, "test", scopes, apps, NOW_MS).unwrap();
        self.api.ledger.store().put_api_key(&key).await.unwrap();
        text
    }

    /// A key of everything, however often it asks.
    pub async fn unlimited_key(&self) -> String {
        let scopes = [Scope::Read, Scope::Ingest, Scope::Admin].into();
        let (text, key) = issue(&self.api.keys, "unlimited", scopes, Apps::All, NOW_MS).unwrap();
        let key = ApiKey { per_minute: Some(u32::MAX), ..key };
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

    /// The items of every page of a list, one after the other, numbers as text.
    pub async fn pages(&self, path: &str) -> Vec<Value> {
        let (mut items, mut page) = (Vec::new(), self.get(path).await.exact());
        loop {
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return items };
            page = self.get(&format!("{path}&cursor={next}")).await.exact();
        }
    }

    /// What a POST of JSON by a key answers.
    pub async fn post_as(&self, key: &str, path: &str, body: impl Into<Body>) -> Answered {
        let request = Request::builder().method(Method::POST).uri(path).header("X-Api-Key", key);
        let request = request.header("Content-Type", "application/json").body(body.into()).unwrap();
        self.ask(request).await
    }

    /// What a POST of JSON by the key of everything answers.
    pub async fn post(&self, path: &str, body: &Value) -> Answered {
        self.post_as(&self.key, path, body.to_string()).await
    }

    /// All views, as the tables have them.
    pub async fn documents(&self) -> Value {
        documents(&self.api.ledger.store().read_tables(NOW_MS).await.unwrap())
    }

    /// What any request answers.
    pub async fn ask(&self, request: Request<Body>) -> Answered {
        ask(&self.router, request).await
    }
}

fn instance(stack: &Stack, variables: &[(&str, &str)], clock: &Arc<AtomicI64>) -> Arc<Api> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let clock = Arc::clone(clock);
    stack.api_with(variable, Box::new(move || clock.load(Ordering::Relaxed))).unwrap()
}

/// What an instance answers.
pub async fn ask(router: &Router, request: Request<Body>) -> Answered {
    let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answered { status: parts.status, headers: parts.headers, body }
}

/// A GET by a key, or by a token where it is none.
pub fn get(credentials: &str, path: &str) -> Request<Body> {
    let request = Request::get(path);
    let request = match credentials {
        "" => request,
        key if key.starts_with("tm_") => request.header("X-Api-Key", key),
        token => request.header("Authorization", format!("Bearer {token}")),
    };
    request.body(Body::empty()).unwrap()
}
