//! Bad input: set aside whole with its reason, the good ones beside it counted.

use serde_json::{Value, json};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::{aggregate, base64, documents, envelope, fail, handle, invocation, product};

async fn set_out(payload: bytes::Bytes) -> (Value, Vec<(i64, String)>, MemoryStore, MemoryObjects) {
    let (store, objects) = (MemoryStore::default(), MemoryObjects::default());
    let report = handle(&aggregate(store.clone(), objects.clone(), 0), payload).await;
    let rejects = report.rejects.into_iter().map(|reject| (reject.offset, reject.reason)).collect();
    (documents(&store.tables()), rejects, store, objects)
}

fn good() -> String {
    product(1, "Created", 1, "s", "c", "2.50", 3)
}

/// A record of `product.updated`-0 with these fields.
fn record(offset: i64, fields: Value) -> Value {
    let mut record = json!({"topic": "product.updated", "partition": 0, "offset": offset, "timestamp": 5, "timestampType": "CREATE_TIME"});
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    record
}

#[tokio::test]
async fn each_bad_value_is_one_rejects_reason() {
    let p = |price: &str, quantity: i64| product(2, "Created", 1, "s", "c", price, quantity);
    let without = |field: &str| {
        let mut event: Value = serde_json::from_str(&good()).unwrap();
        event["data"].as_object_mut().unwrap().remove(field);
        event.to_string()
    };
    let long = "x".repeat(5000);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"{".to_vec(), "EOF"),
        (b"not json".to_vec(), "Invalid"),
        (b"".to_vec(), "EOF"),
        (b"null".to_vec(), "invalid type"),
        (b"[1]".to_vec(), "expected an object"),
        (br#"["ProductCreated",1,{"productId":1,"sellerId":"s"}]"#.to_vec(), "expected an object"),
        (
            br#"{"eventType":"ProductCreated","timestamp":1,"data":[7,"s","n",2.5,3,"c"]}"#.to_vec(),
            "expected an object",
        ),
        (p("999999999999", 1001).into_bytes(), "times quantity 1001 is not below"),
        (b"\xff\xfe{}".to_vec(), "UTF-8"),
        (good().replace("1", "\\ud800").into_bytes(), ""),
        (p("2", -1).into_bytes(), "quantity -1 is not between"),
        (p("2", 1_000_000_001).into_bytes(), "quantity"),
        (good().replace("\"quantity\":3", "\"quantity\":3.5").into_bytes(), "quantity 3.5 is not a whole number"),
        (
            good().replace("\"quantity\":3", "\"quantity\":{\"a\":1}").into_bytes(),
            "quantity {\"a\":1} is not a whole number",
        ),
        (p("123456789012345678901234567890", 1).into_bytes(), "price 123456789012345678901234567890 is too large"),
        (p("0.123456789012345678901234567890", 1).into_bytes(), "more than 12 digits after the point"),
        (p("-0.01", 1).into_bytes(), "price -0.01 is not between"),
        (p("1000000000000", 1).into_bytes(), "price"),
        (p("\"2.50\"", 1).into_bytes(), "is not a number"),
        (p("null", 1).into_bytes(), "price"),
        (without("sellerId").into_bytes(), "missing field `sellerId`"),
        (without("price").into_bytes(), "price is missing"),
        (without("quantity").into_bytes(), "quantity is missing"),
        (without("category").into_bytes(), "category is missing"),
        (without("name").into_bytes(), "name is missing"),
        (good().replace("ProductCreated", "ProductSold").into_bytes(), "`ProductSold` is not a product event"),
        (good().replace("\"timestamp\":1", "\"timestamp\":-1").into_bytes(), "timestamp"),
        (good().replace("\"timestamp\":1", "\"timestamp\":1e30").into_bytes(), "timestamp 1e30"),
        (
            good().replace("\"productId\":1", "\"productId\":\"1\"").into_bytes(),
            "productId \"1\" is not a whole number",
        ),
        (product(2, "Created", 1, &long, "c", "1", 1).into_bytes(), "sellerId is longer than"),
        (product(2, "Created", 1, "s", &long, "1", 1).into_bytes(), "category is longer than"),
        (format!("{}{}", "{\"data\":".repeat(2000), "}".repeat(2000)).into_bytes(), "nested deeper"),
        (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(), "nested deeper"),
    ];
    let mut values: Vec<Vec<u8>> = cases.iter().map(|(value, _)| value.clone()).collect();
    values.push(good().into_bytes());
    let (views, rejects, store, objects) = set_out(invocation("product.created", 7, 100, &values)).await;
    for ((value, expected), offset) in cases.iter().zip(100..) {
        let shown = String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned();
        let reason = rejects.iter().find(|(at, _)| *at == offset).map(|(_, reason)| reason.as_str());
        assert!(reason.is_some_and(|reason| reason.contains(expected)), "{shown}: {reason:?}, not {expected}");
        assert!(reason.is_some_and(|reason| reason.len() < 300 && !reason.contains('\n')), "{shown}: {reason:?}");
    }
    assert_eq!(rejects.len(), cases.len());
    assert_eq!(
        views["sellers"],
        json!([{
            "sellerId": "s", "totalProducts": "1", "activeProducts": "1", "deletedProducts": "0", "totalValue": "7.5",
        }])
    );

    // Whole, under their source and offsets, and counted once.
    let objects = objects.0.lock().unwrap();
    let (key, body) = objects.first_key_value().unwrap();
    assert_eq!(key, &format!("quarantine/product.created/7/100-{}.jsonl", 99 + cases.len()));
    let lines: Vec<Value> =
        body.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    for ((value, _), line) in cases.iter().zip(&lines) {
        assert_eq!(line["record"]["value"], base64(value), "the record is kept whole");
        assert_eq!(line["source"], "arn:test");
    }
    let counted = store.tables().rows.into_iter().find(|(key, _)| key.pk == "REJECTS#product.created").unwrap().1;
    assert_eq!(counted.get("records").to_whole(), Some(cases.len() as i64));
}

