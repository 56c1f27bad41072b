//! Small random streams of all kinds, about few things, so that everything collides. They play today: what is
//! past its TTL is gone from some stores.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};
use tidemark_local::feed::{Log, logs_of};
use tidemark_model::stream::STREAMS;
use tidemark_tests::{SALES, oracle, product};

use super::now_ms;

const DAY_MS: i64 = 86_400_000;
/// Stands for a large value that an update left as it was.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Values by the name of their stream.
pub(super) struct Streams {
    sent: BTreeMap<&'static str, Vec<String>>,
    /// Records that cannot be read.
    pub(super) broken: i64,
    /// Whether every point of a metric is an entity, too.
    pub(super) identified: bool,
}

/// Makes a stream's value of a number.
type Make<'a> = &'a dyn Fn(&mut Rng, i64) -> String;

impl Streams {
    /// About so many of each, in which some come twice.
    pub(super) fn random(rng: &mut Rng, number: usize) -> Self {
        let (broken, identified) = (rng.i64(1..4), rng.bool());
        let midnight = now_ms().div_euclid(DAY_MS) * DAY_MS;
        let makers: [(&'static str, Make<'_>); 5] = [
            ("products", &|rng, at| catalogue(rng, midnight + at)),
            ("orders", &|rng, at| change(rng, midnight, at)),
            ("activity", &|rng, _| tracked(rng, midnight)),
            ("user-events", &|rng, _| user_event(rng, midnight)),
            ("metrics", &|rng, _| point(rng, midnight, identified)),
        ];
        let mut sent = BTreeMap::new();
        for (name, make) in makers {
            let mut values: Vec<String> = (0..number as i64).map(|at| make(rng, at)).collect();
            let again = rng.choose_multiple(values.iter(), number / 8).into_iter().cloned().collect::<Vec<_>>();
            values.extend(again);
            rng.shuffle(&mut values);
            sent.insert(name, values);
        }
        let products = sent.get_mut("products").unwrap();
        products.extend((0..broken).map(|n| format!("broken {n}")));
        rng.shuffle(products);
        Self { sent, broken, identified }
    }

    fn values<'a>(&'a self, names: &[&'static str]) -> Vec<&'a [u8]> {
        let values = names.iter().flat_map(|name| &self.sent[name]).map(String::as_bytes);
        values.filter(|value| !value.starts_with(b"broken")).collect()
    }

    pub(super) fn logs(&self, partitions: i32) -> Vec<Log> {
        let logs = STREAMS.iter().flat_map(|stream| {
            let values = self.sent.get(stream.name).into_iter().flatten().map(String::as_bytes);
            logs_of(stream, values, partitions)
        });
        logs.collect()
    }

    /// The names of views, and what they must read.
    pub(super) fn truth(&self) -> [(&'static [&'static str], Value); 4] {
        [
            (&["sellers", "categories", "lowStock"], oracle::products(self.values(&["products"]))),
            (&SALES, oracle::orders(self.values(&["orders"]))),
            (&["apps", "eventTotals"], oracle::activity(self.values(&["activity", "user-events"]))),
            (&["metrics"], oracle::metrics(self.values(&["metrics"]))),
        ]
    }
}

fn one_of<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    *rng.choice(of).unwrap()
}

fn catalogue(rng: &mut Rng, at: i64) -> String {
    let kind = one_of(rng, &["Created", "Updated", "Updated", "Deleted"]);
    let (seller, category) = (one_of(rng, &["s", "t#", "ü%"]), one_of(rng, &["c", "d"]));
    let price = one_of(rng, &["0", "2.50", "33.333333333333", "99999.99"]);
    product(rng.i64(1..7), kind, at, seller, category, price, one_of(rng, &[0, 3, 9, 10, 500]))
}

