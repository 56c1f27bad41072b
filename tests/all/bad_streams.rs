//! Bad input of orders, activity and metrics: set aside whole with its reason, the good ones beside it counted.
//! And what only looks bad.

use serde_json::{Value, json};
use tidemark_model::time::DAY_MS;
use tidemark_model::{Settings, State};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{TAKEN_MS, change, item, metric, order, tracked, user_event, with, without};
use tidemark_tests::{aggregate, aggregate_with, base64, documents, envelope, handle, invocation};

const ORDERS: &str = "shop.public.orders";
const ITEMS: &str = "shop.public.order_items";
const TRACKED: &str = "analytics.events";
const USER_EVENTS: &str = "user-events";
const METRICS: &str = "analytics.metrics";

const HOUR_MS: i64 = 3_600_000;
const YEAR_3000_MS: i64 = 32_503_680_000_000;

/// A value and what its reason says.
type Case = (Vec<u8>, &'static str);

fn case(value: impl ToString, reason: &'static str) -> Case {
    (value.to_string().into_bytes(), reason)
}

/// What is bad in every stream.
fn illegible() -> Vec<Case> {
    vec![
        case("{", "EOF"),
        case("not json", "Invalid"),
        case("", "EOF"),
        case("[1]", "expected an object"),
        (b"\xff\xfe{}".to_vec(), "UTF-8"),
        case(format!("{}{}", "{\"data\":".repeat(2000), "}".repeat(2000)), "nested deeper"),
        case(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), "nested deeper"),
    ]
}

fn bad_orders() -> Vec<Case> {
    let row = order(1, "10.00", "paid");
    let made = |after: Value| change("orders", "c", 1, Value::Null, after);
    let but = |columns: Value| made(with(&row, columns));
    let lacking = |column: &str| made(without(&row, column));
    vec![
        case(lacking("id"), "id is missing"),
        case(lacking("customer_id"), "customer_id is missing"),
        case(lacking("total_amount"), "total_amount is missing"),
        case(lacking("status"), "status is missing"),
        case(lacking("created_at"), "created_at is missing"),
        case(but(json!({"id": {"a": 1}})), "id {\"a\":1} is not a whole number"),
        case(but(json!({"id": "x".repeat(513)})), "id is longer than 512 bytes"),
        case(but(json!({"customer_id": "x".repeat(513)})), "customer_id is longer than 512 bytes"),
        case(but(json!({})).to_string().replace("paid", "\\ud800"), "status is no Unicode text"),
        case(but(json!({"total_amount": "12,50"})), "total_amount \"12,50\" is neither a number nor base64"),
        case(but(json!({"total_amount": true})), "total_amount true is not a number"),
        case(but(json!({"total_amount": "1e99"})), "is too large"),
        case(but(json!({"total_amount": 1_000_000_000_000_000_i64})), "total_amount 1000000000000000 is not between"),
        case(but(json!({"total_amount": "0.0000000000001"})), "more than 12 digits after the point"),
        case(but(json!({"total_amount": base64(&[0; 17])})), "more than 16 bytes"),
        case(but(json!({"total_amount": {"value": "AA=="}})), "has no scale"),
        case(but(json!({"created_at": "yesterday"})), "created_at `yesterday` is not a time"),
        case(but(json!({"created_at": {}})), "created_at {} is not a time"),
        case(but(json!({"created_at": YEAR_3000_MS})), "created_at 32503680000000 is more than 24 h past"),
        case(but(json!({"created_at": YEAR_3000_MS * 1_000})), "created_at 32503680000000 is more than 24 h past"),
        case(
            with(&but(json!({})), json!({"source": {"ts_ms": YEAR_3000_MS, "table": "orders"}})),
            "ts_ms 32503680000000 is more than 24 h past",
        ),
        case(change("orders", "t", 1, Value::Null, Value::Null), "op `t` is not c, u, d or r"),
        case(with(&but(json!({})), json!({"op": 7})), "op is not a text"),
        case(change("orders", "d", 1, Value::Null, Value::Null), "id is missing"),
        case(
            change("customers", "c", 1, Value::Null, row.clone()),
            "table `customers` is neither orders nor order_items",
        ),
        case(without(&but(json!({})), "op"), "neither a Debezium envelope nor an unwrapped row"),
        case(&row, "neither a Debezium envelope nor an unwrapped row"),
        case("{}", "neither a Debezium envelope nor an unwrapped row"),
        case(with(&row, json!({"__op": "t"})), "op `t` is not c, u, d or r"),
        case(made(json!([1])), "expected an object"),
        case(json!({"payload": [1]}), "expected an object"),
    ]
}

