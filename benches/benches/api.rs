//! The API: what a request costs in CPU, as one instance of the function answers it, and how 50 clients fare with a mix of
//! reads. The store runs on another thread of this process; requests to it are counted.
//!
//! ```text
//! cargo bench --bench api
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::{Api, issue, router};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use clap::Parser;
use cpu_time::ThreadTime;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tidemark_ledger::dynamo::{Apps, DynamoStore, Scope, Tables};
use tidemark_ledger::{Ledger, Options as LedgerOptions};
use tidemark_local::cli::Options;
use tidemark_local::stack::{STATE_TABLE, Stack, VIEWS_TABLE};
use tidemark_model::Settings;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower::ServiceExt;

/// 2025-01-02T12:00.
const NOW_MS: i64 = 1_735_819_200_000;
/// Requests of one kind that are measured.
const REQUESTS: u32 = 500;
/// The mixed load.
const CLIENTS: usize = 50;
const LOAD: Duration = Duration::from_secs(10);

/// What is asked, and how often of ten in the mix.
const MIX: [(&str, &str, usize); 6] = [
    ("dashboard of a day", "/analytics/dashboards/app-3", 3),
    (
        "metric over 6 h, by pod",
        "/analytics/metrics?appId=app-3&metricName=latency&startTime=-6h&window=15m&groupBy=pod",
        2,
    ),
    ("timeline, 20 events", "/analytics/users/user-7/events?appId=app-3&limit=20", 2),
    ("one seller", "/analytics/sellers/seller-5", 1),
    ("100 sellers", "/analytics/sellers?limit=100", 1),
    ("top 10 products", "/analytics/sales/products?top=10", 1),
];

