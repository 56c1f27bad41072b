//! Arbitrary small streams, in which everything collides.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::product;

/// The first ms of 2025.
pub const NEW_YEAR_MS: i64 = 1_735_689_600_000;
/// Stands for a large value that an update left as it was.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A stream's name, and a value that it carries.
pub type Sent = (&'static str, String);

pub fn values(sent: &[Sent]) -> impl Iterator<Item = &[u8]> {
    sent.iter().map(|(_, value)| value.as_bytes())
}

/// A few products, sellers, categories and moments, so that everything collides.
pub fn product_event() -> impl Strategy<Value = String> {
    let kinds = select(vec!["Created", "Updated", "Updated", "Deleted"]);
    let names = select(vec!["a", "b", "a#b", "é😀", "\u{0}"]);
    let prices = select(vec!["0", "0.01", "136.19", "1e3", "999999999999.999999999999", "33.333333333333"]);
    (0_i64..4, kinds, 0_i64..5, names.clone(), names, prices, 0_i64..20).prop_map(
        |(id, kind, at, seller, category, price, quantity)| product(id, kind, at, seller, category, price, quantity),
    )
}

/// Which of the values come again, the very same, at the end.
fn again() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..6)
}

fn with_repeats(mut sent: Vec<Sent>, again: &[Index]) -> Vec<Sent> {
    if !sent.is_empty() {
        let repeats: Vec<Sent> = again.iter().map(|at| at.get(&sent).clone()).collect();
        sent.extend(repeats);
    }
    sent
}

/// One change of a row of the shop's database.
#[derive(Clone, Debug)]
struct Told {
    table: &'static str,
    id: i64,
    op: &'static str,
    /// Its place in the log, in streams that say so.
    lsn: i64,
    /// When it was written, in ms of the new year.
    at: i64,
    columns: Value,
}

impl Told {
    /// Of which row and how new it is; what shares that would be a tie.
    fn version(&self, logged: bool) -> (&'static str, i64, i64, i64) {
        (self.table, self.id, if logged { self.lsn } else { self.at }, self.at)
    }

    fn value(&self, logged: bool) -> String {
        let ms = NEW_YEAR_MS + self.at;
        let mut source = json!({"ts_ms": ms, "table": self.table});
        if logged {
            source["lsn"] = self.lsn.into();
        }
        let key = json!({"id": self.id});
        let mut image = self.columns.clone();
        image["id"] = self.id.into();
        let (before, after) = match self.op {
            "d" => (key, Value::Null),
            "u" => (key, image),
            _ => (Value::Null, image),
        };
        json!({"before": before, "after": after, "source": source, "op": self.op, "ts_ms": ms + 7}).to_string()
    }
}

fn told(table: &'static str, columns: impl Strategy<Value = Value>) -> impl Strategy<Value = Told> {
    // A row may be made, deleted and made again, and be read anew by a snapshot.
    let ops = select(vec!["c", "u", "u", "r", "d"]);
    (0_i64..4, ops, 0_i64..12, 0_i64..12, columns).prop_map(move |(id, op, lsn, at, columns)| Told {
        table,
        id,
        op,
        lsn,
        at,
        columns,
    })
}

fn order_columns() -> impl Strategy<Value = Value> {
    let customers = select(vec![json!(1), json!(2), json!("c#3"), Value::Null, json!(UNAVAILABLE)]);
    // A refund is a negative amount.
    let totals = ["0", "0.01", "136.19", "-136.19", "999999999999.99", UNAVAILABLE].map(Value::from).to_vec();
    let statuses = select(vec![json!("pending"), json!("paid"), json!("é#"), Value::Null, json!(UNAVAILABLE)]);
    let made_us = select(vec![-86_400_000_001_i64, -1, 0]);
    (customers, select(totals), statuses, made_us).prop_map(|(customer, total, status, made_us)| {
        let created_at = NEW_YEAR_MS * 1_000 + made_us;
        json!({"customer_id": customer, "total_amount": total, "status": status, "created_at": created_at})
    })
}

fn item_columns() -> impl Strategy<Value = Value> {
    let products = select(vec![json!(7), json!(8), json!("p%"), Value::Null, json!(UNAVAILABLE)]);
    let prices = select(vec![json!("0"), json!("2.50"), json!("33.333333333333"), Value::Null]);
    (products, select(vec![-2_i64, 0, 1, 20]), prices).prop_map(|(product, quantity, price)| {
        json!({"order_id": 1, "product_id": product, "quantity": quantity, "price": price})
    })
}

