//! The README's way of invoking the function by hand: `cargo lambda watch`, `cargo lambda invoke`.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use tidemark_local::cli::Options;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_function_answers_an_invocation_by_hand() {
    let Some(cargo_lambda) = program(".venv", "cargo-lambda") else { return };
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut watch = Command::new(&cargo_lambda);
    watch.args(["lambda", "watch", "--offline", "--ignore-changes", "-A", "127.0.0.1", "-P", &port, "--env-file"]);
    watch.arg(environment(folder.path(), &stack)).current_dir(root());
    let log = std::fs::File::create(folder.path().join("watch.log")).unwrap();
    watch.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).process_group(0);
    let _watch = Group(watch.spawn().unwrap());

    let invoke = || {
        let mut invoke = Command::new(&cargo_lambda);
        invoke.args(["lambda", "invoke", "aggregate", "-A", "127.0.0.1", "-P", &port]);
        invoke.args(["--data-file", "events/products.json"]).current_dir(root()).output().unwrap()
    };
    let answer = |output: &std::process::Output| serde_json::from_slice::<Value>(&output.stdout);
    // The first call starts the build of the function, which may take its time.
    let give_up = Instant::now() + Duration::from_secs(600);
    let first = loop {
        let output = tokio::task::block_in_place(invoke);
        match answer(&output) {
            Ok(report) if output.status.success() => break report,
            _ if Instant::now() < give_up => tokio::time::sleep(Duration::from_millis(500)).await,
            _ => panic!("{output:?}\n{}", std::fs::read_to_string(folder.path().join("watch.log")).unwrap()),
        }
    };
    assert_eq!((&first["records"], first["rejects"].as_array().unwrap().len()), (&Value::from(18), 1), "{first}");
    let views = documents(&stack.aggregate.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap());
    let second = answer(&tokio::task::block_in_place(invoke)).unwrap();
    assert_eq!(second["entities"], 0, "the same invocation again changes nothing: {second}");
    assert_eq!(documents(&stack.aggregate.ledger.store().read_tables(tidemark_tests::NOW_MS).await.unwrap()), views);
    assert_eq!(views["sellers"].as_array().unwrap().len(), 3, "{views}");

    let log = std::fs::read_to_string(folder.path().join("watch.log")).unwrap();
    for expected in ["\"_aws\"", "\"NewestRecordAgeMs\"", "\"request_id\"", "\"lane\"", "records set aside"] {
        assert!(log.contains(expected), "`{expected}` is missing in:\n{log}");
    }
}
