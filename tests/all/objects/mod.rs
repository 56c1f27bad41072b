//! One suite for every store of objects: the one in memory, the embedded S3, and whatever endpoints
//! `TIDEMARK_TEST_S3` names (`URL`, `name=URL`, `aws`; see CONTRIBUTING.md).

mod bucket;
mod uploads;

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tidemark_archive::{ArchiveError, Condition, Object, ObjectStore};
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::say;

use crate::endpoint::Endpoint;
use crate::stores::{Check, checks, complaints};

/// Names further endpoints.
const VARIABLE: &str = "TIDEMARK_TEST_S3";
const TEXT: &str = "text/plain";

/// What every store of objects must do.
fn contract<O: ObjectStore + Clone + 'static>() -> Vec<Check<O>> {
    let mut contract = checks![
        what_was_put_is_read_and_what_was_deleted_is_not,
        of_sixteen_that_create_at_once_one_does,
        of_sixteen_that_replace_at_once_one_does,
        an_object_that_changed_is_not_replaced,
        a_range_is_read_and_ends_with_the_object,
        a_listing_goes_on_page_by_page,
        any_key_is_one_object,
        a_missing_object_is_none_or_named,
    ];
    contract.extend(uploads::checks());
    contract
}

async fn what_was_put_is_read_and_what_was_deleted_is_not<O: ObjectStore>(objects: O) {
    let key = "put/object.txt";
    for body in ["first", "", "second"] {
        objects.put(key, TEXT, body.into()).await.unwrap();
        let Object { body: read, etag } = objects.get(key).await.unwrap().unwrap();
        assert_eq!(read, body);
        assert!(!etag.is_empty());
        assert_eq!(objects.size(key).await.unwrap(), Some(body.len() as u64));
    }
    for _ in 0..2 {
        objects.delete(key).await.unwrap();
        assert_eq!(objects.get(key).await.unwrap(), None);
        assert_eq!(objects.size(key).await.unwrap(), None);
    }
    assert_eq!(objects.list("put/", None).await.unwrap(), []);
}

/// Of sixteen bodies written at once under a condition, the one that was, and its ETag.
async fn the_one_written<O: ObjectStore>(objects: &O, key: &str, condition: &Condition) -> Object {
    let writes = (0..16).map(|n| async move {
        let body = format!("by {n} if {condition:?}");
        let etag = objects.put_if(key, TEXT, body.clone().into(), condition).await.unwrap();
        etag.map(|etag| Object { body: body.into(), etag })
    });
    let written: Vec<Object> = futures_util::future::join_all(writes).await.into_iter().flatten().collect();
    let [written] = written.as_slice() else { panic!("{} of 16 were written", written.len()) };
    written.clone()
}

async fn of_sixteen_that_create_at_once_one_does<O: ObjectStore>(objects: O) {
    for round in 0..8 {
        let key = format!("create/{round}");
        let written = the_one_written(&objects, &key, &Condition::Absent).await;
        assert_eq!(objects.get(&key).await.unwrap(), Some(written));
    }
}

async fn of_sixteen_that_replace_at_once_one_does<O: ObjectStore>(objects: O) {
    let key = "replace";
    let mut there = the_one_written(&objects, key, &Condition::Absent).await;
    for _ in 0..8 {
        there = the_one_written(&objects, key, &Condition::Unchanged(there.etag)).await;
        assert_eq!(objects.get(key).await.unwrap().as_ref(), Some(&there));
    }
}

