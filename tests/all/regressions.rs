//! What broke once, by name.

use std::iter::Empty;

use serde_json::{Value, json};
use tidemark_archive::parquet::{ParquetError, Remote, StateReader, pieces};
use tidemark_archive::{ArchiveError, ObjectStore};
use tidemark_model::Settings;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{TAKEN_MS, change, item, order, tracked, with};
use tidemark_tests::{aggregate, aggregate_with, base64, documents, envelope, handle, invocation};

const ORDERS: &str = "db.public.orders";

/// One record of partition 0 with a key.
fn keyed(offset: i64, key: &str, value: &Value) -> Value {
    json!({
        "topic": ORDERS, "partition": 0, "offset": offset, "timestamp": TAKEN_MS,
        "key": base64(key.as_bytes()), "value": base64(value.to_string().as_bytes()),
    })
}

fn event(at: i64) -> Value {
    with(&tracked("app", "u"), json!({"timestamp": at}))
}

/// A sort key over 1,024 bytes was refused after the commit point, and the partition stood still.
#[tokio::test]
async fn a_status_that_fills_a_sort_key_is_set_aside() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let long = change("orders", "c", 1, Value::Null, order(1, "10", &"#".repeat(340)));
    let longest = change("orders", "c", 2, Value::Null, order(2, "10", &"#".repeat(200)));
    let report = handle(&function, invocation(ORDERS, 0, 0, &[long.to_string(), longest.to_string()])).await;
    assert_eq!(report.rejects[0].reason, "status is longer than 200 bytes");
    assert_eq!(report.rejects.len(), 1);
    assert!(store.items().rows.keys().all(|key| key.sk.len() <= 1024 && key.pk.len() <= 2048));
}

/// The key's JSON was read without a look at its depth: the stack overflowed, again and again.
#[tokio::test]
async fn a_deeply_nested_key_hurts_nobody() {
    let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
    let key = format!("{}{}", "{\"a\":[".repeat(20_000), "]}".repeat(20_000));
    let good = change("orders", "c", 1, Value::Null, order(1, "10", "paid"));
    let lost = change("orders", "d", 2, Value::Null, Value::Null);
    let payload = envelope(&json!({ORDERS: [keyed(0, &key, &good), keyed(1, &key, &lost)]}));
    let report = handle(&function, payload).await;
    // The order, and that a record was set aside.
    assert_eq!((report.entities, report.rejects.len()), (2, 1));
}

/// A deletion without a `before` names its row by the key alone, which has many forms.
#[tokio::test]
async fn a_deletion_without_before_goes_by_any_form_of_key() {
    for key in [
        "1",
        "\"1\"",
        "{\"id\":1}",
        "{\"order_key\":1}",
        "{\"schema\":{\"type\":\"int32\"},\"payload\":1}",
        "{\"schema\":null,\"payload\":{\"id\":1}}",
    ] {
        let store = MemoryStore::default();
        let function = aggregate(store.clone(), MemoryObjects::default(), 0);
        let made = change("orders", "c", 1, Value::Null, order(1, "10", "paid"));
        let gone = change("orders", "d", 2, Value::Null, Value::Null);
        let payload = envelope(&json!({ORDERS: [keyed(0, key, &made), keyed(1, key, &gone)]}));
        let report = handle(&function, payload).await;
        assert_eq!(report.rejects, [], "{key}");
        assert_eq!(documents(&store.tables())["summary"]["total_orders"], "0", "{key}");
    }
}

/// A snapshot's row that does not know its position took its time for one, and beat every update.
#[tokio::test]
async fn an_incremental_snapshot_without_a_position_is_older_than_any_change_with_one() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    let mut snapshot = change("orders", "r", 1, Value::Null, order(1, "10", "snap"));
    snapshot["source"]["lsn"] = Value::Null;
    snapshot["source"]["snapshot"] = "incremental".into();
    let update = change("orders", "u", 26_801_648, Value::Null, order(1, "12", "paid"));
    for (offset, value) in [&snapshot, &update, &snapshot].into_iter().enumerate() {
        handle(&function, invocation(ORDERS, 0, offset as i64, &[value.to_string()])).await;
    }
    assert_eq!(documents(&store.tables())["orderStatus"], json!({"paid": "1"}));
}

/// A plan held an event before and after, which together did not fit.
#[tokio::test]
async fn two_tellings_of_a_large_event_fit_a_plan() {
    let store = MemoryStore::default();
    let function = aggregate(store.clone(), MemoryObjects::default(), 0);
    for (offset, at) in [(0, TAKEN_MS), (1, TAKEN_MS - 1), (2, TAKEN_MS - 2)] {
        let mut rng = fastrand::Rng::with_seed(offset as u64);
        let noise: String = (0..130_000).map(|_| rng.alphanumeric()).collect();
        let value = with(&event(at), json!({"eventId": "E1", "properties": {"noise": noise}}));
        let report = handle(&function, invocation("analytics.events", 0, offset, &[value.to_string()])).await;
        assert_eq!((report.entities > 0, report.rejects.len()), (true, 0));
    }
    assert_eq!(documents(&store.tables())["apps"][0]["days"][0]["events"], "1");
}

