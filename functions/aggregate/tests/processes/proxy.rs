//! A proxy between the function and a store, which does to requests what networks and busy services do.
//!
//! What is known of such proxies (toxiproxy, for one) works on bytes: it delays and cuts connections. Most of
//! what the commit protocol is for takes whole requests: done but not answered, done twice, done when its
//! sender is long gone. So this is our own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Of so many requests, one meets a fault.
const FAULT_IN: u32 = 9;
/// Of so many requests, one begins an outage, in which none is answered as it should be.
const OUTAGE_IN: u32 = 1_500;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It is done, but later.
    Delayed,
    /// It is answered 500 and not done.
    Failed,
    /// It is refused as too much, and not done.
    Throttled,
    /// It is done, and answered 502.
    FailedAfter,
    /// It is done, and the connection ends without an answer.
    Dropped,
    /// It is done, and the connection ends in the middle of the answer.
    Cut,
    /// It is done twice, the second time a while after the answer to the first.
    Doubled,
    /// The connection ends without an answer, and a while later it is done.
    Late,
    /// It is not done for so long that its sender has given it up.
    Hung,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::Delayed,
        Self::Failed,
        Self::Throttled,
        Self::FailedAfter,
        Self::Dropped,
        Self::Cut,
        Self::Doubled,
        Self::Late,
        Self::Hung,
    ];
}

/// Which store's tongue refusals are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    DynamoDb,
    S3,
}

/// A running proxy.
pub(crate) struct Proxy {
    /// Where the function finds it.
    pub(crate) url: String,
    wire: Arc<Wire>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

struct Wire {
    tongue: Tongue,
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    rng: Mutex<fastrand::Rng>,
    calm: AtomicBool,
    outage_until: Mutex<Instant>,
    /// Requests that are still to be done or are being done, whoever waits for them.
    on_their_way: AtomicUsize,
    requests: AtomicUsize,
    faults: Mutex<BTreeMap<Fault, usize>>,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HangUp;

impl Proxy {
    pub(crate) async fn start(tongue: Tongue, upstream: &str, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let wire = Arc::new(Wire {
            tongue,
            upstream: upstream.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            calm: AtomicBool::new(false),
            outage_until: Mutex::new(Instant::now()),
            on_their_way: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            faults: Mutex::default(),
        });
        let served = Arc::clone(&wire);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let wire = Arc::clone(&served);
                let service = service_fn(move |request| pass(Arc::clone(&wire), request));
                tokio::spawn(
                    async move { http1::Builder::new().serve_connection(TokioIo::new(socket), service).await },
                );
            }
        });
        Self { url, wire }
    }

    /// Ends all faults, and waits until nothing is on its way any more.
    pub(crate) async fn calm(&self) {
        self.wire.calm.store(true, Ordering::SeqCst);
        while self.wire.on_their_way.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.wire.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn faults(&self) -> BTreeMap<Fault, usize> {
        self.wire.faults.lock().unwrap().clone()
    }
}

async fn pass(wire: Arc<Wire>, request: Request<Incoming>) -> Result<Response<Body>, HangUp> {
    wire.requests.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    // A sender that died within its request.
    let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
    let fault = wire.choose();
    if let Some(fault) = fault {
        *wire.faults.lock().unwrap().entry(fault).or_default() += 1;
    }
    let later = Duration::from_millis(wire.random(2, 2_000));
    match fault {
        None => wire.forward(head, body, Duration::ZERO).await,
        Some(Fault::Delayed) => wire.forward(head, body, Duration::from_millis(wire.random(5, 400))).await,
        Some(Fault::Failed) => Ok(wire.tongue.failed()),
        Some(Fault::Throttled) => Ok(wire.tongue.throttled()),
        Some(Fault::FailedAfter) => {
            wire.forward(head, body, Duration::ZERO).await?;
            Ok(answer(StatusCode::BAD_GATEWAY, "text/html", "<h1>bad gateway</h1>"))
        }
        Some(Fault::Dropped) => {
            wire.forward(head, body, Duration::ZERO).await?;
            Err(HangUp)
        }
        Some(Fault::Cut) => halved(wire.forward(head, body, Duration::ZERO).await?).await,
        Some(Fault::Doubled) => {
            let answer = wire.forward(head.clone(), body.clone(), Duration::ZERO).await;
            wire.send_off(head, body, later);
            answer
        }
        Some(Fault::Late) => {
            wire.send_off(head, body, later);
            Err(HangUp)
        }
        // The function waits for 5 seconds at most.
        Some(Fault::Hung) => wire.forward(head, body, Duration::from_millis(5_500)).await,
    }
}

