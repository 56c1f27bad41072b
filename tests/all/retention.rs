//! Expiry, listing and settings: what an item carries only while its state or the deployment asks for it.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use serde_json::{Value, json};
use tidemark_ledger::{AppRetention, Call, Plan, Store};
use tidemark_local::cli::Options;
use tidemark_local::stack::{STATE_TABLE, Stack};
use tidemark_model::stream::Routes;
use tidemark_model::time::DAY_MS;
use tidemark_model::{Settings, State};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{change, item as order_item, metric, order, tracked, user_event, with};
use tidemark_tests::{NOW_MS, aggregate, aggregate_with, documents, handle, invocation, product};

fn keeping_tombstones_for_30_days() -> Settings {
    Settings { tombstone_retention_ms: Some(30 * DAY_MS), ..Settings::default() }
}

async fn item(stack: &Stack) -> HashMap<String, AttributeValue> {
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let get =
        stack.clients.dynamodb.get_item().table_name(STATE_TABLE).key("PK", key("PRODUCT#1")).key("SK", key("STATE"));
    get.send().await.unwrap().item.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_expires_and_a_low_product_is_listed_but_no_other() {
    let mut stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    Arc::get_mut(&mut stack.aggregate).unwrap().settings = keeping_tombstones_for_30_days();
    let steps = [
        // (event, TTL, rank)
        (product(1, "Created", NOW_MS - 9, "s", "c", "1", 3), None, Some(3)),
        (product(1, "Updated", NOW_MS - 8, "s", "c", "1", 0), None, Some(0)),
        (product(1, "Updated", NOW_MS - 7, "s", "c", "1", 30), None, None),
        (product(1, "Updated", NOW_MS - 6, "s", "c", "1", 9), None, Some(9)),
        (product(1, "Deleted", NOW_MS - 5, "s", "c", "1", 0), Some((NOW_MS - 5 + 31 * DAY_MS) / 1000), None),
        (product(1, "Created", NOW_MS - 4, "s", "c", "1", 10), None, None),
    ];
    for ((event, ttl, rank), offset) in steps.iter().zip(0..) {
        handle(&stack.aggregate, invocation("product.updated", 0, offset, &[event])).await;
        let item = item(&stack).await;
        let number = |name: &str| item.get(name).map(|value| value.as_n().unwrap().parse::<i64>().unwrap());
        assert_eq!((number("TTL"), number("rank")), (*ttl, *rank), "after {event}");
        assert_eq!(item.contains_key("board"), rank.is_some(), "after {event}");
        let views = documents(&stack.aggregate.ledger.store().read_tables(NOW_MS).await.unwrap());
        assert_eq!(
            views["lowStock"]["products"].as_array().unwrap().len(),
            usize::from(rank.is_some()),
            "after {event}"
        );
        assert_eq!(views["sellers"][0]["totalProducts"], "1");
    }
}

#[tokio::test]
async fn a_record_older_than_tombstones_is_late_and_changes_nothing() {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    Arc::get_mut(&mut function).unwrap().settings = keeping_tombstones_for_30_days();
    let events = [
        product(1, "Created", NOW_MS - 31 * DAY_MS, "s", "c", "1", 3),
        product(2, "Created", NOW_MS - 29 * DAY_MS, "s", "c", "1", 3),
    ];
    let report = handle(&function, invocation("product.created", 0, 0, &events)).await;
    assert_eq!((report.late, report.entities), (1, 1));
    assert_eq!(documents(&store.tables())["sellers"][0]["totalProducts"], "1");
}

#[tokio::test]
async fn topics_carry_the_streams_that_the_deployment_says() {
    let store = MemoryStore::default();
    let mut function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let routes: Routes = "prod.catalogue=products, other=products".parse().unwrap();
    Arc::get_mut(&mut function).unwrap().settings = Settings { routes, ..Settings::default() };
    let event = product(1, "Created", 1, "s", "c", "1", 3);
    let known = handle(&function, invocation("prod.catalogue", 0, 0, &[&event])).await;
    let unknown = handle(&function, invocation("product.created", 0, 0, &[&event])).await;
    assert_eq!((known.entities, known.rejects.len(), unknown.entities, unknown.rejects.len()), (1, 0, 1, 1));
}

#[tokio::test]
async fn a_star_in_a_topic_routes_and_what_fits_no_pattern_is_set_aside() {
    let routes: Routes = "*.orders=orders, *.order_items=orders, track.*.v1=activity".parse().unwrap();
    let row = with(&order(1, "5", "paid"), json!({"__op": "c"}));
    let line = with(&order_item(1, 9, 1, "5"), json!({"__op": "c"}));
    let event = tracked("app", "u");
    for (topic, value, entities) in [
        // Without a table in the record the topic's last part is the table.
        ("eu.shop.orders", &row, 1),
        ("us.orders", &row, 1),
        ("eu.shop.order_items", &line, 1),
        // The event and its user's sighting.
        ("track.web.v1", &event, 2),
        ("orders", &row, 0),
        ("eu.shop.orders.old", &row, 0),
        ("track.web.v2", &event, 0),
        // What the deployment says comes in place of the source system's topics.
        ("analytics.events", &event, 0),
    ] {
        let settings = Settings { routes: routes.clone(), ..Settings::default() };
        let function = aggregate_with(MemoryStore::default(), MemoryObjects::default(), 0, settings);
        let report = handle(&function, invocation(topic, 0, 0, &[value.to_string()])).await;
        let reasons: Vec<&str> = report.rejects.iter().map(|reject| reject.reason.as_str()).collect();
        let expected: &[&str] = if entities > 0 { &[] } else { &["topic carries no known stream"] };
        assert_eq!((report.entities - reasons.len(), reasons.as_slice()), (entities, expected), "{topic}");
    }
}

#[tokio::test]
async fn an_app_keeps_activity_and_metrics_as_long_as_its_setting_says() {
    let store = MemoryStore::default();
    let a_week = |app: &str| vec![(app.to_owned(), 7)];
    store.items().retention = AppRetention { activity: a_week("app"), metrics: a_week("other") };
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let ago = |value: Value, days: i64| with(&value, json!({"timestamp": NOW_MS - days * DAY_MS})).to_string();

    let events = [ago(tracked("app", "u"), 10), ago(tracked("other", "u"), 10), ago(tracked("app", "u"), 5)];
    let report = handle(&function, invocation("analytics.events", 0, 0, &events)).await;
    assert_eq!((report.late, report.rejects.len()), (1, 0), "ten days are late where a week is kept");
    let points = [ago(metric("app", 1, json!({})), 10), ago(metric("other", 2, json!({})), 10)];
    let report = handle(&function, invocation("analytics.metrics", 0, 0, &points)).await;
    assert_eq!((report.late, report.rejects.len()), (1, 0), "metrics have a retention of their own");

    let views = documents(&store.tables());
    assert_eq!(
        views["eventTotals"],
        json!([
            {"service": "app", "type": "page_view", "count": "1"},
            {"service": "other", "type": "page_view", "count": "1"},
        ])
    );
    assert_eq!((views["metrics"].as_array().unwrap().len(), &views["metrics"][0]["appId"]), (1, &json!("app")));
    // What is kept is kept a day longer than its records are counted.
    let items = store.items();
    let states = items.entities.values().map(|entity| &entity.known.state);
    let mut kept: Vec<(&str, i64)> = states
        .filter_map(|state| match state {
            State::Event(event) => Some((event.app.as_str(), (event.expires - event.at) / DAY_MS)),
            _ => None,
        })
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [("app", 8), ("other", 31)]);
}