async fn an_object_that_changed_is_not_replaced<O: ObjectStore>(objects: O) {
    let key = "changed";
    let put_if =
        async |body: &str, condition: &Condition| objects.put_if(key, TEXT, body.into(), condition).await.unwrap();
    let nothing_there = Condition::Unchanged("\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned());
    assert_eq!(put_if("0", &nothing_there).await, None);
    assert_eq!(objects.get(key).await.unwrap(), None);
    let first = put_if("1", &Condition::Absent).await.unwrap();
    assert_eq!(put_if("2", &Condition::Absent).await, None);
    let second = put_if("3", &Condition::Unchanged(first.clone())).await.unwrap();
    assert_eq!(put_if("4", &Condition::Unchanged(first)).await, None);
    let there = objects.get(key).await.unwrap().unwrap();
    assert_eq!((there.body, &there.etag), (Bytes::from("3"), &second));
    objects.put(key, TEXT, "5".into()).await.unwrap();
    assert_eq!(put_if("6", &Condition::Unchanged(second)).await, None);
    objects.delete(key).await.unwrap();
    assert!(put_if("7", &Condition::Absent).await.is_some());
}

async fn a_range_is_read_and_ends_with_the_object<O: ObjectStore>(objects: O) {
    let key = "range";
    objects.put(key, TEXT, "0123456789".into()).await.unwrap();
    for (range, expected) in
        [(0..1, "0"), (0..10, "0123456789"), (3..7, "3456"), (9..10, "9"), (8..100, "89"), (4..4, "")]
    {
        assert_eq!(objects.get_range(key, range.clone()).await.unwrap(), expected, "{range:?}");
    }
    let beyond = objects.get_range(key, 10..12).await.unwrap_err();
    assert!(matches!(beyond, ArchiveError::Refused { action: "s3:GetObject", .. }), "{beyond:?}");
}

async fn a_listing_goes_on_page_by_page<O: ObjectStore>(objects: O) {
    let keys: Vec<String> = (0..1_005).map(|n| format!("list/{n:04}")).collect();
    let others = ["list", "list-other", "list/", "lisu"].map(str::to_owned);
    let puts =
        keys.iter().chain(&others[1..2]).chain(&others[3..]).map(|key| objects.put(key, TEXT, key.clone().into()));
    let puts: Vec<_> = puts.collect();
    stream::iter(puts).buffer_unordered(32).for_each(async |put| put.unwrap()).await;
    let (mut listed, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = objects.list("list/", after.as_deref()).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        listed.extend(page);
        pages += 1;
    }
    assert!(pages >= 2, "{pages} pages");
    assert!(listed.iter().all(|object| object.bytes == object.key.len() as u64));
    assert_eq!(listed.into_iter().map(|object| object.key).collect::<Vec<_>>(), keys);
    // After a key that is not there, and after the last.
    assert_eq!(objects.list("list/", Some("list/1003x")).await.unwrap().len(), 1);
    assert_eq!(objects.list("list/", Some("list/1004")).await.unwrap(), []);
    assert_eq!(objects.list("nothing/", None).await.unwrap(), []);
}

async fn any_key_is_one_object<O: ObjectStore>(objects: O) {
    let keys: BTreeSet<String> = [
        "a b+c%20d&e=f",
        "a%2Fb",
        "day=2026-11-21/part-0.parquet",
        "ünï/日本/🌊",
        "what?is#this",
        "'quoted\"<tag>&amp;",
        "$-_.+!*(),;:@[]{}|^`~\\",
        "orders%2F..%2Fever/0",
    ]
    .map(|key| format!("odd/{key}"))
    .into();
    for key in &keys {
        objects.put(key, TEXT, key.clone().into()).await.unwrap();
    }
    let listed = objects.list("odd/", None).await.unwrap();
    assert_eq!(listed.into_iter().map(|object| object.key).collect::<BTreeSet<_>>(), keys);
    for key in &keys {
        assert_eq!(objects.get(key).await.unwrap().unwrap().body, *key);
        assert_eq!(objects.get_range(key, 0..4).await.unwrap(), "odd/");
        assert_eq!(objects.size(key).await.unwrap(), Some(key.len() as u64));
        objects.delete(key).await.unwrap();
    }
    assert_eq!(objects.list("odd/", None).await.unwrap(), []);
}

async fn a_missing_object_is_none_or_named<O: ObjectStore>(objects: O) {
    let key = "missing/object";
    assert_eq!(objects.get(key).await.unwrap(), None);
    assert_eq!(objects.size(key).await.unwrap(), None);
    objects.delete(key).await.unwrap();
    let error = objects.get_range(key, 0..1).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::NoObject { key: named, .. } if named == key), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_objects_in_memory_keep_the_contract() {
    let complaints = complaints("memory", &MemoryObjects::default(), contract()).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bucket_keeps_the_contract() {
    for endpoint in Endpoint::all(VARIABLE) {
        let (name, started) = (endpoint.name().to_owned(), std::time::Instant::now());
        bucket::with_fresh_bucket(&endpoint, move |place| async move {
            let mut complaints = complaints(&name, &place.bucket, contract()).await;
            complaints.extend(self::complaints(&name, &place, bucket::checks()).await);
            assert!(complaints.is_empty(), "{complaints:#?}");
        })
        .await;
        say(&format!("objects: {} keeps the contract, in {:.1?}", endpoint.name(), started.elapsed()));
    }
}
