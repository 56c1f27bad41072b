//! The truth, by brute force: all events in memory, the newest of each product, plain sums in
//! another decimal library. It shares no code with the model.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// What the views must read after these product events, as [`crate::documents`] gives it.
pub fn products<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let mut newest: BTreeMap<i64, ((i64, usize, u64), Value)> = BTreeMap::new();
    let mut text_of: BTreeMap<i64, &[u8]> = BTreeMap::new();
    for value in values {
        let event: Value = serde_json::from_slice(value).unwrap();
        let rank = ["ProductCreated", "ProductUpdated", "ProductDeleted"].iter().position(|t| event["eventType"] == *t);
        let version = (event["timestamp"].as_i64().unwrap(), rank.unwrap(), xxh3_64(value));
        let id = event["data"]["productId"].as_i64().unwrap();
        if newest.get(&id).is_none_or(|(known, _)| *known < version) {
            newest.insert(id, (version, event));
            text_of.insert(id, value);
        }
    }
    let mut sellers: BTreeMap<String, (u64, u64, Decimal)> = BTreeMap::new();
    let mut categories: BTreeMap<String, (u64, Decimal, Decimal)> = BTreeMap::new();
    let mut low: Vec<(i64, i64, Value)> = Vec::new();
    for (id, (_, event)) in &newest {
        let data = &event["data"];
        let text = |field: &str| data[field].as_str().unwrap().to_owned();
        let seller = sellers.entry(text("sellerId")).or_default();
        seller.0 += 1;
        if event["eventType"] == "ProductDeleted" {
            continue;
        }
        let quantity = data["quantity"].as_i64().unwrap();
        let price = price(text_of[id]);
        let value = price * Decimal::from(quantity);
        seller.1 += 1;
        seller.2 += value;
        let category = categories.entry(text("category")).or_default();
        *category = (category.0 + 1, category.1 + value, category.2 + price);
        if quantity < 10 {
            let product = json!({
                "productId": id.to_string(), "sellerId": text("sellerId"), "name": text("name"),
                "category": text("category"), "quantity": quantity.to_string(),
            });
            low.push((quantity, *id, product));
        }
    }
    low.sort_by_key(|(quantity, id, _)| (*quantity, *id));
    let products: Vec<Value> = low.into_iter().map(|(_, _, product)| product).collect();
    json!({
        "sellers": sellers.into_iter().map(|(id, (total, active, value))| json!({
            "sellerId": id, "totalProducts": total.to_string(), "activeProducts": active.to_string(),
            "deletedProducts": (total - active).to_string(), "totalValue": plain(value),
        })).collect::<Vec<_>>(),
        "categories": categories.into_iter().map(|(name, (products, value, prices))| json!({
            "category": name, "totalProducts": products.to_string(), "totalValue": plain(value),
            "averagePrice": plain((prices / Decimal::from(products)).round_dp(12)),
        })).collect::<Vec<_>>(),
        "lowStock": {"count": products.len().to_string(), "products": products},
    })
}

/// A price as it is written: a JSON value would hold it as a float.
fn price(event: &[u8]) -> Decimal {
    let text = std::str::from_utf8(event).unwrap();
    let (_, after) = text.split_once("\"price\":").unwrap();
    let number = after.trim_start().split([',', '}']).next().unwrap().trim();
    number.parse().or_else(|_| Decimal::from_scientific(number)).unwrap()
}

fn plain(n: Decimal) -> String {
    n.normalize().to_string()
}