#[tokio::test]
async fn odd_records_are_one_records_problem() {
    let value = base64(good().as_bytes());
    let unpadded = value.trim_end_matches('=').to_owned();
    let (views, rejects, ..) = set_out(envelope(&json!({"product.updated-0": [
        record(0, json!({"value": null})),
        record(1, json!({})),
        record(2, json!({"value": 7, "key": {}, "headers": "odd"})),
        record(3, json!({"value": "%%%"})),
        record(4, json!({"value": value, "headers": null, "key": null})),
        record(5, json!({"value": value, "headers": [{"h": [-1, 255, 300]}, {"": []}], "timestamp": -1})),
        record(6, json!({"value": value, "timestamp": "yesterday", "timestampType": 3, "unknown": {"deep": [1]}})),
        record(7, json!({"value": unpadded, "timestamp": 1735689600000.0, "headers": [{"a": null}]})),
    ]})))
    .await;
    let reasons: Vec<(i64, &str)> = rejects.iter().map(|(offset, reason)| (*offset, reason.as_str())).collect();
    assert_eq!(
        reasons[..4],
        [
            (0, "value is missing or null"),
            (1, "value is missing or null"),
            (2, "value is not a base64 string"),
            (3, "value is not base64"),
        ]
    );
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert_eq!(views["sellers"][0]["totalProducts"], "1");
}