fn bad_items() -> Vec<Case> {
    let row = item(1, 101, 2, "19.99");
    let but = |columns: Value| change("order_items", "c", 1, Value::Null, with(&row, columns));
    let lacking = |column: &str| change("order_items", "c", 1, Value::Null, without(&row, column));
    vec![
        case(lacking("id"), "id is missing"),
        case(lacking("product_id"), "product_id is missing"),
        case(lacking("quantity"), "quantity is missing"),
        case(lacking("price"), "price is missing"),
        case(but(json!({"quantity": 1.5})), "quantity 1.5 is not a whole number"),
        case(but(json!({"quantity": 1_000_000_001})), "quantity 1000000001 is not between"),
        case(but(json!({"price": "1000000000000"})), "price 1000000000000 is not between"),
        case(but(json!({"price": "999999999999", "quantity": 1001})), "price times quantity is not below"),
    ]
}

fn bad_tracked() -> Vec<Case> {
    let event = tracked("app", "u");
    let but = |members: Value| with(&event, members);
    let lacking = |member: &str| without(&event, member);
    let with_text = |text: &str| but(json!({"properties": {"text": "?"}})).to_string().replace('?', text);
    let cases = vec![
        case(lacking("appId"), "appId is missing"),
        case(lacking("userId"), "userId is missing"),
        case(lacking("eventType"), "eventType is missing"),
        case(lacking("eventName"), "eventName is missing"),
        case(but(json!({"appId": null})), "appId is missing"),
        case(but(json!({"userId": ""})), "userId is missing"),
        case(but(json!({"appId": {"a": 1}})), "appId {\"a\":1} is not a whole number"),
        case(but(json!({"appId": "x".repeat(129)})), "appId is longer than 128 bytes"),
        case(but(json!({"userId": "x".repeat(513)})), "userId is longer than 512 bytes"),
        case(but(json!({"eventType": "x".repeat(101)})), "eventType is longer than 100 bytes"),
        case(but(json!({"eventName": "x".repeat(201)})), "eventName is longer than 200 bytes"),
        case(but(json!({"sessionId": "x".repeat(513)})), "sessionId is longer than 512 bytes"),
        case(but(json!({"eventId": {"a": 1}})), "eventId {\"a\":1} is not a whole number"),
        case(event.to_string().replace("\"u\"", "\"\\ud800\""), "userId is no Unicode text"),
        case(with_text("\\ud800"), "hex escape"),
        case(with_text(&"x".repeat(256 << 10)), "properties are longer than 131072 bytes"),
        case(but(json!({"timestamp": "yesterday"})), "timestamp `yesterday` is not a time"),
        case(but(json!({"timestamp": true})), "timestamp true is not a time"),
        case(but(json!({"timestamp": YEAR_3000_MS})), "timestamp 32503680000000 is more than 24 h past"),
        case(but(json!({"timestamp": "3000-01-01T00:00:00Z"})), "timestamp 32503680000000 is more than 24 h past"),
    ];
    [cases, bad_cloud_events(&lacking("timestamp"))].concat()
}

fn bad_user_events() -> Vec<Case> {
    let event = user_event("auth", "u");
    let but = |members: Value| with(&event, members);
    let lacking = |member: &str| without(&event, member);
    let cases = vec![
        case(lacking("event_type"), "event_type is missing"),
        case(lacking("user_id"), "user_id is missing"),
        case(lacking("service"), "service is missing"),
        case(but(json!({"service": "x".repeat(129)})), "service is longer than 128 bytes"),
        case(but(json!({"event_type": "x".repeat(101)})), "event_type is longer than 100 bytes"),
        case(event.to_string().replace("auth", "\\ud800"), "service is no Unicode text"),
        case(but(json!({"data": {"text": "x".repeat(256 << 10)}})), "longer than 131072 bytes"),
        case(but(json!({"timestamp": "yesterday"})), "timestamp `yesterday` is not a time"),
        case(but(json!({"timestamp": YEAR_3000_MS})), "timestamp 32503680000000 is more than 24 h past"),
    ];
    [cases, bad_cloud_events(&lacking("timestamp"))].concat()
}

