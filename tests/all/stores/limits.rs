//! What only a store behind DynamoDB's protocol has: errors and limits, indexes, request units.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{AppRetention, LaneId, LaneStats, PlanId, Segment, Store, StoreError, Written};
use tidemark_model::views::{CURRENT, Ranking, ranking_of};
use tidemark_model::{Key, Measures};

use super::entities::{deleted, product, transition};
use super::rows::{measures, n, ranking};
use super::{Check, Place, checks, lane, now_ms};

pub(super) fn checks() -> Vec<Check<Place>> {
    checks![
        a_missing_table_is_refused_for_good_and_named,
        what_exceeds_an_item_is_refused_for_good,
        a_key_beyond_its_limit_is_refused_for_good,
        an_item_that_does_not_read_is_named,
        retention_reads_as_the_operator_set_it,
        an_item_keeps_its_ttl_while_its_state_expires,
        a_listed_entity_stands_on_its_board_and_leaves_it,
        the_top_of_a_ranking_is_read_from_its_index,
        writes_are_metered_by_the_kilobyte,
        a_read_is_metered_by_four_kilobytes,
        a_batch_of_reads_is_metered_item_by_item,
        a_query_is_metered_as_a_whole,
    ]
}

fn expires_s() -> i64 {
    now_ms() / 1_000 + 86_400
}

fn refused_for_good<T: std::fmt::Debug>(answer: Result<T, StoreError>, operation: &str, table: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(!error.is_retryable());
    let message = error.to_string();
    assert!(message.contains(&format!("{operation} on table {table} ")), "{message}");
}

async fn a_missing_table_is_refused_for_good_and_named(place: Place) {
    let name = |table: &str| format!("{table}-missing");
    let tables = Tables { state: name(&place.tables.state), views: name(&place.tables.views) };
    let store = DynamoStore::new(place.client, tables.clone());
    let (lane, plan, key) = (lane("missing"), PlanId::new(1, 1), Key::of("MISSING", "1", CURRENT));
    let (keys, transition) = ([key.clone()], transition(&key, 0, None, product(1, 5)));
    let (state, views) = (&tables.state, &tables.views);
    refused_for_good(store.read_cursor(&lane).await, "GetItem", state);
    refused_for_good(store.read_entities(&keys, true).await, "BatchGetItem", state);
    refused_for_good(store.write_plan(&lane, &plan, None, b"x", expires_s()).await, "PutItem", state);
    refused_for_good(store.write_entities(&lane, 1, &[&transition]).await, "BatchExecuteStatement", state);
    refused_for_good(store.finish(&lane, 1, &LaneStats::default()).await, "UpdateItem", state);
    refused_for_good(store.lanes(None).await, "Query", state);
    refused_for_good(store.timeline("missing", None).await, "Query", state);
    refused_for_good(store.add_row(&lane, 1, &key, &Measures::default(), None).await, "UpdateItem", views);
    refused_for_good(store.rows(Segment::WHOLE, None).await, "Scan", views);
}

async fn what_exceeds_an_item_is_refused_for_good(place: Place) {
    let (lane, plan) = (lane("limits"), PlanId::new(1, 1));
    let body = vec![7; 400 * 1_024];
    refused_for_good(
        place.store.write_plan(&lane, &plan, None, &body, expires_s()).await,
        "PutItem",
        &place.tables.state,
    );
    assert_eq!(place.store.read_plan(&lane, &plan).await.unwrap().value, None);
}

/// 2,048 bytes of partition key, 1,024 of sort key.
async fn a_key_beyond_its_limit_is_refused_for_good(place: Place) {
    let lane = lane("key limits");
    let key = |pk: usize, sk: usize| Key { pk: "p".repeat(pk).into(), sk: "s".repeat(sk).into() };
    let delta = measures(&[("a", "1")]);
    place.store.add_row(&lane, 1, &key(2_048, 1_024), &delta, None).await.unwrap();
    for key in [key(2_049, 1), key(1, 1_025)] {
        refused_for_good(place.store.add_row(&lane, 1, &key, &delta, None).await, "UpdateItem", &place.tables.views);
    }
}

async fn put(place: &Place, table: &str, key: &Key, attributes: &[(&str, AttributeValue)]) {
    let mut request = place
        .client
        .put_item()
        .table_name(table)
        .item("PK", AttributeValue::S(key.pk.to_string()))
        .item("SK", AttributeValue::S(key.sk.to_string()));
    for (name, value) in attributes {
        request = request.item(*name, value.clone());
    }
    request.send().await.unwrap();
}