/// Some serialisers escape the slash, or more; whoever does must not fail the batch.
#[tokio::test]
async fn escapes_anywhere_in_the_envelope_are_read() {
    let value = base64(good().as_bytes()).replace('e', "\\u0065");
    let payload = format!(
        r#"{{"eventSource":"aws:kafka","eventSourceArn":"arn\u003atest","records":{{"product.updated\u002d0":[
            {{"topic":"product\u002eupdated","partition":0,"offset":0,"timestamp":5,"timestampType":"CREATE\u005fTIME",
              "key":"YQ\u003d\u003d","value":"{value}","headers":[{{"a\/b":[1]}}]}},
            {{"topic":"product.updated","partition":0,"offset":1,"value":"bm\/\/"}}
        ]}}}}"#
    );
    let (views, rejects, _, objects) = set_out(payload.into()).await;
    assert_eq!(views["sellers"][0]["totalProducts"], "1");
    assert_eq!(rejects.len(), 1, "{rejects:?}");
    let objects = objects.0.lock().unwrap();
    let line: Value = serde_json::from_slice(objects.values().next().unwrap()).unwrap();
    assert_eq!((&line["source"], &line["record"]["value"]), (&json!("arn:test"), &json!("bm//")));
}

/// A producer that encodes its JSON twice: the parser quotes the whole string in its message.
#[tokio::test]
async fn a_reason_never_carries_the_record() {
    let twice = serde_json::to_string(&good().repeat(3000)).unwrap();
    let (_, rejects, ..) = set_out(invocation("product.updated", 0, 0, &[twice])).await;
    assert!(rejects[0].1.chars().count() <= 201, "{} characters", rejects[0].1.len());
}

#[tokio::test]
async fn an_unknown_topic_is_set_aside_not_lost() {
    let (_, rejects, store, objects) = set_out(invocation("what/../ever", 0, 5, &[good()])).await;
    assert_eq!(rejects, [(5, "topic carries no known stream".to_owned())]);
    assert_eq!(objects.0.lock().unwrap().keys().collect::<Vec<_>>(), ["quarantine/what%2F..%2Fever/0/5-5.jsonl"]);
    assert_eq!(store.tables().rows[0].0.pk, "REJECTS#what/../ever");
}

#[tokio::test]
async fn an_empty_batch_is_nothing_to_do() {
    for payload in [envelope(&json!({})), envelope(&json!({"product.created-0": []})), envelope(&Value::Null)] {
        let (views, rejects, store, _) = set_out(payload).await;
        assert_eq!((views["sellers"].clone(), rejects.len()), (json!([]), 0));
        assert!(store.items().cursors.is_empty());
    }
}

#[tokio::test]
async fn what_is_no_kafka_invocation_fails_with_what_to_do() {
    for payload in [
        "",
        "{",
        "null",
        "7",
        "{\"records\": 7}",
        "{}",
        "{\"Records\": []}",
        "{\"records\": {\"a-0\": [{\"topic\": \"a\"}]}}",
    ] {
        let function = aggregate(MemoryStore::default(), MemoryObjects::default(), 0);
        let error = fail(&function, payload.to_owned().into()).await.to_string();
        assert!(error.contains("check the function's event source"), "{payload}: {error}");
    }
}

#[tokio::test]
async fn a_record_of_a_megabyte_is_counted() {
    let event = good().replace("\"description\":null", &format!("\"description\":\"{}\"", "d".repeat(1 << 20)));
    let (views, rejects, ..) = set_out(invocation("product.created", 0, 0, &[event])).await;
    assert_eq!((views["sellers"][0]["totalValue"].clone(), rejects.len()), (json!("7.5"), 0));
}

#[tokio::test]
async fn odd_ids_keep_their_own_rows() {
    let ids = ["a#b", "a", "\u{0}", "%00", "😀", "", "METRICS#CURRENT"];
    let events: Vec<String> = ids.iter().zip(1..).map(|(id, n)| product(n, "Created", 1, id, id, "1", 20)).collect();
    let (views, rejects, ..) = set_out(invocation("product.created", 0, 0, &events)).await;
    assert_eq!(rejects.len(), 0);
    for (list, field) in [("sellers", "sellerId"), ("categories", "category")] {
        let mut found: Vec<&str> =
            views[list].as_array().unwrap().iter().map(|row| row[field].as_str().unwrap()).collect();
        found.sort_unstable();
        let mut expected = ids.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