/// A CloudEvents envelope of this data.
fn cloud_event(data: &Value) -> Value {
    json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": data})
}

/// Bad envelopes around data that is good.
fn bad_cloud_events(data: &Value) -> Vec<Case> {
    let event = cloud_event(data);
    vec![
        case(without(&event, "id"), "missing field `id`"),
        case(without(&event, "source"), "missing field `source`"),
        case(without(&event, "type"), "missing field `type`"),
        case(without(&event, "data"), "data is missing"),
        case(with(&without(&event, "data"), json!({"data_base64": "%%%"})), "data_base64 is not base64"),
        case(with(&event, json!({"data": [1]})), "expected an object"),
        case(with(&event, json!({"time": "soon"})), "time `soon` is not a time"),
    ]
}

fn bad_metrics() -> Vec<Case> {
    let point = metric("app", 1, json!({}));
    let but = |members: Value| with(&point, members);
    let lacking = |member: &str| without(&point, member);
    let tagged = |tags: Value| but(json!({"tags": tags}));
    let tags = |count: usize, value: &str| (0..count).map(|n| (format!("k{n}"), json!(value))).collect::<Value>();
    let of_value = |json: &str| point.to_string().replace("\"value\":1,", &format!("\"value\":{json},"));
    vec![
        case(lacking("appId"), "appId is missing"),
        case(lacking("metricName"), "metricName is missing"),
        case(lacking("metricType"), "metricType is missing"),
        case(lacking("value"), "value is missing"),
        case(but(json!({"appId": "x".repeat(129)})), "appId is longer than 128 bytes"),
        case(but(json!({"metricName": "x".repeat(201)})), "metricName is longer than 200 bytes"),
        case(but(json!({"metricType": "x".repeat(33)})), "metricType is longer than 32 bytes"),
        case(point.to_string().replace("\"app\"", "\"\\ud800\""), "appId is no Unicode text"),
        case(of_value("null"), "value is missing"),
        case(of_value("\"fast\""), "value \"fast\" is not a number"),
        case(of_value("\"NaN\""), "value \"NaN\" is not a number"),
        case(of_value("NaN"), "Invalid JSON value"),
        case(of_value("true"), "value true is not a number"),
        case(of_value("1e30"), "value 1e30 is too large"),
        case(of_value("-1e15"), "value -1000000000000000 is not between"),
        case(tagged(tags(200, "v")), "there are more than 64 tags"),
        case(tagged(tags(40, &"v".repeat(30))), "tags are longer than a key takes"),
        case(tagged(json!({"a": {"b": 1}})), "tag `a` is not a text"),
        case(tagged(json!({"a": [1]})), "tag `a` is not a text"),
        case(tagged(json!({"x".repeat(513): "v"})), "tag is longer than 512 bytes"),
        case(tagged(json!({"a": "?"})).to_string().replace('?', "\\ud800"), "tag is no Unicode text"),
        case(tagged(json!(["region", "eu"])), "tags [\"region\",\"eu\"] are not an object"),
        case(tagged(json!("region")), "tags \"region\" are not an object"),
        case(but(json!({"timestamp": "yesterday"})), "timestamp `yesterday` is not a time"),
        case(but(json!({"timestamp": YEAR_3000_MS})), "timestamp 32503680000000 is more than 24 h past"),
        case(but(json!({"eventId": {"a": 1}})), "eventId {\"a\":1} is not a whole number"),
        case(but(json!({"eventId": "#".repeat(400)})), "eventId is longer than a key takes"),
    ]
}

