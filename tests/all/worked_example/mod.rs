//! The worked example of CONTRIBUTING.md: a stream and a view, each a file of its own, here outside of
//! the model. In it, each would have one line in its list more.

#[expect(unreachable_pub, reason = "it stands here as in the model, where it is reached")]
mod returned;
#[expect(unreachable_pub, reason = "it stands here as in the model, where it is reached")]
mod returns;

use std::sync::Arc;

use serde_json::json;
use tidemark_model::Settings;
use tidemark_model::rows::{Contribution, Rows};
use tidemark_model::stream::{Routes, STREAMS};
use tidemark_model::views::Tables;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, documents, handle, invocation, root};

fn sold(id: i64, quantity: i64) -> String {
    let row = json!({"id": id, "order_id": 1, "product_id": 7, "quantity": quantity, "price": "2.50"});
    json!({"before": null, "after": row, "source": {"ts_ms": 5, "table": "order_items"}, "op": "c"}).to_string()
}

fn returned(id: &str, quantity: i64, at: i64) -> String {
    json!({"returnId": id, "productId": "7", "quantity": quantity, "price": "2.50", "returnedAt": at}).to_string()
}

#[tokio::test]
async fn a_stream_and_a_view_are_a_file_each() {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let topics = [("shop.returns", &returns::STREAM), ("db.public.order_items", &STREAMS[1])];
    Arc::get_mut(&mut function).unwrap().settings = Settings { routes: Routes::of(topics), ..Settings::default() };

    handle(&function, invocation("db.public.order_items", 0, 0, &[sold(1, 5), sold(2, 3)])).await;
    // Corrected from 4 to 2, delivered the other way round and twice.
    let returns =
        [returned("a", 2, 20), returned("a", 4, 10), returned("a", 2, 20), returned("b", 1, 30), returned("c", 0, 1)];
    let report = handle(&function, invocation("shop.returns", 0, 0, &returns)).await;
    assert_eq!(report.rejects[0].reason, "quantity 0 is not above 0");
    let sales = json!([{"product_id": "7", "quantity_sold": "5", "total_revenue": "12.5"}]);
    assert_eq!(documents(&store.tables())["productSales"], sales, "what came back is not sold");

    let (mut rows, mut contribution) = (Rows::default(), Contribution::default());
    for entity in store.items().entities.values() {
        (returned::VIEW.rows)(&entity.known.state, contribution.coming());
        contribution.settle(&mut rows);
    }
    let tables = Tables { rows: rows.into_sorted(), listed: Vec::new() };
    assert_eq!((returned::VIEW.document)(&tables).unwrap().get(), "[[7,3]]");
}

#[test]
fn the_example_is_the_one_in_the_guide() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let guide = read("CONTRIBUTING.md");
    for file in ["returns.rs", "returned.rs"] {
        let code = read(&format!("tests/all/worked_example/{file}"));
        assert!(guide.contains(&format!("```rust\n{code}```\n")), "CONTRIBUTING.md shows another {file}");
    }
}
