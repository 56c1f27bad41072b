//! Lambda's runtime API for one process, call by call: who measures decides when a call is answered.
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API".

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What Lambda gives an invocation of the functions at most.
const TIMEOUT: Duration = Duration::from_secs(900);

/// The API.
pub(super) struct RuntimeApi {
    pub(super) address: SocketAddr,
    calls: Receiver<Call>,
}

/// A call that the process waits for.
pub(super) struct Call {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) body: String,
    process: TcpStream,
}

impl RuntimeApi {
    pub(super) fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for process in listener.incoming() {
                let (process, sender) = (process.unwrap(), sender.clone());
                // It ends with the process.
                std::thread::spawn(move || hear(&process, &sender));
            }
        });
        Self { address, calls }
    }

    pub(super) fn call(&self, patience: Duration) -> Call {
        self.calls.recv_timeout(patience).expect("the process calls the runtime API")
    }
}

impl Call {
    /// Answers a call of /next.
    pub(super) fn invoke(mut self, event: &[u8]) {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + TIMEOUT;
        let head = format!(
            "HTTP/1.1 200 OK\r\n\
             lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
             lambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:measured\r\n\
             lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            deadline.as_millis(),
            event.len(),
        );
        self.process.write_all(&[head.as_bytes(), event].concat()).unwrap();
    }
}

fn hear(process: &TcpStream, calls: &Sender<Call>) -> Option<()> {
    process.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(process);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let at = Instant::now();
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        calls.send(Call { at, path, body, process: process.try_clone().ok()? }).ok()?;
    }
}