/// A change of an order or an item. Its place in the log is its own, so that no two are of one version.
fn change(rng: &mut Rng, midnight: i64, at: i64) -> String {
    let (table, columns) = if rng.bool() {
        let customer = one_of(rng, &["1", "2", "c#3", "null", UNAVAILABLE]);
        let total = one_of(rng, &["0", "0.01", "136.19", "-136.19", "999999999999.99", UNAVAILABLE]);
        let status = one_of(rng, &["pending", "paid", "é#", UNAVAILABLE]);
        let created_at = midnight * 1_000 + one_of(rng, &[-DAY_MS * 1_000 - 1, -1, 0]);
        let customer = if customer == "null" { Value::Null } else { customer.into() };
        let columns = json!({"customer_id": customer, "total_amount": total, "status": status});
        ("orders", tidemark_tests::values::with(&columns, json!({"created_at": created_at})))
    } else {
        let product = one_of(rng, &[7, 8, 9]);
        let price = one_of(rng, &["0", "2.50", "33.333333333333"]);
        let quantity = one_of(rng, &[-2, 0, 1, 20]);
        ("order_items", json!({"order_id": 1, "product_id": product, "quantity": quantity, "price": price}))
    };
    let key = json!({"id": rng.i64(0..5)});
    let image = tidemark_tests::values::with(&columns, key.clone());
    let op = one_of(rng, &["c", "u", "u", "r", "d"]);
    let (before, after) = match op {
        "d" => (key, Value::Null),
        _ => (Value::Null, image),
    };
    let source = json!({"ts_ms": midnight + at, "lsn": at, "table": table});
    json!({"before": before, "after": after, "source": source, "op": op, "ts_ms": midnight + at}).to_string()
}

/// Around the midnight before.
fn moment(rng: &mut Rng, midnight: i64) -> i64 {
    midnight + one_of(rng, &[-DAY_MS, -1, 0, 1, 59_999, 900_000])
}

fn tracked(rng: &mut Rng, midnight: i64) -> String {
    let (app, user) = (one_of(rng, &["a", "é#"]), one_of(rng, &["u", "v%", "w"]));
    let (kind, name) = (one_of(rng, &["login", "click"]), one_of(rng, &["login", "b#c"]));
    let (session, at) = (one_of(rng, &[None, Some("s"), Some("u")]), moment(rng, midnight));
    // What has one id says the same.
    let id = format!("{kind} {name} {session:?} {at}");
    json!({
        "appId": app, "userId": user, "eventType": kind, "eventName": name, "sessionId": session,
        "properties": {"x": 1}, "timestamp": at, "eventId": rng.bool().then_some(id),
    })
    .to_string()
}

/// A service may be an app, too.
fn user_event(rng: &mut Rng, midnight: i64) -> String {
    let (service, user) = (one_of(rng, &["a", "auth"]), one_of(rng, &["u", "v%"]));
    let (kind, at) = (one_of(rng, &["user.login", "user_login", "user.search_performed"]), moment(rng, midnight));
    let id = format!("{kind} {at}");
    json!({
        "event_type": kind, "user_id": user, "service": service, "timestamp": at, "data": {"y": [2, 1]},
        "event_id": rng.bool().then_some(id),
    })
    .to_string()
}

fn point(rng: &mut Rng, midnight: i64, identified: bool) -> String {
    let (app, metric) = (one_of(rng, &["a", "b#"]), one_of(rng, &["m", "n"]));
    let tags = rng.choice([json!({}), json!({"r": "eu"}), json!({"r": "us", "é#": "%"})]).unwrap();
    let value = rng.choice([json!(0), json!(-1.5), json!(183.2), json!(0.001), json!(1_000_000)]).unwrap();
    let at = moment(rng, midnight);
    let id = (identified || rng.bool()).then(|| format!("{tags} {value} {at} {}", rng.u8(0..3)));
    json!({
        "appId": app, "metricName": metric, "metricType": "timer", "value": value, "tags": tags, "timestamp": at,
        "eventId": id,
    })
    .to_string()
}
