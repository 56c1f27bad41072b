//! The same job as one would write it first: the published event type, parsed as lambda_runtime
//! parses it, owned structs, a decimal library, standard maps with string keys. One thread, no
//! set-aside records: whatever is odd fails the batch.

use std::collections::HashMap;

use aws_lambda_events::kafka::KafkaEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_type: String,
    timestamp: i64,
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    product_id: i64,
    seller_id: String,
    name: String,
    // A float would be faster and wrong.
    price: Box<RawValue>,
    quantity: i64,
    category: String,
}

#[derive(Clone)]
pub(crate) struct Product {
    version: (i64, u8),
    seller_id: String,
    _name: String,
    price: Decimal,
    quantity: i64,
    category: String,
    deleted: bool,
}

/// Deltas by row and measure.
pub(crate) type Rows = HashMap<(String, &'static str), Decimal>;

fn newest(payload: &[u8]) -> HashMap<i64, Product> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let event: KafkaEvent = serde_path_to_error::deserialize(&mut json).unwrap();
    let mut newest: HashMap<i64, Product> = HashMap::new();
    for record in event.records.into_values().flatten() {
        let value = BASE64.decode(record.value.unwrap()).unwrap();
        let Event { event_type, timestamp, data } = serde_json::from_slice(&value).unwrap();
        let rank = ["ProductCreated", "ProductUpdated", "ProductDeleted"].iter().position(|t| *t == event_type);
        let version = (timestamp, rank.unwrap() as u8);
        if newest.get(&data.product_id).is_some_and(|known| known.version >= version) {
            continue;
        }
        let product = Product {
            version,
            seller_id: data.seller_id,
            _name: data.name,
            price: data.price.get().parse().unwrap(),
            quantity: data.quantity,
            category: data.category,
            deleted: version.1 == 2,
        };
        newest.insert(data.product_id, product);
    }
    newest
}

/// What a payload leaves known.
pub(crate) fn known(payload: &[u8]) -> HashMap<i64, Product> {
    newest(payload)
}

/// Bytes to transitions and row deltas.
pub(crate) fn plain(payload: &[u8], known: &HashMap<i64, Product>) -> (usize, Rows) {
    let mut rows = Rows::new();
    let mut transitions = Vec::new();
    for (id, after) in newest(payload) {
        let before = known.get(&id).cloned();
        if before.as_ref().is_some_and(|before| before.version >= after.version) {
            continue;
        }
        if let Some(before) = &before {
            add(&mut rows, before, Decimal::NEGATIVE_ONE);
        }
        add(&mut rows, &after, Decimal::ONE);
        transitions.push((id, before, after));
    }
    (transitions.len(), rows)
}

fn add(rows: &mut Rows, product: &Product, sign: Decimal) {
    let mut add = |row: String, measure, n: Decimal| *rows.entry((row, measure)).or_default() += sign * n;
    let seller = || format!("SELLER#{}", product.seller_id);
    add(seller(), "total", Decimal::ONE);
    if product.deleted {
        add(seller(), "deleted", Decimal::ONE);
        return;
    }
    let value = product.price * Decimal::from(product.quantity);
    add(seller(), "active", Decimal::ONE);
    add(seller(), "value", value);
    let category = || format!("CATEGORY#{}", product.category);
    add(category(), "products", Decimal::ONE);
    add(category(), "value", value);
    add(category(), "prices", product.price);
    if product.quantity < 10 {
        add("LOWSTOCK".to_owned(), "count", Decimal::ONE);
    }
}