#[tokio::test]
async fn each_bad_value_of_every_stream_is_one_rejects_reason() {
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    let function = aggregate(store.clone(), objects.clone(), 0);
    let streams = [
        (ORDERS, bad_orders(), change("orders", "c", 1, Value::Null, order(1, "10.00", "paid"))),
        (ITEMS, bad_items(), change("order_items", "c", 1, Value::Null, item(1, 101, 2, "19.99"))),
        (TRACKED, bad_tracked(), tracked("app", "u")),
        (USER_EVENTS, bad_user_events(), user_event("auth", "u")),
        (METRICS, bad_metrics(), metric("app", 1, json!({}))),
    ];
    for (topic, cases, good) in streams {
        let cases = [illegible(), cases].concat();
        let mut values: Vec<Vec<u8>> = cases.iter().map(|(value, _)| value.clone()).collect();
        values.push(good.to_string().into_bytes());
        // Twice: what comes again is set aside again, and still counted once.
        for _ in 0..2 {
            let report = handle(&function, invocation(topic, 7, 100, &values)).await;
            for ((value, expected), offset) in cases.iter().zip(100..) {
                let shown = String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned();
                let reject = report.rejects.iter().find(|reject| reject.offset == offset);
                let reason = reject.map(|reject| reject.reason.as_str());
                let what = format!("{topic}: {shown}: {reason:?}, not {expected}");
                assert!(reason.is_some_and(|reason| reason.contains(expected)), "{what}");
                assert!(reason.is_some_and(|reason| reason.len() < 300 && !reason.contains('\n')), "{what}");
            }
            assert_eq!(report.rejects.len(), cases.len(), "{topic}");
        }

        let key = format!("quarantine/{topic}/7/100-{}.jsonl", 99 + cases.len());
        let body = objects.0.lock().unwrap()[&key].clone();
        let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(lines.len(), cases.len(), "{topic}");
        for ((value, _), line) in cases.iter().zip(&lines) {
            assert_eq!(line["record"]["value"], base64(value), "{topic}: the record is kept whole");
        }
        let rows = store.tables().rows;
        let row = &rows.iter().find(|(key, _)| key.pk.as_str() == format!("REJECTS#{topic}")).unwrap().1;
        assert_eq!(row.get("records").to_whole(), Some(cases.len() as i64), "{topic}");
    }
    let views = documents(&store.tables());
    assert_eq!((&views["summary"]["total_orders"], &views["summary"]["total_revenue"]), (&json!("1"), &json!("10")));
    assert_eq!(views["productSales"], json!([{"product_id": "101", "quantity_sold": "2", "total_revenue": "39.98"}]));
    assert_eq!(
        views["eventTotals"],
        json!([
            {"service": "app", "type": "page_view", "count": "1"},
            {"service": "auth", "type": "login", "count": "1"},
        ])
    );
    assert_eq!((views["metrics"].as_array().unwrap().len(), &views["metrics"][0]["count"]), (1, &json!("1")));
}

/// Records of a topic's partition 0 with these fields.
fn records(topic: &str, fields: Vec<Value>) -> bytes::Bytes {
    let record = |(fields, offset): (Value, i64)| {
        let place = json!({"topic": topic, "partition": 0, "offset": offset, "timestamp": TAKEN_MS + offset});
        with(&place, fields)
    };
    let records: Vec<Value> = fields.into_iter().zip(0..).map(record).collect();
    envelope(&json!({format!("{topic}-0"): records}))
}

/// A tombstone is how Kafka is told to forget a row; an event or a point cannot be taken back.
#[tokio::test]
async fn no_value_says_nothing_of_orders_and_is_a_reject_of_activity_and_metrics() {
    for (topic, is_empty) in [(ORDERS, true), (ITEMS, true), (TRACKED, false), (USER_EVENTS, false), (METRICS, false)] {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 0);
        let nothing = vec![json!({"value": null}), json!({}), json!({"value": base64(b"null")})];
        let report = handle(&function, records(topic, nothing)).await;
        assert_eq!((report.records, report.entities), (3, report.rejects.len()), "{topic}");
        assert_eq!((report.empty, report.rejects.len()), if is_empty { (3, 0) } else { (0, 3) }, "{topic}");
        if !is_empty {
            let reasons: Vec<&str> = report.rejects.iter().map(|reject| reject.reason.as_str()).collect();
            assert_eq!(reasons[..2], ["value is missing or null"; 2], "{topic}");
            assert!(reasons[2].contains("invalid type"), "{topic}: {}", reasons[2]);
        }
        let mut states = store.items().entities.values().map(|entity| entity.known.state.clone()).collect::<Vec<_>>();
        states.retain(|state| !matches!(state, State::SetAside(_)));
        assert_eq!(states, [], "{topic}");
    }
}

#[tokio::test]
async fn a_schema_around_no_payload_says_nothing_of_orders() {
    let value = json!({"schema": {"type": "struct", "fields": []}, "payload": null}).to_string();
    let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
    let report = handle(&function, invocation(ORDERS, 0, 0, &[value])).await;
    assert_eq!((report.empty, report.rejects), (1, Vec::new()));
}