/// A few orders and items, customers, products and moments, so that everything collides.
pub fn order_stream(most: usize) -> impl Strategy<Value = Vec<Sent>> {
    let row = prop_oneof![told("orders", order_columns()), told("order_items", item_columns())];
    (any::<bool>(), prop::collection::vec(row, 0..most), again()).prop_map(|(logged, rows, again)| {
        let mut versions = BTreeSet::new();
        let rows = rows.into_iter().filter(|row| versions.insert(row.version(logged)));
        let sent = rows.map(|row| ("orders", row.value(logged))).collect();
        with_repeats(sent, &again)
    })
}

fn properties() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!({}),
        json!({"x": 1, "y": [2, 1]}),
        json!({"y": [2, 1], "x": 1}),
        json!({"y": [1, 2], "x": 1}),
        json!({"ip_address": "192.0.2.1"}),
    ])
}

/// Times around midnight, two of them in two spellings.
fn iso_times() -> Vec<Value> {
    let times = ["2024-12-31T23:59:59.999Z", "2025-01-01T00:00:00Z", "2025-01-01T00:15:00.000700Z"];
    times.map(Value::from).to_vec()
}

fn tracked() -> impl Strategy<Value = Sent> {
    let times = [iso_times(), vec![json!(NEW_YEAR_MS - 1), json!(NEW_YEAR_MS), json!(NEW_YEAR_MS + 1)]].concat();
    let sessions = select(vec![Value::Null, json!(""), json!("s"), json!("u")]);
    let (apps, users) = (select(vec!["a", "é#"]), select(vec!["u", "v%"]));
    let (kinds, names) = (select(vec!["login", "click"]), select(vec!["login", "b#c"]));
    (apps, users, kinds, names, sessions, properties(), select(times), any::<bool>()).prop_map(
        |(app, user, kind, name, session, properties, time, has_id)| {
            // What has one id says the same.
            let id = format!("{kind} {name} {session} {properties} {time}");
            let event = json!({
                "appId": app, "userId": user, "eventType": kind, "eventName": name, "sessionId": session,
                "properties": properties, "timestamp": time, "eventId": has_id.then_some(id),
            });
            ("activity", event.to_string())
        },
    )
}

/// A service may be an app, too, and its event one that was tracked.
fn user_event() -> impl Strategy<Value = Sent> {
    let kinds = ["user.login", "user_login", "user.search_performed", "user_search", "user.odd", "click"];
    let (services, users) = (select(vec!["a", "auth"]), select(vec!["u", "v%"]));
    (services, users, select(kinds.to_vec()), properties(), select(iso_times()), any::<bool>()).prop_map(
        |(service, user, kind, data, time, has_id)| {
            let id = format!("{kind} {data} {time}");
            let event = json!({
                "event_type": kind, "user_id": user, "service": service, "timestamp": time, "data": data,
                "event_id": has_id.then_some(id),
            });
            ("user-events", event.to_string())
        },
    )
}

pub fn activity_stream(most: usize) -> impl Strategy<Value = Vec<Sent>> {
    let event = prop_oneof![tracked(), user_event()];
    (prop::collection::vec(event, 0..most), again()).prop_map(|(sent, again)| with_repeats(sent, &again))
}

/// Points of which some or all have an identity.
pub fn metric_stream(most: usize) -> impl Strategy<Value = Vec<Sent>> {
    let tags = select(vec![
        Value::Null,
        json!({}),
        json!({"r": "eu"}),
        json!({"r": "us", "é#": "%"}),
        json!({"é#": "%", "r": "us"}),
    ]);
    let (apps, metrics, kinds) = (select(vec!["a", "b#"]), select(vec!["m", "n"]), select(vec!["gauge", "timer"]));
    let measured = select(vec![json!(0), json!(-1.5), json!(183.2), json!(0.001), json!(1_000_000)]);
    let times = select(vec![-1_i64, 0, 59_999, 60_000, 900_000]);
    let point = (apps, metrics, kinds, tags, measured, times, prop::option::of(0_u8..2));
    (any::<bool>(), prop::collection::vec(point, 0..most), again()).prop_map(|(identified, points, again)| {
        let sent = points.into_iter().map(|(app, metric, kind, tags, value, at, n)| {
            // What has one id says the same.
            let id = n.or(identified.then_some(0)).map(|n| format!("{kind} {tags} {value} {at} {n}"));
            let point = json!({
                "appId": app, "metricName": metric, "metricType": kind, "value": value, "tags": tags,
                "timestamp": NEW_YEAR_MS + at, "eventId": id,
            });
            ("metrics", point.to_string())
        });
        with_repeats(sent.collect(), &again)
    })
}