#[derive(Clone, Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_dynamodb::error::BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn main() {
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stack = server.block_on(Stack::start(&Options::parse_from(["tidemark"]))).unwrap();
    server.block_on(fill(&stack));
    let requests = Counted::default();
    let api = api(&stack, &requests);
    let key = server.block_on(key(&api));

    println!("One request at a time, medians of {REQUESTS}\n");
    println!("| asked | requests to the store | CPU ms | wall ms | KB |\n|---|---|---|---|---|");
    let instance = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let routes = router(Arc::clone(&api));
    for (what, path, _) in MIX {
        instance.block_on(alone(&routes, &requests, what, path, &key));
    }
    let single = instance.block_on(single_reads(&stack));
    println!("| (a GetItem by the SDK alone) | 1 | {single:.3} | | |");

    let (mut all, cpu, asked) = load(&stack, &key, server);
    all.sort_unstable();
    let at = |q: f64| all[((all.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!("\n{CLIENTS} clients at one instance for {} s: {} answers", LOAD.as_secs(), all.len());
    println!("p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.9), at(0.99));
    println!(
        "{:.3} ms of CPU and {:.2} requests to the store for each",
        cpu.as_secs_f64() * 1e3 / all.len() as f64,
        asked as f64 / all.len() as f64
    );
}

/// A day of ten apps, and a shop.
async fn fill(stack: &Stack) {
    let invoke = async |topic: &str, values: Vec<String>| {
        let encoded = values.iter().enumerate().map(|(offset, value)| {
            let value = base64_simd::STANDARD.encode_to_string(value);
            json!({"topic": topic, "partition": 0, "offset": offset, "timestamp": NOW_MS, "value": value, "headers": []})
        });
        let list = format!("{topic}-0");
        let payload = json!({"eventSourceArn": "bench", "records": {list: encoded.collect::<Vec<_>>()}}).to_string();
        let call = tidemark_ledger::Call { now_ms: NOW_MS, deadline: None };
        let (report, outcome) = stack.aggregate.handle(Bytes::from(payload), call).await;
        outcome.unwrap();
        assert!(report.rejects.is_empty());
    };
    let at = |n: i64| NOW_MS - n * 8_640;
    let event = |n: i64| {
        json!({"appId": format!("app-{}", n % 10), "userId": format!("user-{}", n % 97), "eventType": "click",
            "eventName": format!("name-{}", n % 31), "sessionId": n % 500, "timestamp": at(n), "properties": {"n": n}})
    };
    let point = |n: i64| {
        json!({"appId": format!("app-{}", n % 10), "metricName": if n % 3 == 0 { "latency" } else { "size" },
            "metricType": "timer", "value": n % 1000, "tags": {"pod": n % 4}, "timestamp": at(n)})
    };
    let product = |n: i64| {
        json!({"eventType": "ProductCreated", "timestamp": at(n), "data": {"productId": n, "sellerId": format!("seller-{}", n % 500),
            "name": "p", "price": 2.5, "quantity": n % 40, "category": format!("c-{}", n % 20)}})
    };
    let item = |n: i64| {
        let after = json!({"id": n, "order_id": n, "product_id": n % 300, "quantity": 1, "price": format!("{}.50", n % 300), "created_at": at(n)});
        json!({"before": null, "after": after, "op": "c", "ts_ms": at(n), "source": {"ts_ms": at(n), "lsn": n, "table": "order_items"}})
    };
    let texts =
        |value: &dyn Fn(i64) -> serde_json::Value, count: i64| (0..count).map(|n| value(n).to_string()).collect();
    invoke("analytics.events", texts(&event, 5_000)).await;
    invoke("analytics.metrics", texts(&point, 5_000)).await;
    invoke("product.created", texts(&product, 2_000)).await;
    invoke("db.public.order_items", texts(&item, 2_000)).await;
}

/// An instance of the function, whose requests to the store are counted.
fn api(stack: &Stack, requests: &Counted) -> Arc<Api> {
    let config = stack.clients.dynamodb.config().to_builder().interceptor(requests.clone()).build();
    let tables = Tables { state: STATE_TABLE.to_owned(), views: VIEWS_TABLE.to_owned() };
    let store = DynamoStore::new(Client::from_conf(config), tables);
    let variables = |name: &str| match name {
        "API_SECRET" => Some("a secret of the benchmark, which is none".to_owned()),
        "RATE_LIMIT_PER_MINUTE" => Some("1000000".to_owned()),
        _ => None,
    };
    let options = api::Options::read(variables).unwrap();
    let ledger = Ledger::new(store, LedgerOptions::default());
    Arc::new(Api::new(ledger, Settings::default(), options, Box::new(|| NOW_MS)))
}

async fn key(api: &Api) -> String {
    let (text, key) = issue(&api.keys, "bench", [Scope::Read].into(), Apps::All, NOW_MS).unwrap();
    api.ledger.store().put_api_key(&key).await.unwrap();
    text
}

async fn alone(routes: &Router, requests: &Counted, what: &str, path: &str, key: &str) {
    let (mut cpu, mut wall, mut bytes) = (Vec::new(), Vec::new(), 0);
    let (mut fewest, mut most) = (usize::MAX, 0);
    for n in 0..REQUESTS + 20 {
        let request = Request::get(path).header("X-Api-Key", key).body(Body::empty()).unwrap();
        requests.0.store(0, Ordering::Relaxed);
        let (started, on_cpu) = (Instant::now(), ThreadTime::now());
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let spent = (on_cpu.elapsed(), started.elapsed());
        assert_eq!(status, 200, "{path}: {body:?}");
        // The first ones read the caller's key and make connections.
        if n >= 20 {
            cpu.push(spent.0);
            wall.push(spent.1);
            let asked = requests.0.load(Ordering::Relaxed);
            (fewest, most) = (fewest.min(asked), most.max(asked));
        }
        bytes = body.len();
    }
    let ms = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[all.len() / 2].as_secs_f64() * 1e3
    };
    println!("| {what} | {fewest} to {most} | {:.3} | {:.2} | {:.1} |", ms(cpu), ms(wall), bytes as f64 / 1e3);
}

/// CPU of one read by the SDK: what a request to the store costs at least, in ms.
async fn single_reads(stack: &Stack) -> f64 {
    let mut all = Vec::new();
    for _ in 0..REQUESTS {
        let on_cpu = ThreadTime::now();
        let key = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let read = stack.clients.dynamodb.get_item().table_name(VIEWS_TABLE);
        read.key("PK", key("SELLER#seller-5")).key("SK", key("METRICS#CURRENT")).send().await.unwrap();
        all.push(on_cpu.elapsed());
    }
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e3
}

/// The latencies of all answers, the CPU of the instance, and its requests to the store.
fn load(stack: &Stack, key: &str, clients: tokio::runtime::Runtime) -> (Vec<Duration>, Duration, usize) {
    let requests = Counted::default();
    let api = api(stack, &requests);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let instance = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let started = ThreadTime::now();
        runtime.block_on(async {
            let serving = axum::serve(TcpListener::from_std(listener).unwrap(), router(api));
            serving.with_graceful_shutdown(async { drop(stopped.await) }).await.unwrap();
        });
        started.elapsed()
    });
    let latencies = clients.block_on(async {
        let until = Instant::now() + LOAD;
        let all = (0..CLIENTS).map(|n| tokio::spawn(client(address, key.to_owned(), n, until)));
        join_all(all).await.into_iter().flat_map(Result::unwrap).collect()
    });
    stop.send(()).unwrap();
    let cpu = instance.join().unwrap();
    (latencies, cpu, requests.0.load(Ordering::Relaxed))
}

async fn client(address: std::net::SocketAddr, key: String, first: usize, until: Instant) -> Vec<Duration> {
    let paths: Vec<&str> = MIX.iter().flat_map(|(_, path, share)| std::iter::repeat_n(*path, *share)).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut latencies = Vec::new();
    for n in first.. {
        if Instant::now() >= until {
            break;
        }
        let request = Request::get(paths[n % paths.len()]).header("Host", "localhost").header("X-Api-Key", &key);
        let started = Instant::now();
        let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        latencies.push(started.elapsed());
    }
    latencies
}