#[tokio::test]
async fn a_cloud_event_in_headers_needs_what_names_it() {
    let attributes = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t")];
    for (topic, event) in [(TRACKED, tracked("app", "u")), (USER_EVENTS, user_event("auth", "u"))] {
        let record = |lacking: &str| {
            let given = attributes.iter().filter(|(name, _)| *name != lacking);
            let headers: Vec<Value> = given.map(|(name, text)| json!({*name: text.as_bytes()})).collect();
            json!({"value": base64(event.to_string().as_bytes()), "headers": headers})
        };
        let fields = vec![record("ce_id"), record("ce_source"), record("ce_type"), record("nothing")];
        let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
        let report = handle(&function, records(topic, fields)).await;
        let reasons: Vec<&str> = report.rejects.iter().map(|reject| reject.reason.as_str()).collect();
        let missing = ["ce_id", "ce_source", "ce_type"].map(|name| format!("CloudEvents header {name} is missing"));
        assert_eq!(reasons, missing, "{topic}");
        // The event and its user's sighting, and what was set aside.
        assert_eq!(report.entities, 2 + missing.len(), "{topic}");
    }
}

/// Whose identity would count, the outer's or the inner's? Even one that holds an event's fields says not.
#[tokio::test]
async fn a_cloud_event_within_a_cloud_event_is_set_aside() {
    for (topic, event) in [(TRACKED, tracked("app", "u")), (USER_EVENTS, user_event("auth", "u"))] {
        let inner = cloud_event(&event);
        let both = with(&inner, event);
        let values = [cloud_event(&inner).to_string(), cloud_event(&both).to_string()];
        let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
        let report = handle(&function, invocation(topic, 0, 0, &values)).await;
        let reasons: Vec<&str> = report.rejects.iter().map(|reject| reject.reason.as_str()).collect();
        assert_eq!(reasons, ["a CloudEvent within a CloudEvent"; 2], "{topic}");
    }
}

#[tokio::test]
async fn an_update_of_an_unknown_row_counts_as_its_after_image_says() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let sold = change("orders", "u", 1, order(1, "5", "new"), order(1, "12.50", "paid"));
    let bought = change("order_items", "u", 1, item(1, 8, 9, "9"), item(1, 9, 2, "6.25"));
    let first = handle(&function, invocation(ORDERS, 0, 0, &[sold.to_string()])).await;
    let second = handle(&function, invocation(ITEMS, 0, 0, &[bought.to_string()])).await;
    assert_eq!((first.contradictions, second.contradictions), (0, 0), "nothing is stored that could be contradicted");
    let views = documents(&store.tables());
    assert_eq!(views["customers"], json!([{"customer_id": "7", "order_count": "1", "total_spent": "12.5"}]));
    assert_eq!(views["orderStatus"], json!({"paid": "1"}));
    assert_eq!(views["productSales"], json!([{"product_id": "9", "quantity_sold": "2", "total_revenue": "12.5"}]));
}

#[tokio::test]
async fn a_deletion_of_an_unknown_row_leaves_a_tombstone_that_an_older_creation_does_not_revive() {
    for (topic, table, row) in [(ORDERS, "orders", order(1, "5", "new")), (ITEMS, "order_items", item(1, 9, 2, "5"))] {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 0);
        let deleted = change(table, "d", 9, json!({"id": 1}), Value::Null).to_string();
        let report = handle(&function, invocation(topic, 0, 0, &[deleted])).await;
        assert_eq!((report.entities, report.rejects.len()), (1, 0), "{table}");
        let states = |store: &MemoryStore| {
            let items = store.items();
            items.entities.values().map(|entity| entity.known.state.clone()).collect::<Vec<State>>()
        };
        let tombstone = states(&store);
        let is_deleted = match &tombstone[..] {
            [State::Order(order)] => order.deleted,
            [State::Item(item)] => item.deleted,
            _ => false,
        };
        assert!(is_deleted, "{table}: {tombstone:?}");

        let created = change(table, "c", 5, Value::Null, row).to_string();
        let report = handle(&function, invocation(topic, 0, 1, &[created])).await;
        assert_eq!((report.entities, report.duplicates), (0, 1), "{table}");
        assert_eq!(states(&store), tombstone, "{table}");
        assert!(store.tables().rows.is_empty(), "{table}: {:?}", store.tables().rows);
    }
}