/// A producer that stamps a retry anew sent another event, and its user was seen on another day.
#[tokio::test]
async fn an_id_is_one_event_at_its_earliest_time() {
    const DAY_MS: i64 = 86_400_000;
    let day = |events: &str| json!({"date": "2025-01-01", "events": events, "activeUsers": "1", "sessions": "0"});
    for later in [1, 1_000, DAY_MS] {
        let store = MemoryStore::default();
        let settings = Settings { clock_skew_ms: 2 * DAY_MS, ..Settings::default() };
        let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings);
        let told = |at: i64| with(&event(at), json!({"eventId": "E1"})).to_string();
        handle(&function, invocation("analytics.events", 0, 0, &[told(TAKEN_MS)])).await;
        let report = handle(&function, invocation("analytics.events", 0, 1, &[told(TAKEN_MS + later)])).await;
        assert_eq!((report.entities, report.duplicates), (0, 1), "{later} ms later");
        let mut days = documents(&store.tables())["apps"][0]["days"].clone();
        assert_eq!(days.as_array().unwrap().len(), 1, "{later} ms later: {days}");
        days[0].as_object_mut().unwrap().remove("names");
        assert_eq!(days[0], day("1"), "{later} ms later");
    }
}

/// A telling that loses within its own batch is no sighting either, wherever it stands there.
#[tokio::test]
async fn a_telling_that_loses_in_its_batch_makes_nobody_seen() {
    const DAY_MS: i64 = 86_400_000;
    let settings = Settings { clock_skew_ms: 2 * DAY_MS, ..Settings::default() };
    let told = |at: i64| with(&event(at), json!({"eventId": "E1"})).to_string();
    for times in [[TAKEN_MS, TAKEN_MS + DAY_MS], [TAKEN_MS + DAY_MS, TAKEN_MS]] {
        let store = MemoryStore::default();
        let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings.clone());
        let report = handle(&function, invocation("analytics.events", 0, 0, &times.map(told))).await;
        // The event and its user's sighting.
        assert_eq!(report.entities, 2, "{times:?}");
        let days = documents(&store.tables())["apps"][0]["days"].clone();
        assert_eq!(days.as_array().unwrap().len(), 1, "{times:?}: {days}");
    }
}

/// What may be dropped anyway was a reason to set an event aside, and stood in it.
#[tokio::test]
async fn odd_personal_fields_cost_no_event() {
    let store = MemoryStore::default();
    let settings = Settings { store_ip_address: true, store_user_agent: true, ..Settings::default() };
    let function = aggregate_with(store.clone(), MemoryObjects::default(), 0, settings);
    let odd = json!({"ipAddress": ["203.0.113.9", "10.0.0.1"], "userAgent": "x".repeat(5_000)});
    let report =
        handle(&function, invocation("analytics.events", 0, 0, &[with(&event(TAKEN_MS), odd).to_string()])).await;
    assert_eq!(report.rejects, []);
    assert_eq!(documents(&store.tables())["apps"][0]["days"][0]["events"], "1");
}

/// A word that is base64, too, was read as an amount.
#[tokio::test]
async fn words_are_no_amounts() {
    let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
    let values: Vec<String> = ["Infinity", "NaN", ""]
        .iter()
        .zip(1..)
        .map(|(amount, id)| change("orders", "c", 1, Value::Null, order(id, amount, "paid")).to_string())
        .collect();
    let report = handle(&function, invocation(ORDERS, 0, 0, &values)).await;
    assert_eq!(report.rejects.len(), 3);
    let item = change("order_items", "c", 1, Value::Null, item(1, 7, 1, "2.50")).to_string();
    assert_eq!(handle(&function, invocation("db.public.order_items", 0, 0, &[item])).await.rejects, []);
}

/// It was read for ever, from beyond its end.
#[tokio::test]
async fn a_file_that_is_shorter_than_its_manifest_says_is_no_end_of_records() {
    let objects = MemoryObjects::default();
    objects.put("short", "", vec![0; 10]).await.unwrap();
    let mut read = pieces(&objects, vec![("short".to_owned(), 100)], StateReader::new);
    let error = read.recv().await.unwrap().unwrap_err();
    assert!(matches!(&error, ArchiveError::Table { key, .. } if key == "short"), "{error:?}");
    assert!(read.recv().await.is_none());
}

/// The records of a file ended where its reader panicked, and a restore went on without the others.
#[tokio::test]
async fn a_reader_that_panics_is_no_end_of_records() {
    type Records = Empty<Result<(), ParquetError>>;
    let open = |_: Remote<MemoryObjects>| -> Result<Records, ParquetError> { panic!("torn") };
    let mut read = pieces(&MemoryObjects::default(), vec![("torn".to_owned(), 100)], open);
    let error = read.recv().await.unwrap().unwrap_err();
    assert!(matches!(&error, ArchiveError::Table { key, .. } if key == "torn"), "{error:?}");
}
