//! The README's way of invoking the functions by hand: `cargo lambda watch`, `cargo lambda invoke`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use tidemark_archive::manifest::Manifest;
use tidemark_archive::{ObjectStore, layout, verify};
use tidemark_local::cli::Options;
use tidemark_local::serve::{EVENTS_KEY, put_events_key};
use tidemark_local::stack::Stack;
use tidemark_tests::{documents, program, root};

/// A process with its children, stopped at the end of the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ended = Command::new("kill").args(["-9", "--", &format!("-{}", self.0.id())]).status();
        let _reaped = self.0.wait();
    }
}

/// The committed environment, with the ports of this test's stores.
fn environment(folder: &Path, stack: &Stack) -> PathBuf {
    let committed = std::fs::read_to_string(root().join("events/local.env")).unwrap();
    let file = folder.join("local.env");
    let here =
        committed.replace("http://127.0.0.1:8100", &stack.dynamodb_url).replace("http://127.0.0.1:8101", &stack.s3_url);
    assert_ne!(here, committed, "events/local.env names the default ports");
    std::fs::write(&file, here).unwrap();
    file
}

/// What a function URL answers to a GET by a key: the status and the body's JSON.
fn asked(port: &str, path: &str, key: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    // By HTTP 1.0 the body is all that follows the headers.
    write!(socket, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Api-Key: {key}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_answer_invocations_by_hand() {
    let Some(cargo_lambda) = program(".venv", "cargo-lambda") else { return };
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let api = stack.api(Box::new(|| tidemark_tests::NOW_MS)).unwrap();
    put_events_key(&api, tidemark_tests::NOW_MS).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut watch = Command::new(&cargo_lambda);
    watch.args(["lambda", "watch", "--offline", "--ignore-changes", "-A", "127.0.0.1", "-P", &port, "--env-file"]);
    watch.arg(environment(folder.path(), &stack)).current_dir(root());
    let log = std::fs::File::create(folder.path().join("watch.log")).unwrap();
    watch.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).process_group(0);
    let _watch = Group(watch.spawn().unwrap());

    // The first call of a function starts its build, which may take its time.
    let give_up = Instant::now() + Duration::from_secs(600);
    let invoke = async |function: &str, event: &str| {
        let mut invoke = Command::new(&cargo_lambda);
        invoke.args(["lambda", "invoke", function, "-A", "127.0.0.1", "-P", &port]);
        invoke.args(["--data-file", event]).current_dir(root());
        loop {
            let output = tokio::task::block_in_place(|| invoke.output().unwrap());
            match serde_json::from_slice::<Value>(&output.stdout) {
                Ok(answer) if output.status.success() => return answer,
                _ if Instant::now() < give_up => tokio::time::sleep(Duration::from_millis(500)).await,
                _ => panic!("{output:?}\n{}", std::fs::read_to_string(folder.path().join("watch.log")).unwrap()),
            }
        }
    };
    let first = invoke("aggregate", "events/products.json").await;
    assert_eq!((&first["records"], first["rejects"].as_array().unwrap().len()), (&Value::from(18), 1), "{first}");
    let views = documents(&stack.aggregate.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap());
    let second = invoke("aggregate", "events/products.json").await;
    assert_eq!(second["entities"], 0, "the same invocation again changes nothing: {second}");
    assert_eq!(documents(&stack.aggregate.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap()), views);
    assert_eq!(views["sellers"].as_array().unwrap().len(), 3, "{views}");

    let daily = invoke("archive", "events/archive-daily.json").await;
    assert_eq!((&daily["outcome"], &daily["run"]), (&"done".into(), &"daily-20261120_020000".into()), "{daily}");
    let manifest: Manifest = serde_json::from_value(daily).unwrap();
    let report: Manifest = serde_json::from_value(invoke("archive", "events/report.json").await).unwrap();
    assert_eq!((report.run.as_str(), report.files.len()), ("report-20261120_020500", 5));
    for manifest in [&manifest, &report] {
        for file in &manifest.files {
            verify(&stack.archive.objects, file).await.unwrap();
        }
        assert!(stack.archive.objects.get(&layout::manifest(&manifest.run)).await.unwrap().is_some());
    }
    let upkeep = invoke("archive", "events/upkeep.json").await;
    assert_eq!((&upkeep["lanes"], &upkeep["finished"]), (&3.into(), &0.into()), "{upkeep}");

    let sellers = invoke("api", "events/api-sellers.json").await;
    assert_eq!(
        (&sellers["statusCode"], &sellers["headers"]["content-type"]),
        (&200.into(), &"application/json".into())
    );
    let page: Value = serde_json::from_str(sellers["body"].as_str().unwrap()).unwrap();
    let served = tokio::task::block_in_place(|| asked(&port, "/lambda-url/api/analytics/sellers?limit=2", EVENTS_KEY));
    assert_eq!(served, (200, page.clone()), "the function URL answers the same");
    assert_eq!((page["items"].as_array().unwrap().len(), page["next"].is_string()), (2, true), "{page}");
    let (status, problem) =
        tokio::task::block_in_place(|| asked(&port, "/lambda-url/api/analytics/sellers", "tm_local_invented"));
    assert_eq!((status, problem["status"].as_u64()), (401, Some(401)), "{problem}");

    let log = std::fs::read_to_string(folder.path().join("watch.log")).unwrap();
    for expected in [
        "\"_aws\"",
        "\"NewestRecordAgeMs\"",
        "\"request_id\"",
        "\"lane\"",
        "records set aside",
        "\"ArchiveRuns\"",
        "\"ReportFiles\"",
        "\"PlansSwept\"",
    ] {
        assert!(log.contains(expected), "`{expected}` is missing in:\n{log}");
    }
}
