//! The truth, by brute force: all events in memory, the newest of each product, plain sums in
//! another decimal library. It shares no code with the model.

mod activity;
mod metrics;
mod orders;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

pub use activity::activity;
pub use metrics::metrics;
pub use orders::orders;

const DAY_MS: i64 = 86_400_000;

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

/// The same views with every list in one order, where equals may stand in any.
pub fn sorted(views: &Value) -> Value {
    canonical(views, true)
}

/// A value with its members in the order of their names; its lists, too, in the order of their
/// elements' texts, if that is asked for.
fn canonical(value: &Value, sorts_lists: bool) -> Value {
    match value {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(|element| canonical(element, sorts_lists)).collect();
            if sorts_lists {
                list.sort_by_cached_key(Value::to_string);
            }
            Value::Array(list)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| (name.clone(), canonical(value, sorts_lists));
            let members: BTreeMap<String, Value> = members.iter().map(member).collect();
            members.into_iter().collect()
        }
        other => other.clone(),
    }
}

fn plain(n: Decimal) -> String {
    // The library knows a negative zero.
    if n.is_zero() {
        return "0".to_owned();
    }
    n.normalize().to_string()
}

/// A text, or a number as text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A number, in quotes or not. Without, it has passed through a float: which a short one survives.
fn number(value: &Value) -> Decimal {
    let text = text(value);
    text.parse().or_else(|_| Decimal::from_scientific(&text)).unwrap()
}

/// The date of a day, counted from 1970.
fn date(day: i64) -> String {
    let days = |year| months(year).iter().sum::<i64>();
    let (mut year, mut left) = (1970, day);
    while left >= days(year) {
        left -= days(year);
        year += 1;
    }
    let mut month = 0;
    while left >= months(year)[month] {
        left -= months(year)[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

/// The days of a year's months.
fn months(year: i64) -> [i64; 12] {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}
