//! What a commit costs, on the embedded DynamoDB's metering.

use clap::Parser;
use tidemark_local::cli::Options;
use tidemark_local::stack::Stack;
use tidemark_tests::{handle, invocation, product};

/// 10,000 events of one partition over 5,000 products, 100 sellers, 20 categories, 3% low stock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_product_costs_at_most_one_and_a_quarter_write_units() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    for (round, kind) in ["Created", "Updated"].into_iter().enumerate() {
        let events: Vec<String> = (0..10_000).map(|n| event(round as i64, n, kind)).collect();
        let payload = invocation("product.updated", 0, round as i64 * 10_000, &events);
        let report = handle(&stack.aggregate, payload).await;
        let per_product = report.write_units / 5_000.0;
        println!(
            "{kind}: {per_product:.3} write units and {:.3} read units per changed product",
            report.read_units / 5_000.0
        );
        assert_eq!(report.entities, 5_000);
        assert!(per_product <= 1.25, "{kind}: {per_product} write units per changed product: {report:?}");
    }
}

fn event(round: i64, n: i64, kind: &str) -> String {
    let product_id = n % 5_000;
    let mixed = (product_id * 7919 + n * 31 + round * 17) % 100_000;
    let quantity = if product_id % 33 == round { mixed % 10 } else { 10 + mixed % 490 };
    let price = format!("{}.{:02}", mixed % 900 + 1, mixed % 100);
    let seller = format!("seller-{}", product_id % 100);
    product(product_id, kind, round * 100_000 + n, &seller, &format!("Category {}", product_id % 20), &price, quantity)
        .replace("\"n\"", &format!("\"Product {product_id} of the catalogue\""))
}
