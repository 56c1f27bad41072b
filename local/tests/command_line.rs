//! The program itself: options, the JSON document, and clear errors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::process::{Command, Output};

use archive::Caller;
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use serde_json::{Value, json};
use tidemark_ledger::Call;
use tidemark_local::cli::Options;
use tidemark_local::stack::{Stack, VIEWS_TABLE};
use tidemark_local::{delivery, feed, play};
use tidemark_model::views::Tables;
use tidemark_runtime::now_ms;

fn tidemark(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemark")).args(arguments).output().unwrap()
}

fn products(form: &str) -> String {
    format!("products={}/../tests/fixtures/products_{form}.ndjson.gz", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_json_document_has_every_field_that_scripts_rely_on() {
    let input = products("contract");
    let output = tidemark(&["--json", "--chaos", "3", "--input", &input]);
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document and nothing else");
    for path in [
        "/views/sellers/0/sellerId",
        "/views/sellers/0/totalValue",
        "/views/categories/0/averagePrice",
        "/views/lowStock/count",
        "/views/lowStock/products/0/quantity",
        "/cost/events",
        "/cost/rejected",
        "/cost/duplicates",
        "/cost/write_units",
        "/cost/read_units",
        "/cost/write_units_per_event",
        "/timing/seconds",
        "/timing/events_per_second",
        "/timing/cpu_seconds",
        "/rejects",
    ] {
        assert!(document.pointer(path).is_some(), "{path} is missing");
    }
    assert_eq!(document["cost"]["events"], 2500);
}

#[test]
fn without_options_it_plays_the_sample_and_shows_tables() {
    let output = tidemark(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in
        ["seller-3", "263416.28", "lowStock: count", "write units", "records set aside", "cargo run -- --serve"]
    {
        assert!(text.contains(expected), "`{expected}` is missing in:\n{text}");
    }
}

#[test]
fn a_kept_store_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("new").display().to_string();
    let input = products("producer");
    let views = |arguments: &[&str]| {
        let output = tidemark(arguments);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = views(&["--json", "--store", &store, "--input", &input]);
    // The bundled sample is another stream, with other records at the same offsets.
    let sample = views(&["--json", "--store", &store]);
    assert_eq!(sample["rejects"].as_array().unwrap().len(), 4);
    let catalogue = |run: &Value| ["sellers", "categories", "lowStock"].map(|view| run["views"][view].clone());
    assert_eq!(catalogue(&first), catalogue(&sample), "its products are the same");
    let second = views(&["--json", "--store", &store, "--input", &input, "--batch-size", "77"]);
    assert_eq!(sample["views"], second["views"], "the same stream again, in another process, changes nothing");
    assert_eq!(second["cost"]["duplicates"], 2500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_ends_with_its_verdict_and_repairs_what_it_is_told_to() {
    let options = Options::parse_from(["tidemark"]);
    let stack = Stack::start(&options).await.unwrap();
    let logs = feed::logs(&[], 2).unwrap();
    play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
    let audit = async |arguments: &[&str]| {
        let mut all =
            vec!["audit", "--dynamodb-endpoint", &stack.dynamodb_url, "--segments", "3", "--nothing-forgotten"];
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let run = move || tidemark(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (clean, text) = audit(&[]).await;
    assert!(clean && text.contains("\nNo drift in "), "{text}");

    let text = |text: &str| AttributeValue::S(text.to_owned());
    let row = stack.clients.dynamodb.update_item().table_name(VIEWS_TABLE);
    let row = row.key("PK", text("SELLER#seller-3")).key("SK", text("METRICS#CURRENT"));
    let update =
        row.update_expression("SET active = :n").expression_attribute_values(":n", AttributeValue::N("1.5".into()));
    update.send().await.unwrap();

    let (clean, document) = audit(&["--json"]).await;
    let document: Value = serde_json::from_str(&document).expect("one JSON document and nothing else");
    assert!(!clean);
    assert_eq!((&document["views"]["sellers"]["drifted"], &document["drift"][0]["stored"]), (&1.into(), &"1.5".into()));
    let (clean, text) = audit(&[]).await;
    assert!(!clean && text.contains("SELLER#seller-3") && text.contains("DRIFT: 1 of "), "{text}");
    let (clean, text) = audit(&["--repair"]).await;
    assert!(clean && text.contains("Repaired: 1 of "), "{text}");
    let (clean, text) = audit(&[]).await;
    assert!(clean && text.contains("\nNo drift in "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_rebuilt_beside_the_live_rows_and_swapped_in_when_that_is_asked_for() {
    let options = Options::parse_from(["tidemark", "--input", &products("contract")]);
    let stack = Stack::start(&options).await.unwrap();
    let logs = feed::logs(&options.input, options.partitions).unwrap();
    play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
    let store = stack.aggregate.ledger.store();
    let before = store.read_tables(0).await.unwrap().rows;
    // As if the view were new: none of its rows is there.
    for (key, _) in before.iter().filter(|(key, _)| key.is_of("SELLER")) {
        let row = stack.clients.dynamodb.delete_item().table_name(VIEWS_TABLE);
        let (pk, sk) = (AttributeValue::S(key.pk.to_string()), AttributeValue::S(key.sk.to_string()));
        row.key("PK", pk).key("SK", sk).send().await.unwrap();
    }
    let without = store.read_tables(0).await.unwrap().rows;
    let sellers = before.len() - without.len();
    let rebuild = async |arguments: &[&str]| {
        let place = ["rebuild", "--dynamodb-endpoint", &stack.dynamodb_url];
        let all: Vec<String> = place.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let run = move || tidemark(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (done, text) = rebuild(&["--view", "categories"]).await;
    assert!(done && text.contains("rows are as rebuilt") && !text.contains("sellers"), "{text}");
    let (done, text) = rebuild(&["--view", "sellers"]).await;
    assert!(done && text.contains(&format!("{sellers} of {sellers} rows differ from the rebuilt ones")), "{text}");
    assert_eq!(store.read_tables(0).await.unwrap().rows, without, "to look changes nothing");
    let (done, text) = rebuild(&["--view", "sellers", "--swap"]).await;
    assert!(done && text.contains(&format!("Swapped: {sellers} of {sellers} rows differed")), "{text}");
    assert_eq!(store.read_tables(0).await.unwrap().rows, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_aside_is_listed_shown_mended_and_redriven() {
    let options = Options::parse_from(["tidemark"]);
    let stack = Stack::start(&options).await.unwrap();
    let records: Vec<Value> = (0..4)
        .map(|offset| json!({"topic": "analytics.metrics", "partition": 1, "offset": offset, "value": "e30="}))
        .collect();
    let payload = json!({"eventSourceArn": "arn", "records": {"analytics.metrics-1": records}}).to_string();
    let call = Call { now_ms: now_ms(), deadline: None };
    stack.aggregate.handle(payload.into(), call).await.1.unwrap();
    let quarantine = async |arguments: &[&str]| {
        let stores = ["--dynamodb-endpoint", &stack.dynamodb_url, "--s3-endpoint", &stack.s3_url];
        let all: Vec<String> = ["quarantine"].iter().chain(arguments).chain(&stores).map(|s| (*s).to_owned()).collect();
        let run = move || tidemark(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), text)
    };
    let (done, text) = quarantine(&["list"]).await;
    assert!(done && text.contains("4 records: 4 set aside, 0 fixed, 0 redriven, 0 not committed."), "{text}");
    let (done, text) = quarantine(&["redrive", "--all"]).await;
    assert!(!done && text.contains("4 records: 0 count, 4 remain set aside."), "{text}");
    let (done, text) = quarantine(&["fix", "--value", "/does/not/exist"]).await;
    assert!(!done && text.contains("4 records fit; name one by --topic, --partition and --offset"), "{text}");

    let one = ["--topic", "analytics.metrics", "--partition", "1", "--offset", "2"];
    let mended = tempfile::NamedTempFile::new().unwrap();
    let value = r#"{"appId": "mended", "metricName": "m", "metricType": "gauge", "value": 1}"#;
    std::fs::write(mended.path(), value).unwrap();
    let fix = ["fix", "--value", mended.path().to_str().unwrap()];
    let (done, text) = quarantine(&[&fix[..], &one].concat()).await;
    assert!(done && text.contains("quarantine/analytics.metrics/1/2.fixed.json"), "{text}");
    let (done, text) = quarantine(&[&["show"][..], &one].concat()).await;
    assert!(
        done && text.contains(value) && text.contains("appId is missing") && text.contains("state  fixed"),
        "{text}"
    );
    for (outcome, standing) in [("counts now", "redriven"), ("counted already", "redriven")] {
        let (done, text) = quarantine(&[&["redrive"][..], &one].concat()).await;
        assert!(done && text.contains(outcome) && text.contains("1 records: 1 count, 0 remain"), "{text}");
        let (_, text) = quarantine(&[&["list", "--json"][..], &one].concat()).await;
        let listed: Value = serde_json::from_str(&text).expect("one JSON document and nothing else");
        assert_eq!((&listed[0]["state"], &listed[0]["offset"]), (&standing.into(), &2.into()));
    }
    let tables = stack.aggregate.ledger.store().read_tables(now_ms()).await.unwrap();
    let metrics = tables.of("METRIC").filter(|(key, _)| key.pk.starts_with("METRIC#mended#"));
    assert_eq!(metrics.count(), 2, "a minute and a quarter of an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_says_what_there_is_erases_it_and_finds_nothing_then() {
    let options = Options::parse_from(["tidemark"]);
    let stack = Stack::start(&options).await.unwrap();
    let logs = feed::logs(&[], 2).unwrap();
    play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
    let erase = async |arguments: &[&str]| {
        let mut all = vec!["erase", "--dynamodb-endpoint", &stack.dynamodb_url];
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let run = move || tidemark(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rows = stack.aggregate.ledger.store().read_tables(0).await.unwrap().rows;
    let customer = rows.iter().find_map(|(key, _)| key.id("CUSTOMER", "METRICS#CURRENT")).unwrap();
    let text = erase(&["--customer", &customer, "--dry-run"]).await;
    assert!(text.contains(" name the person; nothing was changed"), "{text}");
    let document: Value = serde_json::from_str(&erase(&["--customer", &customer, "--json"]).await).unwrap();
    assert!(document["erased"].as_u64().unwrap() > 0 && document["left"] == 0, "{document}");
    assert_eq!(document["erased"], document["found"]);
    let text = erase(&["--customer", &customer]).await;
    assert!(text.contains("Erased from 0 events or orders; none names the person"), "{text}");
    let text = erase(&["--app", "nowhere", "--user", "nobody"]).await;
    assert!(text.contains("Erased from 0 events"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_rotated_and_revoked_and_shown_once() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let keys = async |arguments: &[&str]| {
        let place = ["--dynamodb-endpoint", stack.dynamodb_url.as_str()];
        let all: Vec<String> = ["keys"].iter().chain(arguments).chain(&place).map(|s| (*s).to_owned()).collect();
        let run = move || tidemark(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (_, made) = keys(&["create", "--name", "dashboard", "--scope", "read", "--app", "web", "--json"]).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let (text, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert!(text.starts_with(&format!("tm_{id}_")), "{made}");
    let (_, rotated) = keys(&["rotate", id, "--overlap-hours", "2", "--json"]).await;
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    assert_eq!((&rotated["apps"], &rotated["replaces"]["id"]), (&json!(["web"]), &json!(id)));
    let (_, revoked) = keys(&["revoke", id]).await;
    assert!(revoked.contains(id) && revoked.contains("60 s"), "{revoked}");
    let (_, table) = keys(&["list"]).await;
    let (_, list) = keys(&["list", "--json"]).await;
    for listed in [&table, &list] {
        assert!(listed.contains(id) && listed.contains("dashboard") && listed.contains("web"), "{listed}");
        for key in [text, rotated["key"].as_str().unwrap()] {
            assert!(!listed.contains(key.rsplit('_').next().unwrap()), "{listed}");
        }
    }
    let list: Value = serde_json::from_str(&list).unwrap();
    let valid: Vec<&Value> = list.as_array().unwrap().iter().map(|key| &key["valid"]).collect();
    assert_eq!(valid.iter().filter(|valid| **valid == &json!(true)).count(), 1, "{list}");
    let (done, said) = keys(&["revoke", "nobody"]).await;
    assert!(!done && said.contains("tidemark keys list"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_puts_an_archive_into_empty_tables_and_leaves_others_alone() {
    let options = Options::parse_from(["tidemark"]);
    let (stack, empty) = (Stack::start(&options).await.unwrap(), Stack::start(&options).await.unwrap());
    let logs = feed::logs(&[], 2).unwrap();
    play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
    let restore = async |dynamodb: &str, arguments: &[&str]| {
        let stores = ["restore", "--dynamodb-endpoint", dynamodb, "--s3-endpoint", &stack.s3_url];
        let all: Vec<String> = stores.iter().chain(arguments).map(|s| (*s).to_owned()).collect();
        let run = move || tidemark(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let (done, text) = restore(&empty.dynamodb_url, &[]).await;
    assert!(!done && text.contains("there is no manifest of a daily run; name another bucket"), "{text}");
    // By the program's clock, by which the sample's windows are past their TTL.
    let call = Call { now_ms: now_ms(), deadline: None };
    stack.archive.daily(call.now_ms, Caller("test"), call).await.unwrap();

    let (done, text) = restore(&empty.dynamodb_url, &["--json"]).await;
    let restored: Value = serde_json::from_str(&text).expect("one JSON document and nothing else");
    assert!(done && restored["entities"].as_u64().unwrap() > 0 && restored["lanes"].as_u64().unwrap() > 0, "{text}");
    let (done, text) = restore(&empty.dynamodb_url, &[]).await;
    assert!(done && text.contains("Restored ") && text.contains("carried on by 0 plans"), "{text}");
    let tables = async |stack: &Stack| stack.aggregate.ledger.store().read_tables(call.now_ms).await.unwrap();
    let (expected, found) = (tables(&stack).await, tables(&empty).await);
    assert_eq!(found.listed, expected.listed);
    let told = |tables: Tables| tables.rows.into_iter().filter(|(_, row)| !row.is_empty()).collect::<Vec<_>>();
    assert_eq!(told(found), told(expected));

    let (done, text) = restore(&empty.dynamodb_url, &["--run", "daily-19990101_000000"]).await;
    assert!(!done && text.contains("there is no manifest manifests/daily-19990101_000000.json"), "{text}");
    let records = json!([{"topic": "analytics.metrics", "partition": 9, "offset": 0, "value": "e30="}]);
    let more = json!({"eventSourceArn": "arn", "records": {"analytics.metrics-9": records}}).to_string();
    stack.aggregate.handle(more.into(), call).await.1.unwrap();
    let before = tables(&stack).await.rows;
    let (done, text) = restore(&stack.dynamodb_url, &[]).await;
    assert!(!done && text.contains("lane"), "{text}");
    assert_eq!(tables(&stack).await.rows, before);
}

#[test]
fn wrong_options_say_what_is_right() {
    for (arguments, expected) in [
        (&["--input", "orders.ndjson"][..], "takes STREAM=FILE"),
        (&["--input", "cats=x"], "no stream `cats`; there is products"),
        (&["--input", "products=/does/not/exist"], "/does/not/exist: No such file"),
        (&["--partitions", "0"], "0 is not in 1..=1000"),
        (&["--batch-size", "10001"], "10001 is not in 1..=10000"),
        (&["audit"], "which table? Say it by --state-table, or by the variable STATE_TABLE"),
        (&["rebuild", "--view", "seller"], "possible values: sellers, categories"),
        (&["--json", "audit"], "cannot be used with"),
        (&["quarantine", "list", "--dynamodb-endpoint", "http://127.0.0.1:1"], "which bucket? Say it by --bucket"),
        (&["quarantine", "fix"], "--value <FILE>"),
        (&["audit", "--segments", "0"], "0 is not in 1..=1000"),
        (&["restore"], "which table? Say it by --state-table, or by the variable STATE_TABLE"),
        (&["restore", "--dynamodb-endpoint", "http://127.0.0.1:1"], "which bucket? Say it by --bucket"),
        (&["erase", "--user", "u"], "who? Say it by --app and --user, or by --customer"),
        (&["erase", "--app", "a", "--customer", "c"], "who? Say it by --app and --user, or by --customer"),
        (&["erase", "--customer", "c"], "which table? Say it by --state-table, or by the variable STATE_TABLE"),
        (&["--s3-endpoint", "http://127.0.0.1:1"], "bucket tidemark cannot be created at http://127.0.0.1:1"),
    ] {
        let output = tidemark(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(expected), "{arguments:?}: {message}");
    }
}