async fn an_item_that_does_not_read_is_named(place: Place) {
    let lane = lane("unreadable");
    let cursor = Key { pk: format!("LANE#{lane}").into(), sk: "CURSOR".into() };
    put(&place, &place.tables.state, &cursor, &[("seq", AttributeValue::S("many".to_owned()))]).await;
    let error = place.store.read_cursor(&lane).await.unwrap_err();
    let expected = format!("item {} CURSOR of table {} has no readable attribute seq", cursor.pk, place.tables.state);
    assert_eq!((error.to_string(), error.is_retryable()), (expected, false));
}

const RETENTION: Key = Key::fixed("SETTINGS", "RETENTION");

fn map_of_days(days: &[(String, i64)]) -> AttributeValue {
    AttributeValue::M(days.iter().map(|(app, days)| (app.clone(), AttributeValue::N(days.to_string()))).collect())
}

/// As the operator does it.
pub(super) async fn set_retention(place: &Place, retention: &AppRetention) {
    let attributes = [("activity", map_of_days(&retention.activity)), ("metrics", map_of_days(&retention.metrics))];
    put(place, &place.tables.state, &RETENTION, &attributes).await;
}

async fn retention_reads_as_the_operator_set_it(place: Place) {
    let read = async || place.store.read_retention().await.map(|retention| retention.value);
    assert_eq!(read().await.unwrap(), AppRetention::default(), "nothing is set");
    let days = |days| vec![("é#".to_owned(), days)];
    for days in [days(1), days(36_500)] {
        put(&place, &place.tables.state, &RETENTION, &[("metrics", map_of_days(&days))]).await;
        assert_eq!(read().await.unwrap(), AppRetention { activity: Vec::new(), metrics: days });
    }
    let text = AttributeValue::S("7".to_owned());
    let wrong = [text.clone(), AttributeValue::M(HashMap::from([("a".to_owned(), text)]))];
    for wrong in wrong.into_iter().chain([0, -1, 36_501].map(|n| map_of_days(&days(n)))) {
        put(&place, &place.tables.state, &RETENTION, &[("activity", wrong)]).await;
        let error = read().await.unwrap_err().to_string();
        assert!(error.contains("SETTINGS RETENTION") && error.contains("activity"), "{error}");
    }
}

async fn attribute(place: &Place, key: &Key, name: &str) -> Option<AttributeValue> {
    let request = place.client.get_item().table_name(&place.tables.state).consistent_read(true);
    let request = request.key("PK", AttributeValue::S(key.pk.to_string()));
    let item = request.key("SK", AttributeValue::S(key.sk.to_string())).send().await.unwrap().item.unwrap();
    item.get(name).cloned()
}

async fn an_item_keeps_its_ttl_while_its_state_expires(place: Place) {
    let (lane, key) = (lane("expiring"), Key::of("EXPIRING", "1", "STATE"));
    let states = [deleted(1), product(1, 50), deleted(1)];
    let mut before = None;
    for (counter, state) in (0..).zip(states) {
        let transition = transition(&key, counter, before.clone(), state.clone());
        let written = place.store.write_entities(&lane, counter + 1, &[&transition]).await.unwrap().value;
        assert_eq!(written, [Written::Applied]);
        let expected = state.expires().map(|ms| AttributeValue::N((ms / 1_000).to_string()));
        assert_eq!(attribute(&place, &key, "TTL").await, expected);
        before = Some(state);
    }
}

/// An index follows its table in its own time.
pub(super) async fn eventually<T: PartialEq + std::fmt::Debug, F: Future<Output = T>>(
    expected: T,
    read: impl Fn() -> F,
) {
    let mut found = read().await;
    for _ in 0..100 {
        if found == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = read().await;
    }
    assert_eq!(found, expected);
}

