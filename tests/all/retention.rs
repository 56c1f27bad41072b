//! Expiry and listing: what an item carries only while its state asks for it.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use tidemark_local::cli::Options;
use tidemark_local::stack::{STATE_TABLE, Stack};
use tidemark_model::Settings;
use tidemark_model::stream::Routes;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{NOW_MS, aggregate, documents, handle, invocation, product};

const DAY_MS: i64 = 86_400_000;

fn keeping_tombstones_for_30_days() -> Settings {
    Settings { tombstone_retention_ms: Some(30 * DAY_MS), ..Settings::default() }
}

async fn item(stack: &Stack) -> HashMap<String, AttributeValue> {
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let get =
        stack.clients.dynamodb.get_item().table_name(STATE_TABLE).key("PK", key("PRODUCT#1")).key("SK", key("STATE"));
    get.send().await.unwrap().item.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_expires_and_a_low_product_is_listed_but_no_other() {
    let mut stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    Arc::get_mut(&mut stack.aggregate).unwrap().settings = keeping_tombstones_for_30_days();
    let steps = [
        // (event, TTL, rank)
        (product(1, "Created", NOW_MS - 9, "s", "c", "1", 3), None, Some(3)),
        (product(1, "Updated", NOW_MS - 8, "s", "c", "1", 0), None, Some(0)),
        (product(1, "Updated", NOW_MS - 7, "s", "c", "1", 30), None, None),
        (product(1, "Updated", NOW_MS - 6, "s", "c", "1", 9), None, Some(9)),
        (product(1, "Deleted", NOW_MS - 5, "s", "c", "1", 0), Some((NOW_MS - 5 + 31 * DAY_MS) / 1000), None),
        (product(1, "Created", NOW_MS - 4, "s", "c", "1", 10), None, None),
    ];
    for ((event, ttl, rank), offset) in steps.iter().zip(0..) {
        handle(&stack.aggregate, invocation("product.updated", 0, offset, &[event])).await;
        let item = item(&stack).await;
        let number = |name: &str| item.get(name).map(|value| value.as_n().unwrap().parse::<i64>().unwrap());
        assert_eq!((number("TTL"), number("rank")), (*ttl, *rank), "after {event}");
        assert_eq!(item.contains_key("board"), rank.is_some(), "after {event}");
        let views = documents(&stack.aggregate.ledger.store().read_tables(NOW_MS).await.unwrap());
        assert_eq!(
            views["lowStock"]["products"].as_array().unwrap().len(),
            usize::from(rank.is_some()),
            "after {event}"
        );
        assert_eq!(views["sellers"][0]["totalProducts"], "1");
    }
}

#[tokio::test]
async fn a_record_older_than_tombstones_is_late_and_changes_nothing() {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    Arc::get_mut(&mut function).unwrap().settings = keeping_tombstones_for_30_days();
    let events = [
        product(1, "Created", NOW_MS - 31 * DAY_MS, "s", "c", "1", 3),
        product(2, "Created", NOW_MS - 29 * DAY_MS, "s", "c", "1", 3),
    ];
    let report = handle(&function, invocation("product.created", 0, 0, &events)).await;
    assert_eq!((report.late, report.entities), (1, 1));
    assert_eq!(documents(&store.tables())["sellers"][0]["totalProducts"], "1");
}

#[tokio::test]
async fn topics_carry_the_streams_that_the_deployment_says() {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let routes: Routes = "prod.catalogue=products, other=products".parse().unwrap();
    Arc::get_mut(&mut function).unwrap().settings = Settings { routes, ..Settings::default() };
    let event = product(1, "Created", 1, "s", "c", "1", 3);
    let known = handle(&function, invocation("prod.catalogue", 0, 0, &[&event])).await;
    let unknown = handle(&function, invocation("product.created", 0, 0, &[&event])).await;
    assert_eq!((known.entities, known.rejects.len(), unknown.entities, unknown.rejects.len()), (1, 0, 0, 1));
}
