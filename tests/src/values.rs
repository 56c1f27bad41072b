//! Values of records, as their producers write them: changes of orders and of their items, tracked events,
//! user events and points of metrics.

use serde_json::{Value, json};

/// When Kafka took the first record of a [`crate::invocation`] at offset 0: 2025-01-01.
pub const TAKEN_MS: i64 = 1_735_689_600_000;

/// A row of `orders`.
pub fn order(id: i64, total: &str, status: &str) -> Value {
    json!({"id": id, "customer_id": 7, "total_amount": total, "status": status, "created_at": TAKEN_MS})
}

/// A row of `order_items`.
pub fn item(id: i64, product: i64, quantity: i64, price: &str) -> Value {
    json!({"id": id, "order_id": 1, "product_id": product, "quantity": quantity, "price": price})
}

/// A Debezium envelope, without a schema, of a change at this place in the database's log.
pub fn change(table: &str, op: &str, lsn: i64, before: Value, after: Value) -> Value {
    let source = json!({"ts_ms": TAKEN_MS, "lsn": lsn, "table": table});
    json!({"before": before, "after": after, "source": source, "op": op, "ts_ms": TAKEN_MS})
}

/// A tracked event.
pub fn tracked(app: &str, user: &str) -> Value {
    json!({"appId": app, "userId": user, "eventType": "page_view", "eventName": "loaded", "timestamp": TAKEN_MS})
}

/// A user event.
pub fn user_event(service: &str, user: &str) -> Value {
    json!({"event_type": "user.login", "user_id": user, "service": service, "timestamp": TAKEN_MS, "data": {}})
}

/// A point of a metric.
pub fn metric(app: &str, value: i64, tags: Value) -> Value {
    json!({
        "appId": app, "metricName": "latency", "metricType": "timer", "value": value, "tags": tags,
        "timestamp": TAKEN_MS,
    })
}

/// An object with other or further members.
pub fn with(object: &Value, members: Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    object
}

/// An object that lacks a member.
pub fn without(object: &Value, member: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(member).unwrap();
    object
}