impl Wire {
    fn random(&self, least: u64, most: u64) -> u64 {
        self.rng.lock().unwrap().u64(least..=most)
    }

    fn choose(&self) -> Option<Fault> {
        if self.calm.load(Ordering::SeqCst) {
            return None;
        }
        let mut rng = self.rng.lock().unwrap();
        let mut outage_until = self.outage_until.lock().unwrap();
        if rng.u32(..OUTAGE_IN) == 0 {
            *outage_until = Instant::now() + Duration::from_millis(rng.u64(50..400));
        }
        if Instant::now() < *outage_until {
            return rng.choice([Fault::Failed, Fault::Throttled, Fault::FailedAfter, Fault::Dropped, Fault::Late]);
        }
        if rng.u32(..FAULT_IN) > 0 {
            return None;
        }
        // What hangs takes seconds, so it is seldom.
        let fault = rng.choice(Fault::ALL)?;
        Some(if fault == Fault::Hung && rng.u32(..12) > 0 { Fault::Delayed } else { fault })
    }

    /// Has the store do it after a while, whether or not anybody waits for that: what was sent is done.
    fn send_off(
        self: &Arc<Self>,
        head: Parts,
        body: Bytes,
        after: Duration,
    ) -> tokio::task::JoinHandle<Result<Response<Body>, HangUp>> {
        self.on_their_way.fetch_add(1, Ordering::SeqCst);
        let wire = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            let answer = wire.ask(head, body).await;
            wire.on_their_way.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }

    async fn forward(self: &Arc<Self>, head: Parts, body: Bytes, after: Duration) -> Result<Response<Body>, HangUp> {
        self.send_off(head, body, after).await.map_err(|_| HangUp)?
    }

    async fn ask(&self, mut head: Parts, body: Bytes) -> Result<Response<Body>, HangUp> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        // The header Host stays: S3's signature covers it.
        head.uri = format!("{}{path}", self.upstream).parse().unwrap();
        head.headers.remove(CONNECTION);
        let request = Request::from_parts(head, Full::new(body));
        let (mut head, body) = self.client.request(request).await.map_err(|_| HangUp)?.into_parts();
        let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, whole(body)))
    }
}

impl Tongue {
    fn failed(self) -> Response<Body> {
        match self {
            Self::DynamoDb => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "internal error"),
            Self::S3 => xml(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }

    fn throttled(self) -> Response<Body> {
        match self {
            Self::DynamoDb => refusal(
                StatusCode::BAD_REQUEST,
                "ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded.",
            ),
            Self::S3 => xml(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        }
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"{message}\"}}");
    answer(status, "application/x-amz-json-1.0", &body)
}

fn xml(status: StatusCode, code: &str) -> Response<Body> {
    answer(status, "application/xml", &format!("<Error><Code>{code}</Code><Message>later</Message></Error>"))
}

fn answer(status: StatusCode, content_type: &str, body: &str) -> Response<Body> {
    let body = whole(Bytes::from(body.to_owned()));
    Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body).unwrap()
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The same answer, of which half arrives.
async fn halved(answer: Response<Body>) -> Result<Response<Body>, HangUp> {
    let (mut head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| HangUp)?.to_bytes();
    head.headers.insert("content-length", body.len().into());
    let half = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
    let end = stream::once(async {
        // Until what was sent has left.
        sleep(Duration::from_millis(2)).await;
        Err(io::Error::other("cut"))
    });
    Ok(Response::from_parts(head, StreamBody::new(half.chain(end)).boxed_unsync()))
}
