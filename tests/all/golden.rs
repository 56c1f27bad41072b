//! Persisted formats as golden files: what is written today must be read by later releases.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes them anew; look at the difference before you commit.

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use serde_json::{Map, Value, json};
use tidemark_ledger::{Plan, Store};
use tidemark_local::cli::Options;
use tidemark_local::stack::{STATE_TABLE, Stack, VIEWS_TABLE};
use tidemark_model::{Settings, decode};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, fixture_lines, handle, invocation, product, root};

pub(crate) fn check(name: &str, found: &Value) {
    let file = root().join("tests/golden").join(name);
    let text = serde_json::to_string_pretty(found).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; see the head of golden.rs");
}

fn events() -> Vec<String> {
    vec![
        product(1, "Created", 1_735_689_600_000, "seller#1", "Kitchen", "136.19", 3),
        product(2, "Deleted", 1_735_689_600_001, "seller-2", "Pets", "0", 0),
        "{\"eventType\":\"ProductCreated\"}".to_owned(),
    ]
}

#[test]
fn decoded_products_in_both_forms() {
    let decoded: Vec<Value> = ["products_contract.ndjson.gz", "products_producer.ndjson.gz"]
        .iter()
        .map(|form| {
            let lines = fixture_lines(form);
            let kinds = ["ProductCreated", "ProductUpdated", "ProductDeleted"];
            let first =
                |kind: &str| lines.iter().find(|line| String::from_utf8_lossy(line).contains(kind)).unwrap().clone();
            let payload = invocation("product.updated", 0, 0, &kinds.map(first));
            let batches = decode(&payload, &Settings::default()).unwrap();
            let changes = &batches[0].changes;
            let change = |c: &tidemark_model::Change| json!({"key": c.key, "version": c.version, "state": c.state});
            json!({ *form: changes.iter().map(change).collect::<Vec<_>>() })
        })
        .collect();
    check("decoded_products.json", &Value::from(decoded));
}

#[tokio::test]
async fn a_plan_and_a_quarantine_file() {
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    let function = aggregate(store.clone(), objects.clone(), 1);
    handle(&function, invocation("product.updated", 0, 0, &events())).await;
    let second = product(1, "Updated", 1_735_689_600_002, "seller#1", "Kitchen", "99", 30);
    handle(&function, invocation("product.updated", 0, 3, &[second])).await;
    let lanes = store.lanes(None).await.unwrap().value;
    let mut plans: Vec<Value> =
        store.items().plans.values().map(|body| serde_json::to_value(Plan::decode(body).unwrap()).unwrap()).collect();
    plans.sort_by_key(|plan| std::cmp::Reverse(plan.to_string().len()));
    check("plans.json", &json!({"lane": lanes[0].to_string(), "plans": plans}));
    let files: Map<String, Value> = objects
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(key, body)| {
            (
                key.clone(),
                body.split(|b| *b == b'\n')
                    .filter(|l| !l.is_empty())
                    .map(|l| serde_json::from_slice::<Value>(l).unwrap())
                    .collect(),
            )
        })
        .collect();
    check("quarantine.json", &Value::Object(files));
}

/// A plan that an earlier release left pending must be readable for ever: never regenerate this.
#[test]
fn the_first_releases_plan_is_still_read() {
    let body = std::fs::read(root().join("tests/golden/plan_v1.zst")).unwrap();
    let plan = Plan::decode(&body).unwrap();
    let text = std::fs::read_to_string(root().join("tests/golden/plan_v1.json")).unwrap();
    assert_eq!(serde_json::to_value(plan).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_in_dynamodb() {
    let options = Options { chaos: Some(1), ..Options::parse_from(["tidemark"]) };
    let stack = Stack::start(&options).await.unwrap();
    handle(&stack.aggregate, invocation("product.updated", 0, 0, &events())).await;
    let second = product(1, "Updated", 1_735_689_600_002, "seller#1", "Kitchen", "99", 30);
    handle(&stack.aggregate, invocation("product.updated", 0, 3, &[second])).await;
    let store = stack.aggregate.ledger.store();
    let lane = &store.lanes(None).await.unwrap().value[0];
    let plan = store.read_cursor(lane).await.unwrap().value.unwrap().plan;
    store.write_conflicts(lane, &plan, &[0, 7], 1_736_985_600).await.unwrap();
    let mut items = Map::new();
    for table in [STATE_TABLE, VIEWS_TABLE] {
        for item in stack.clients.dynamodb.scan().table_name(table).send().await.unwrap().items() {
            let text = |name: &str| item[name].as_s().unwrap().clone();
            let mut fields: Vec<(String, Value)> =
                item.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
            // How long plans took is another number each time.
            fields.retain(|(name, _)| {
                name != "seconds" && name.strip_prefix('t').is_none_or(|n| n.parse::<u8>().is_err())
            });
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            items.insert(format!("{table} {} {}", text("PK"), text("SK")), Value::Object(fields.into_iter().collect()));
        }
    }
    let mut sorted: Vec<_> = items.into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    check("items.json", &Value::Object(sorted.into_iter().collect()));
}

fn shown(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::B(_) => json!("B"),
        AttributeValue::Ns(numbers) => {
            let mut numbers = numbers.clone();
            numbers.sort();
            json!({"NS": numbers})
        }
        other => panic!("{other:?} is not used"),
    }
}