/// DynamoDB deletes what is past its TTL only some time later: until then readers must leave it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_past_its_ttl_is_not_read_though_it_is_there() {
    let mut stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let settings = Settings { sales_retention_ms: Some(30 * DAY_MS), ..Settings::default() };
    Arc::get_mut(&mut stack.aggregate).unwrap().settings = settings;
    let value = change("orders", "c", 1, Value::Null, order(1, "10", "paid")).to_string();
    handle(&stack.aggregate, invocation("db.public.orders", 0, 0, &[value])).await;
    let store = stack.aggregate.ledger.store();
    let rows = async |now_ms| store.read_tables(now_ms).await.unwrap().rows;
    let all = rows(NOW_MS).await;
    let (day, gone_ms) = all.iter().find_map(|(key, row)| Some((key, row.expires_ms()?))).unwrap();
    assert_eq!(rows(gone_ms - 1).await.len(), all.len());
    let left = rows(gone_ms).await;
    assert_eq!(left.len(), all.len() - 1);
    assert!(left.iter().all(|(key, _)| key != day));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retention_of_apps_is_read_from_its_item_or_refused_by_name() {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |n: &str| AttributeValue::N(n.to_owned());
    let apps = |days| AttributeValue::M(HashMap::from([("app".to_owned(), days)]));
    let store = stack.aggregate.ledger.store();
    let read = async |name: &str, value| {
        let put = stack.clients.dynamodb.put_item().table_name(STATE_TABLE);
        let put = put.item("PK", text("SETTINGS")).item("SK", text("RETENTION")).item(name, value);
        put.send().await.unwrap();
        store.read_retention().await.map(|answer| answer.value)
    };
    let of = |days| vec![("app".to_owned(), days)];
    assert_eq!(store.read_retention().await.unwrap().value, AppRetention::default(), "none is set");
    for (days, n) in [("1", 1), ("7", 7), ("36500", 36_500)] {
        let activity = read("activity", apps(number(days))).await.unwrap();
        assert_eq!(activity, AppRetention { activity: of(n), metrics: vec![] });
        let metrics = read("metrics", apps(number(days))).await.unwrap();
        assert_eq!(metrics, AppRetention { activity: vec![], metrics: of(n) });
    }
    for odd in [apps(number("0")), apps(number("36501")), apps(number("1.5")), apps(text("7")), number("7")] {
        let error = read("metrics", odd.clone()).await.unwrap_err().to_string();
        assert!(
            error.contains("item SETTINGS RETENTION") && error.contains("no readable attribute metrics"),
            "{error}"
        );
    }
}