#[tokio::test]
async fn a_decimal_without_a_schema_is_read_in_every_form() {
    for (scale, json, expected) in [
        (2, "\"ITI=\"", "84.98"),
        (3, "\"ITI=\"", "8.498"),
        (0, "\"ITI=\"", "8498"),
        (2, "\"/w==\"", "-0.01"),
        (2, "\"84.98\"", "84.98"),
        (3, "\"84.98\"", "84.98"),
        (3, "84.98", "84.98"),
        (2, "{\"scale\":3,\"value\":\"AYag\"}", "100"),
        (2, "\"1234\"", "1234"),
        (2, "null", "0"),
    ] {
        let store = MemoryStore::default();
        let settings = Settings { decimal_scale: scale, ..Settings::default() };
        let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings);
        let order = change("orders", "c", 1, Value::Null, order(1, "?", "paid")).to_string().replace("\"?\"", json);
        let report = handle(&function, invocation(ORDERS, 0, 0, &[order])).await;
        assert_eq!(report.rejects, [], "{json} at scale {scale}");
        let views = documents(&store.tables());
        assert_eq!(views["summary"]["total_orders"], "1", "{json} at scale {scale}");
        assert_eq!(views["summary"]["total_revenue"], expected, "{json} at scale {scale}");
    }
}

#[tokio::test]
async fn an_order_without_a_status_counts_under_unknown() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let row = with(&order(1, "5", ""), json!({"status": null}));
    let values = [
        change("orders", "c", 1, Value::Null, row.clone()).to_string(),
        change("orders", "c", 1, Value::Null, with(&row, json!({"id": 2}))).to_string(),
    ];
    handle(&function, invocation(ORDERS, 0, 0, &values)).await;
    assert_eq!(documents(&store.tables())["orderStatus"], json!({"unknown": "2"}));
    let told = change("orders", "u", 2, Value::Null, order(1, "5", "paid")).to_string();
    handle(&function, invocation(ORDERS, 0, 2, &[told])).await;
    assert_eq!(documents(&store.tables())["orderStatus"], json!({"paid": "1", "unknown": "1"}));
}

#[tokio::test]
async fn negative_amounts_count() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let refund = change("orders", "c", 1, Value::Null, order(1, "-5.25", "refunded")).to_string();
    let returned = change("order_items", "c", 1, Value::Null, item(1, 9, -2, "3.50")).to_string();
    let reports = [
        handle(&function, invocation(ORDERS, 0, 0, &[refund])).await,
        handle(&function, invocation(ITEMS, 0, 0, &[returned])).await,
    ];
    assert!(reports.iter().all(|report| report.rejects.is_empty()), "{reports:?}");
    let views = documents(&store.tables());
    assert_eq!(views["dailySales"], json!([{"date": "2025-01-01", "order_count": "1", "total_amount": "-5.25"}]));
    assert_eq!(views["customers"], json!([{"customer_id": "7", "order_count": "1", "total_spent": "-5.25"}]));
    assert_eq!(views["productSales"], json!([{"product_id": "9", "quantity_sold": "-2", "total_revenue": "-7"}]));
}

#[tokio::test]
async fn an_item_whose_before_contradicts_the_stored_one_is_counted_as_such() {
    let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
    let row = |quantity| item(1, 9, quantity, "3.50");
    let mut found = Vec::new();
    for (before, quantity, n) in [(Value::Null, 1, 0), (row(1), 2, 1), (row(7), 3, 2)] {
        let value = change("order_items", "u", n, before, row(quantity)).to_string();
        found.push(handle(&function, invocation(ITEMS, 0, n, &[value])).await.contradictions);
    }
    assert_eq!(found, [0, 0, 1]);
}

