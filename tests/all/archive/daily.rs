//! What a daily run writes, and what it leaves out.

use std::collections::BTreeMap;

use archive::Options;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value, json};
use tidemark_archive::documents::{REPORTS, view};
use tidemark_archive::{ObjectStore, layout};
use tidemark_local::stack::{Stack, VIEWS_TABLE};
use tidemark_model::time::{DAY_MS, utc};
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::{NOW_MS, call, documents, exact, handle, invocation};

use super::{AT_MS, DATE, archive, archive_with, at, check_finished, check_rich, content, run, stack, tables};
use crate::audit::{ORDERS, order};
use crate::golden;

/// A list's members in an order of their own.
fn as_set(list: &Value) -> Vec<String> {
    let mut members: Vec<String> = list.as_array().unwrap().iter().map(Value::to_string).collect();
    members.sort();
    members
}

fn names(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_is_as_its_manifest_says_and_holds_what_the_tables_hold() {
    let stack = stack().await;
    let bucket = &stack.archive.objects;
    let expected = tables(&stack, NOW_MS).await;
    check_rich(&expected);
    let manifest = run(&stack.archive, AT_MS, call()).await;
    assert_eq!(content(bucket, &manifest).await, expected);
    assert_eq!((manifest.expired, manifest.unreadable, manifest.plans_swept, manifest.invocations), (0, 0, 0, 1));
    assert_eq!(manifest.run, "daily-20250102_020000");
    assert!(manifest.units.read > 0.0);
    let listed: Vec<String> = bucket.list("", None).await.unwrap().into_iter().map(|listed| listed.key).collect();
    let others = listed.iter().filter(|key| !manifest.files.iter().any(|file| file.key == **key));
    let others: Vec<&String> = others.filter(|key| !key.starts_with("quarantine/")).collect();
    assert_eq!(others, [&layout::manifest(&manifest.run)]);
    let kept = bucket.get(&layout::manifest(&manifest.run)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&kept.body).unwrap(), serde_json::to_value(&manifest).unwrap());
    assert_eq!(bucket.get(layout::RUN).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_snapshot_and_the_reports_say_what_the_views_say() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    run(&archive(&stack, objects.clone()), AT_MS, call()).await;
    let views = documents(&stack.aggregate.ledger.store().read_tables(NOW_MS).await.unwrap());
    let text = |key: &str| String::from_utf8(objects.0.lock().unwrap()[key].clone()).unwrap();
    let mut golden = Map::new();

    let mut snapshot = exact(&text(&layout::snapshot(DATE, AT_MS)));
    assert_eq!(names(&snapshot), ["timestamp", "sellerMetrics", "categoryMetrics", "lowStockMetrics"]);
    assert_eq!(snapshot["timestamp"], AT_MS.to_string());
    for (member, view) in [("sellerMetrics", "sellers"), ("categoryMetrics", "categories")] {
        let found = as_set(&snapshot[member]);
        assert_eq!(found, as_set(&views[view]), "{member}");
        snapshot[member] = found.iter().map(|member| serde_json::from_str::<Value>(member).unwrap()).collect();
    }
    assert_eq!(snapshot["lowStockMetrics"], views["lowStock"]);
    golden.insert("snapshot".to_owned(), snapshot);

    for kind in &REPORTS {
        let text = text(&layout::report(kind.folder, AT_MS));
        let report = exact(&text);
        let member = if kind.folder == "summary" { "metrics" } else { "data" };
        assert_eq!(names(&report), ["report_type", "generated_at", member]);
        assert_eq!((&report["report_type"], &report["generated_at"]), (&kind.report_type.into(), &utc(NOW_MS).into()));
        assert_eq!(report[member], views[kind.view().unwrap().name], "{}", kind.folder);
        for name in ["total_amount", "total_revenue", "total_spent"] {
            for (at, found) in text.match_indices(&format!("\"{name}\":")) {
                let money = text[at + found.len()..].split([',', '}']).next().unwrap();
                assert_eq!(money.split_once('.').map(|(_, cents)| cents.len()), Some(2), "{name}: {money}");
            }
        }
        golden.insert(kind.folder.to_owned(), report);
    }
    golden::check("archived_documents.json", &Value::Object(golden));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_the_top_name_the_highest_and_no_more() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let archive = archive_with(&stack, objects.clone(), Options { top: 3, ..Options::default() });
    let manifest = archive.report(AT_MS, call()).await.unwrap();
    let views = documents(&stack.aggregate.ledger.store().read_tables(NOW_MS).await.unwrap());
    for (folder, of) in [("product_sales", "productSales"), ("customer_metrics", "customers")] {
        let body = objects.0.lock().unwrap()[&layout::report(folder, AT_MS)].clone();
        let report = exact(std::str::from_utf8(&body).unwrap());
        let ranked = view(of).unwrap().ranking.unwrap();
        let by = if ranked.kind == "CUSTOMER" { "total_spent" } else { "total_revenue" };
        let number = |row: &Value| row[by].as_str().unwrap().parse::<tidemark_model::Decimal>().unwrap();
        let mut all: Vec<_> = views[of].as_array().unwrap().iter().map(number).collect();
        all.sort_by(|a, b| b.cmp(a));
        let found: Vec<_> = report["data"].as_array().unwrap().iter().map(number).collect();
        assert_eq!(found, all[..3], "{folder}");
    }
    assert_eq!((manifest.job.as_str(), manifest.files.len()), ("report", 5));
    content(&objects, &manifest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_ttl_is_in_no_file() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let later = NOW_MS + 400 * DAY_MS;
    let (all, kept) = (tables(&stack, NOW_MS).await, tables(&stack, later).await);
    let count = |content: &super::Content| content.entities.len() + content.rows.values().map(Vec::len).sum::<usize>();
    assert!(kept.entities.len() < all.entities.len() && kept.rows.len() < all.rows.len());
    let manifest = run(&archive(&stack, objects.clone()), AT_MS, at(later)).await;
    check_finished(&objects, &manifest, &kept, "later").await;
    assert_eq!(manifest.expired as usize, count(&all) - count(&kept));
}

async fn damage(stack: &Stack, pk: &str, sk: &str, attribute: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let row = stack.clients.dynamodb.update_item().table_name(VIEWS_TABLE).key("PK", text(pk)).key("SK", text(sk));
    let row = row.update_expression("SET #a = :a").expression_attribute_names("#a", attribute);
    // More digits than any number of ours.
    row.expression_attribute_values(":a", AttributeValue::N("1e100".to_owned())).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_be_read_are_counted_and_left_out() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    damage(&stack, "SELLER#s1", "METRICS#CURRENT", "active").await;
    damage(&stack, "NEWVIEW#1", "METRICS#CURRENT", "name").await;
    let manifest = run(&archive(&stack, objects.clone()), AT_MS, call()).await;
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "damaged").await;
    assert_eq!(manifest.unreadable, 2);
    let snapshot = objects.0.lock().unwrap()[&layout::snapshot(DATE, AT_MS)].clone();
    let snapshot = exact(std::str::from_utf8(&snapshot).unwrap());
    let sellers: Vec<&Value> = snapshot["sellerMetrics"].as_array().unwrap().iter().map(|s| &s["sellerId"]).collect();
    assert_eq!(sellers.len(), 2, "{sellers:?}");
}

/// What the reports show is read by queries, which must bear such rows as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_a_report_that_cannot_be_read_does_not_stop_a_run() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let content = tables(&stack, NOW_MS).await;
    let damaged: BTreeMap<&str, _> =
        ["dailySales", "customers", "summary"].map(|view| (view, content.rows[view][0].key.clone())).into();
    for key in damaged.values() {
        damage(&stack, &key.pk, &key.sk, "orders").await;
    }
    let manifest = run(&archive(&stack, objects.clone()), AT_MS, call()).await;
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "damaged").await;
    assert_eq!(manifest.unreadable as usize, damaged.len());
    let has_report = |folder: &str| manifest.files.iter().any(|file| file.key == layout::report(folder, AT_MS));
    let written = REPORTS.map(|kind| (kind.folder, has_report(kind.folder)));
    assert_eq!(written.map(|(_, written)| written), [false, true, false, true, false], "{written:?}");
    let error = archive(&stack, objects).report(AT_MS, call()).await.unwrap_err();
    assert!(tidemark_runtime::telemetry::chain(&error).contains("has no readable attribute"), "{error:?}");
}

