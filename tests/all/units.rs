//! What a commit costs, on the embedded DynamoDB's metering.

use std::collections::BTreeSet;

use clap::Parser;
use serde_json::json;
use tidemark_local::cli::Options;
use tidemark_local::stack::Stack;
use tidemark_model::ingest::{RequestId, ingest};
use tidemark_model::{Settings, activity, metric};
use tidemark_tests::{NOW_MS, call, envelope, handle, invocation, product, records};

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

/// Two batches of 10,000 change events in the mix of the sample data: of 2,503 events 502 orders made,
/// 925 updated, 23 deleted, 1,012 items added, 41 deleted; 20,000 customers, 1,000 products.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_order_or_item_costs_at_most_two_write_units_ranking_included() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    for round in 0..2 {
        let (orders, items) = order_events(round);
        assert_eq!(orders.len() + items.len(), 10_000);
        let payload = envelope(&json!({
            "db.public.orders-0": records("db.public.orders", round * 10_000, &orders),
            "db.public.order_items-0": records("db.public.order_items", round * 10_000, &items),
        }));
        let report = handle(&stack.aggregate, payload).await;
        let per_entity = report.write_units / report.entities as f64;
        let reads = report.read_units / report.entities as f64;
        println!("orders, batch {round}: {per_entity:.3} write units and {reads:.3} read units per order or item");
        assert_eq!(report.entities, 2_005 + 4_043);
        // A row enters the directory once, when it comes to be: in the first batch all are new.
        let most = if round == 0 { 2.05 } else { 2.0 };
        assert!(per_entity <= most, "{per_entity} write units per changed order or item: {report:?}");
    }
}

fn order_events(round: i64) -> (Vec<String>, Vec<String>) {
    let row = |table: &str, op: &str, n: i64, at: i64, columns: String| {
        let source = format!(r#""source":{{"ts_ms":{at},"lsn":{at},"table":"{table}"}}"#);
        let image = format!(r#"{{"id":{n},{columns},"created_at":{}}}"#, 1_735_689_600_000_000 + n);
        let (before, after) = if op == "d" { (image, "null".to_owned()) } else { ("null".to_owned(), image) };
        format!(r#"{{"before":{before},"after":{after},{source},"op":"{op}","ts_ms":{at}}}"#)
    };
    let mixed = |n: i64| (n * 7919 + 31) % 100_003;
    let order = |op: &str, n: i64, at: i64, status: &str| {
        let (customer, cents) = (mixed(n) % 20_000, mixed(n * 3) % 300_000);
        let columns = format!(
            r#""customer_id":{customer},"total_amount":"{}.{:02}","status":"{status}""#,
            cents / 100,
            cents % 100
        );
        row("orders", op, n, 1_735_689_600_000 + at, columns)
    };
    let item = |op: &str, n: i64, at: i64| {
        let (product, cents) = (mixed(n) % 1_000, mixed(n * 3) % 30_000);
        let columns = format!(
            r#""order_id":{},"product_id":{product},"quantity":{},"price":"{}.{:02}""#,
            n / 2,
            1 + n % 5,
            cents / 100,
            cents % 100
        );
        row("order_items", op, n, 1_735_689_600_000 + at, columns)
    };
    let first = round * 10_000;
    let mut orders: Vec<String> = (0..2_005).map(|n| order("c", first + n, n, "pending")).collect();
    orders.extend((0..3_695).map(|n| order("u", first + n % 2_005, 2_005 + n, "completed")));
    orders.extend((0..92).map(|n| order("d", first + n * 21, 5_700 + n, "completed")));
    let mut items: Vec<String> = (0..4_043).map(|n| item("c", first + n, n)).collect();
    items.extend((0..165).map(|n| item("d", first + n * 24, 4_043 + n)));
    (orders, items)
}

/// 10,000 tracked events within a quarter of an hour: 3 apps, 20,000 users, 500 sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracked_event_costs_at_most_one_and_a_quarter_write_units_besides_first_sightings() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    for round in 0..2_i64 {
        let events: Vec<String> = (0..10_000_i64).map(|n| tracked(round * 10_000 + n)).collect();
        let report = handle(&stack.aggregate, invocation("analytics.events", 0, round * 10_000, &events)).await;
        let sightings = report.entities as f64 - 10_000.0;
        let per_event = (report.write_units - sightings) / 10_000.0;
        let reads = report.read_units / 10_000.0;
        println!("activity, batch {round}: {per_event:.3} write units and {reads:.3} read units per event");
        println!("  and a write unit for each of {sightings} first sightings");
        assert!(per_event <= 1.25, "{per_event} write units per event: {report:?}");
    }
}

fn tracked(n: i64) -> String {
    let app = ["firebook", "educationelly", "code-talk"][(n % 3) as usize];
    let (kind, name) = [
        ("page_view", "page_loaded"),
        ("user_action", "button_clicked"),
        ("user_action", "search"),
        ("user_lifecycle", "user_signup"),
    ][(n * 7919 % 4) as usize];
    json!({
        "appId": app, "userId": format!("user-{}", n * 7919 % 20_000), "eventType": kind, "eventName": name,
        "properties": {"buttonId": "submit-form", "n": n}, "sessionId": format!("session-abc-{}", n / 20),
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64)", "ipAddress": "192.168.1.7",
        "timestamp": 1_735_689_600_000_i64 + n * 40,
    })
    .to_string()
}

