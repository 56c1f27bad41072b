//! Orders and their items: every row's records replayed in the order of their versions.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{DAY_MS, date, number, plain, text};

/// Stands for a large value that an update left as it was.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// What decides which record of a row is the newest: log position or time, time, place in the stream.
type Version = (i64, i64, usize);
/// How many, and what they sum up to; by name.
type Sums = BTreeMap<String, (i64, Decimal)>;

/// What the views must read after these change events, as [`crate::documents`] gives it. Events are
/// plain envelopes: decimals as text, `created_at` in us, a log position or not.
pub fn orders<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let events: Vec<Value> = values.into_iter().map(|value| serde_json::from_slice(value).unwrap()).collect();
    let (orders, items) = (live("orders", &events), live("order_items", &events));
    let (mut days, mut customers, mut products) = (Sums::new(), Sums::new(), Sums::new());
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    let mut revenue = Decimal::ZERO;
    for order in &orders {
        let total = given(&order["total_amount"]).map_or(Decimal::ZERO, number);
        revenue += total;
        if let Some(us) = order["created_at"].as_i64() {
            add(&mut days, date(us.div_euclid(DAY_MS * 1_000)), 1, total);
        }
        if let Some(customer) = given(&order["customer_id"]) {
            add(&mut customers, text(customer), 1, total);
        }
        *statuses.entry(given(&order["status"]).map_or("unknown".to_owned(), text)).or_default() += 1;
    }
    for item in &items {
        if let Some(product) = given(&item["product_id"]) {
            let quantity = item["quantity"].as_i64().unwrap_or(0);
            let price = given(&item["price"]).map_or(Decimal::ZERO, number);
            add(&mut products, text(product), quantity, price * Decimal::from(quantity));
        }
    }
    let list = |sums: &Sums, [name, count, sum]: [&str; 3]| -> Vec<Value> {
        let row =
            |(id, (n, total)): (&String, &(i64, Decimal))| json!({name: id, count: n.to_string(), sum: plain(*total)});
        sums.iter().map(row).collect()
    };
    let statuses: BTreeMap<String, String> = statuses.into_iter().map(|(status, n)| (status, n.to_string())).collect();
    json!({
        "dailySales": list(&days, ["date", "order_count", "total_amount"]),
        "productSales": list(&products, ["product_id", "quantity_sold", "total_revenue"]),
        "customers": list(&customers, ["customer_id", "order_count", "total_spent"]),
        "orderStatus": statuses,
        "summary": {
            "total_orders": orders.len().to_string(), "total_revenue": plain(revenue),
            "unique_customers": customers.len().to_string(), "unique_products_sold": products.len().to_string(),
        },
    })
}

/// The rows of a table that are there after all these events.
fn live(table: &str, events: &[Value]) -> Vec<Value> {
    let mut told: BTreeMap<String, Vec<(Version, &Value)>> = BTreeMap::new();
    for (position, event) in events.iter().enumerate().filter(|(_, event)| event["source"]["table"] == table) {
        let ts_ms = event["source"]["ts_ms"].as_i64().unwrap();
        let version = (event["source"]["lsn"].as_i64().unwrap_or(ts_ms), ts_ms, position);
        let image = if event["op"] == "d" { &event["before"] } else { &event["after"] };
        told.entry(text(&image["id"])).or_default().push((version, event));
    }
    told.into_values().filter_map(replayed).collect()
}

/// A row after its records, if it is there then.
fn replayed(mut told: Vec<(Version, &Value)>) -> Option<Value> {
    told.sort_by_key(|(version, _)| *version);
    let mut row: Option<Value> = None;
    for (_, event) in told {
        if event["op"] == "d" {
            row = None;
            continue;
        }
        let mut after = event["after"].clone();
        for (name, value) in after.as_object_mut().unwrap() {
            if *value == UNAVAILABLE {
                *value = row.as_ref().map_or(Value::Null, |older| older[name.as_str()].clone());
            }
        }
        row = Some(after);
    }
    row
}

fn given(value: &Value) -> Option<&Value> {
    Some(value).filter(|value| !value.is_null())
}

fn add(sums: &mut Sums, name: String, n: i64, amount: Decimal) {
    let sum = sums.entry(name).or_default();
    *sum = (sum.0 + n, sum.1 + amount);
}