async fn a_listed_entity_stands_on_its_board_and_leaves_it(place: Place) {
    let (lane, key) = (lane("boards"), Key::of("BOARDS", "4711", "STATE"));
    let states = [product(4_711, 5), product(4_711, 3), product(4_711, 50), product(4_711, 9), deleted(4_711)];
    let mut before = None;
    for (counter, state) in (0..).zip(states) {
        let transition = transition(&key, counter, before, state.clone());
        place.store.write_entities(&lane, counter + 1, &[&transition]).await.unwrap();
        let is_listed = tidemark_model::views::listed(&state).is_some();
        let (store, listed) = (&place.store, &state);
        eventually(is_listed, || async move { store.read_tables(0).await.unwrap().listed.contains(listed) }).await;
        before = Some(state);
    }
}

async fn the_top_of_a_ranking_is_read_from_its_index(place: Place) {
    let lane = lane("tops");
    let Ranking { by, present, .. } = *ranking();
    let mut expected = Vec::new();
    for (id, number) in [("b", "20"), ("a", "20"), ("c", "-3"), ("d", "100.5"), ("e", "19.999999999999")] {
        let key = Key::of(ranking().kind, &format!("top {id}"), CURRENT);
        assert_eq!(ranking_of(&key), Some(ranking()));
        // Above all that other checks left in the index.
        let number = n("1000000").plus(n(number));
        let delta = measures(&[(by, &number.to_string()), (present, "1")]);
        let row = place.store.add_row(&lane, 1, &key, &delta, Some(ranking())).await.unwrap().value.unwrap();
        assert!(place.store.set_rank(&key, ranking(), &row, Some(number)).await.unwrap().value);
        expected.push((std::cmp::Reverse(number), key));
    }
    expected.sort();
    for most in [1, 2, 3, 5] {
        let keys: Vec<Key> = expected.iter().take(most).map(|(_, key)| key.clone()).collect();
        let store = &place.store;
        eventually(keys, || async move {
            let top = store.top(ranking(), most).await.unwrap().value;
            top.into_iter().map(|(key, _)| key).collect()
        })
        .await;
    }
}

async fn write_units(place: &Place, lane: &LaneId, bytes: usize) -> f64 {
    place.store.write_plan(lane, &PlanId::new(1, 9), None, &vec![7; bytes], expires_s()).await.unwrap().units.write
}

async fn writes_are_metered_by_the_kilobyte(place: Place) {
    let lane = lane("units");
    assert_eq!(write_units(&place, &lane, 100).await, 1.0);
    assert_eq!(write_units(&place, &lane, 10_000).await, 10.0);
    assert_eq!(write_units(&place, &lane, 100).await, 10.0, "the larger one of before and after");
    let key = Key::of("UNITS", "1", "WINDOW");
    for seq in [1, 1] {
        let added = place.store.add_row(&lane, seq, &key, &measures(&[("a", "1")]), None).await.unwrap();
        assert_eq!(added.units.write, 1.0, "a refused condition costs what the write would");
    }
    let keys: Vec<Key> = (0..20).map(|n| Key::of("UNITS", &n.to_string(), "STATE")).collect();
    let batch: Vec<_> = keys.iter().map(|key| transition(key, 0, None, product(1, 50))).collect();
    for _ in 0..2 {
        let written = place.store.write_entities(&lane, 1, &batch.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(written.units.write, 20.0);
    }
}

async fn a_read_is_metered_by_four_kilobytes(place: Place) {
    let lane = lane("read units");
    assert_eq!(place.store.read_cursor(&lane).await.unwrap().units.read, 1.0, "what is not there costs, too");
    write_units(&place, &lane, 10_000).await;
    assert_eq!(place.store.read_plan(&lane, &PlanId::new(1, 9)).await.unwrap().units.read, 3.0);
}

/// All that is looked at counts together, not item by item: here 18 KB, read strongly.
async fn a_query_is_metered_as_a_whole(place: Place) {
    for lane in (0..18).map(|n| lane(&format!("metered {n}"))) {
        place.store.register_lane(&lane, &"x".repeat(1_000)).await.unwrap();
    }
    assert_eq!(place.store.lanes(None).await.unwrap().units.read, 5.0);
}

/// Of keys that are not there, too: half a unit each, eventually consistent.
async fn a_batch_of_reads_is_metered_item_by_item(place: Place) {
    let keys: Vec<Key> = (0..20).map(|n| Key::of("METERED", &n.to_string(), "STATE")).collect();
    assert_eq!(place.store.read_entities(&keys, true).await.unwrap().units.read, 20.0);
    assert_eq!(place.store.read_entities(&keys, false).await.unwrap().units.read, 10.0);
}