/// The order changes long after its day's row has expired: a row with the change alone would be wrong.
#[tokio::test]
async fn a_day_of_sales_past_its_retention_does_not_come_back() {
    let store = MemoryStore::default();
    let settings = Settings { sales_retention_ms: Some(30 * DAY_MS), ..Settings::default() };
    let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings);
    let made = |id: i64, days_ago: i64, lsn: i64, total: &str, status: &str| {
        let at = json!({"created_at": NOW_MS - days_ago * DAY_MS});
        change("orders", "u", lsn, Value::Null, with(&order(id, total, status), at)).to_string()
    };
    let then = Call { now_ms: NOW_MS - 40 * DAY_MS, deadline: None };
    let first = invocation("db.public.orders", 0, 0, &[made(1, 40, 1, "10", "paid")]);
    function.handle(first, then).await.1.unwrap();
    let views = documents(&store.tables());
    assert_eq!(views["dailySales"], json!([{"date": "2024-11-23", "order_count": "1", "total_amount": "10"}]));

    // As DynamoDB does when the row's TTL has passed.
    store.items().rows.retain(|key, _| !key.is_of("SALES"));
    let values = [made(1, 40, 2, "25", "shipped"), made(2, 5, 3, "4", "paid")];
    let report = handle(&function, invocation("db.public.orders", 0, 1, &values)).await;
    assert_eq!((report.entities, report.late, report.rejects.len()), (2, 1, 0), "the day that is gone is late");
    let views = documents(&store.tables());
    assert_eq!(views["dailySales"], json!([{"date": "2024-12-28", "order_count": "1", "total_amount": "4"}]));
    assert_eq!(views["customers"], json!([{"customer_id": "7", "order_count": "2", "total_spent": "29"}]));
    assert_eq!(views["orderStatus"], json!({"paid": "1", "shipped": "1"}));
    assert_eq!((&views["summary"]["total_orders"], &views["summary"]["total_revenue"]), (&json!("2"), &json!("29")));
    let items = store.items();
    let days: Vec<_> = items.rows.iter().filter(|(key, _)| key.is_of("SALES")).collect();
    assert_eq!(days.len(), 1, "{:?}", days.iter().map(|(key, _)| key).collect::<Vec<_>>());
    // The end of the day, the retention and a day.
    assert_eq!(days[0].1.measures.expires_ms(), Some(NOW_MS + (-4 + 30 + 1) * DAY_MS));
}

#[tokio::test]
async fn personal_data_is_stored_only_where_configured_wherever_it_comes() {
    let (address, agent) = ("192.0.2.17", "Mozilla/5.0");
    let in_event = json!({"ipAddress": address, "userAgent": agent, "properties": {"kept": 1}});
    let in_properties = json!({"properties": {"ipAddress": address, "userAgent": agent, "kept": 1}});
    let in_snake_case = json!({"properties": {"ip_address": address, "user_agent": agent, "kept": 1}});
    let in_data = json!({"data": {"ip_address": address, "user_agent": agent, "kept": 1}});
    for (topic, value) in [
        ("analytics.events", with(&tracked("app", "u"), in_event)),
        ("analytics.events", with(&tracked("app", "u"), in_properties)),
        ("analytics.events", with(&tracked("app", "u"), in_snake_case)),
        ("user-events", with(&user_event("auth", "u"), in_data)),
    ] {
        for (store_ip_address, store_user_agent) in [(false, false), (true, false), (false, true), (true, true)] {
            let store = MemoryStore::default();
            let settings = Settings { store_ip_address, store_user_agent, ..Settings::default() };
            let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings);
            handle(&function, invocation(topic, 0, 0, &[value.to_string()])).await;
            let items = store.items();
            let states = items.entities.values().map(|entity| &entity.known.state);
            let events: Vec<&State> = states.filter(|state| matches!(state, State::Event(_))).collect();
            let plans: Vec<Plan> = items.plans.values().map(|body| Plan::decode(body).unwrap()).collect();
            assert_eq!((events.len(), plans.len()), (1, 1), "{value}");
            for text in [serde_json::to_string(&events).unwrap(), serde_json::to_string(&plans).unwrap()] {
                assert!(text.contains("kept"), "{text}");
                assert_eq!(text.contains(address), store_ip_address, "{text}");
                assert_eq!(text.contains(agent), store_user_agent, "{text}");
            }
        }
    }
}