/// 10,000 points of 100 series within two minutes; latencies spread over two decades.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metric_point_costs_at_most_a_twentieth_of_a_write_unit() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    for round in 0..2_i64 {
        let points: Vec<String> = (0..10_000_i64).map(|n| point(round * 10_000 + n)).collect();
        let report = handle(&stack.aggregate, invocation("analytics.metrics", 0, round * 10_000, &points)).await;
        let per_point = report.write_units / 10_000.0;
        let reads = report.read_units / 10_000.0;
        println!("metrics, batch {round}: {per_point:.4} write units and {reads:.4} read units per point");
        assert!(per_point <= 0.05, "{per_point} write units per point: {report:?}");
    }
}

fn point(n: i64) -> String {
    // A third of the spread of a bell, in natural logarithms: roughly what latencies are.
    let bell = (0..6).map(|k| (n * 7919 + k * 104_729) * 31 % 1_000).sum::<i64>() as f64 / 1_000.0 - 3.0;
    let latency = (4.0 + 0.7 * bell).exp();
    json!({
        "appId": "shop", "metricName": "response_time", "metricType": "timer",
        "value": (latency * 100.0).round() / 100.0, "unit": "ms",
        "tags": {"endpoint": format!("/e{}", n % 25), "region": format!("r{}", n / 25 % 4)},
        "timestamp": 1_735_689_600_000_i64 + n * 12,
    })
    .to_string()
}

/// One event or one point a request: the plan, the cursor and the rows that many share in a batch, each pays alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_one_event_costs_at_most_ten_write_units_and_of_one_point_at_most_six() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let settings = Settings { now_ms: NOW_MS, ..Settings::default() };
    let mut lanes = BTreeSet::new();
    for (stream, value, most, most_read) in [
        (&activity::TRACKED, tracked as fn(i64) -> String, 10.0, 5.5),
        (&metric::STREAM, point as fn(i64) -> String, 6.0, 4.0),
    ] {
        // Of one user, who is new at first, in a new session; of one series, which is admitted at first.
        for n in 0..30_i64 {
            let request = RequestId::random(n as u128);
            let said = ingest(stream, &[value(n * 20_000)], &request, &settings, |_| true);
            let (receipt, outcome) = stack.aggregate.ledger.ingest(said.changes, 1_000, call()).await;
            outcome.unwrap();
            let (writes, reads) = (receipt.write_units, receipt.read_units);
            // A lane is registered once.
            if !lanes.insert(receipt.lane.clone()) && n > 0 {
                println!("{} {n}: {writes} write units and {reads} read units", stream.name);
                assert!(writes <= most && reads <= most_read, "{} {n}: {receipt:?}", stream.name);
            }
        }
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
