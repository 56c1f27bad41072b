//! Lambda's runtime API on a loopback port, for any number of processes: each has a path of its own, and so
//! it is known which of them holds which invocation.
//!
//! `cargo lambda watch --only-lambda-apis` serves this API too, but its deadline is a constant in 1970, which
//! the function takes as none; and who redelivers must know which invocation died with which process.
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API".

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// The API.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    seats: Arc<Seats>,
    next: AtomicU64,
}

type Seats = Mutex<BTreeMap<u64, Arc<Seat>>>;

/// What a process said of its invocation.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It succeeded.
    Response(Bytes),
    /// It failed; the log says why.
    Error,
}

struct Invocation {
    id: String,
    deadline_ms: u64,
    payload: Bytes,
}

/// One process, as the API sees it.
pub(crate) struct Seat {
    number: u64,
    address: SocketAddr,
    invoked: AtomicU64,
    sender: mpsc::UnboundedSender<Invocation>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    open: Mutex<BTreeMap<String, oneshot::Sender<Answer>>>,
    ready: AtomicBool,
    init_error: Mutex<Option<Bytes>>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seats = Arc::new(Seats::default());
        let served = Arc::clone(&seats);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let seats = Arc::clone(&served);
                let service = service_fn(move |request| {
                    let seats = Arc::clone(&seats);
                    async move { Ok::<_, Infallible>(answer(&seats, request).await) }
                });
                // A connection ends with its process, whenever that is killed.
                tokio::spawn(
                    async move { http1::Builder::new().serve_connection(TokioIo::new(socket), service).await },
                );
            }
        });
        Self { address, seats, next: AtomicU64::new(0) }
    }

    /// A place for a process that is about to start.
    pub(crate) fn seat(&self) -> Arc<Seat> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = mpsc::unbounded_channel();
        let seat = Arc::new(Seat {
            number,
            address: self.address,
            invoked: AtomicU64::new(0),
            sender,
            receiver: receiver.into(),
            open: Mutex::default(),
            ready: AtomicBool::new(false),
            init_error: Mutex::default(),
        });
        self.seats.lock().unwrap().insert(number, Arc::clone(&seat));
        seat
    }
}

impl Seat {
    /// The process's `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.number)
    }

    /// Whether the process has asked for its first invocation.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Why the process could not start, if it said so.
    pub(crate) fn init_error(&self) -> Option<Bytes> {
        self.init_error.lock().unwrap().clone()
    }

    /// Has the process handle an invocation; it need not answer.
    pub(crate) fn invoke(&self, payload: Bytes, deadline_ms: u64) -> oneshot::Receiver<Answer> {
        let id = format!("{:08x}-{:04x}", self.number, self.invoked.fetch_add(1, Ordering::SeqCst));
        let (sender, receiver) = oneshot::channel();
        self.open.lock().unwrap().insert(id.clone(), sender);
        self.sender.send(Invocation { id, deadline_ms, payload }).unwrap();
        receiver
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        self.ready.store(true, Ordering::SeqCst);
        let invocation = self.receiver.lock().await.recv().await.unwrap();
        Response::builder()
            .header("lambda-runtime-aws-request-id", invocation.id)
            .header("lambda-runtime-deadline-ms", invocation.deadline_ms)
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:aggregate")
            .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0")
            .header("content-type", "application/json")
            .body(Full::new(invocation.payload))
            .unwrap()
    }

    fn answered(&self, id: &str, answer: Answer) -> Response<Full<Bytes>> {
        let Some(waiting) = self.open.lock().unwrap().remove(id) else { return status(StatusCode::BAD_REQUEST) };
        // Who invoked it may have given up.
        let _heard = waiting.send(answer);
        status(StatusCode::ACCEPTED)
    }
}

async fn answer(seats: &Seats, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path: Vec<&str> = head.uri.path().trim_start_matches('/').splitn(2, '/').collect();
    let [number, path] = path[..] else { return status(StatusCode::NOT_FOUND) };
    let seat = number.parse().ok().and_then(|number: u64| seats.lock().unwrap().get(&number).cloned());
    let (Some(seat), Ok(body)) = (seat, body.collect().await) else { return status(StatusCode::NOT_FOUND) };
    let path: Vec<&str> = path.split('/').collect();
    match (head.method, &path[..]) {
        (Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => seat.next().await,
        (Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
            seat.answered(id, Answer::Response(body.to_bytes()))
        }
        (Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => seat.answered(id, Answer::Error),
        (Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
            *seat.init_error.lock().unwrap() = Some(body.to_bytes());
            status(StatusCode::ACCEPTED)
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let body = if code.is_success() { "{\"status\":\"OK\"}" } else { "{\"errorType\":\"NoSuchRequest\"}" };
    Response::builder().status(code).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}