#[tokio::test]
async fn the_stored_state_wins_over_a_before_that_contradicts_it() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let row = |total: &str| order(1, total, "paid");
    let columns = json!({"customer_id": null, "total_amount": null, "status": null, "created_at": null});
    let steps = [
        // (before, the total after, contradictions)
        (Value::Null, "10", 0),
        (row("99"), "20", 1),
        (json!({"id": 1}), "30", 0),
        (with(&row("0"), columns), "40", 0),
        (Value::Null, "50", 0),
        (row("50.00"), "60", 0),
        (with(&row("60"), json!({"status": "new"})), "70", 1),
        (with(&row("70"), json!({"customer_id": 8})), "80", 1),
    ];
    for ((before, total, contradictions), n) in steps.iter().zip(0..) {
        let value = change("orders", "u", n, before.clone(), row(total)).to_string();
        let first = handle(&function, invocation(ORDERS, 0, n, &[&value])).await;
        assert_eq!((first.contradictions, first.entities), (*contradictions, 1), "{value}");
        let again = handle(&function, invocation(ORDERS, 0, n, &[&value])).await;
        assert_eq!((again.contradictions, again.entities), (0, 0), "{value}");
        let views = documents(&store.tables());
        assert_eq!(views["customers"], json!([{"customer_id": "7", "order_count": "1", "total_spent": total}]));
        assert_eq!(views["dailySales"][0]["total_amount"], *total);
        assert_eq!(views["orderStatus"], json!({"paid": "1"}));
    }
}

#[tokio::test]
async fn a_time_may_be_ahead_of_kafkas_by_the_clock_skew_and_no_further() {
    for (skew, ahead, hours) in [
        (HOUR_MS, HOUR_MS, None),
        (HOUR_MS, HOUR_MS + 1, Some("more than 1 h past")),
        (DAY_MS, HOUR_MS + 1, None),
        (DAY_MS, DAY_MS, None),
        (DAY_MS, DAY_MS + 1, Some("more than 24 h past")),
    ] {
        let at = TAKEN_MS + ahead;
        let made_at = with(&order(1, "5", "paid"), json!({"created_at": at}));
        let written_at = json!({"source": {"ts_ms": at, "table": "order_items"}});
        for (topic, value) in [
            (ORDERS, change("orders", "c", 1, Value::Null, made_at)),
            (ITEMS, with(&change("order_items", "c", 1, Value::Null, item(1, 9, 1, "5")), written_at)),
            (TRACKED, with(&tracked("app", "u"), json!({"timestamp": at}))),
            (USER_EVENTS, with(&user_event("auth", "u"), json!({"timestamp": at}))),
            (METRICS, with(&metric("app", 1, json!({})), json!({"timestamp": at}))),
        ] {
            let settings = Settings { clock_skew_ms: skew, ..Settings::default() };
            let function = aggregate_with(MemoryStore::default(), MemoryObjects::default(), 0, settings);
            let report = handle(&function, invocation(topic, 0, 0, &[value.to_string()])).await;
            let what = format!("{topic} {ahead} ms ahead, {skew} ms allowed: {report:?}");
            assert_eq!(report.rejects.len(), usize::from(hours.is_some()), "{what}");
            assert!(report.rejects.iter().all(|reject| reject.reason.contains(hours.unwrap())), "{what}");
        }
    }
}

#[tokio::test]
async fn activity_and_metrics_of_1970_are_late() {
    for (topic, event) in [
        (TRACKED, tracked("app", "u")),
        (USER_EVENTS, user_event("auth", "u")),
        (METRICS, metric("app", 1, json!({}))),
        (METRICS, with(&metric("app", 1, json!({})), json!({"eventId": "e"}))),
    ] {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 0);
        let times = [json!(0), json!(364), json!("0"), json!("1970-01-01T00:00:00Z")];
        let values = times.map(|time| with(&event, json!({"timestamp": time})).to_string());
        let report = handle(&function, invocation(topic, 0, 0, &values)).await;
        assert_eq!((report.late, report.rejects.len(), report.entities), (4, 0, 0), "{topic}");
        assert!(store.tables().rows.is_empty(), "{topic}");
    }
}

/// Else all points that lack an id would be one.
#[tokio::test]
async fn an_empty_id_is_none() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let empty = json!({"eventId": "", "sessionId": ""});
    let points = [1, 2].map(|value| with(&metric("app", value, json!({})), empty.clone()).to_string());
    let events =
        ["a", "b"].map(|name| with(&with(&tracked("app", "u"), empty.clone()), json!({"eventName": name})).to_string());
    handle(&function, invocation(METRICS, 0, 0, &points)).await;
    handle(&function, invocation(TRACKED, 0, 0, &events)).await;
    let views = documents(&store.tables());
    assert_eq!((&views["metrics"][0]["count"], &views["metrics"][0]["sum"]), (&json!("2"), &json!("3")));
    let day = &views["apps"][0]["days"][0];
    assert_eq!((&day["events"], &day["activeUsers"], &day["sessions"]), (&json!("2"), &json!("1"), &json!("0")));
}