/// More than a page of DynamoDB's, and more than a piece that is read back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_are_archived_page_by_page() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    for batch in 0..3 {
        let orders: Vec<String> = (batch * 2_000..(batch + 1) * 2_000)
            .map(|n| order(n, n, &format!("customer-{n}"), "7.25", "paid"))
            .collect();
        handle(&stack.aggregate, invocation(ORDERS, 1, batch * 2_000, &orders)).await;
    }
    for segments in [1, 3] {
        let archive = archive_with(&stack, objects.clone(), Options { segments, ..Options::default() });
        let manifest = run(&archive, AT_MS, call()).await;
        check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "many").await;
        assert!(manifest.entities > 6_000 && manifest.rows > 6_000, "{manifest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_tables_make_an_archive_without_rows() {
    let objects = MemoryObjects::default();
    let stack = Stack::start(&clap::Parser::parse_from(["tidemark"])).await.unwrap();
    let manifest = run(&archive(&stack, objects.clone()), AT_MS, call()).await;
    check_finished(&objects, &manifest, &super::Content::default(), "empty").await;
    let snapshot = objects.0.lock().unwrap()[&layout::snapshot(DATE, AT_MS)].clone();
    let empty = json!({
        "timestamp": AT_MS, "sellerMetrics": [], "categoryMetrics": [], "lowStockMetrics": {"count": 0, "products": []},
    });
    assert_eq!(serde_json::from_slice::<Value>(&snapshot).unwrap(), empty);
}
