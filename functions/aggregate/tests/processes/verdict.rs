//! What was sent, and whether the stores hold exactly what it comes to.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tidemark_ledger::dynamo::{DynamoStore, Tables as TableNames};
use tidemark_ledger::{LaneId, Store};
use tidemark_local::feed::{self, Log};
use tidemark_local::stack::{BUCKET, STATE_TABLE, Stack, VIEWS_TABLE};
use tidemark_model::fold::sum;
use tidemark_model::stream::STREAMS;
use tidemark_model::views::{Tables, ranking_of, rankings};
use tidemark_model::{Key, Measures, State};
use tidemark_runtime::now_ms;
use tidemark_tests::{documents, fixture_lines, oracle, root, without_quantiles};

const PARTITIONS: i32 = 3;
/// Of so many values of a stream, one is followed by one that cannot be read.
const BROKEN_EVERY: usize = 150;
const BROKEN: &[u8] = b"{\"cut off\": ";

/// All five streams, and what must come of them.
pub(crate) struct Streams {
    values: Vec<(&'static str, Vec<Vec<u8>>)>,
    views: Value,
}

impl Streams {
    pub(crate) fn read() -> Self {
        let orders: Vec<Vec<u8>> = fixture_lines("cdc_envelope.ndjson.gz").iter().map(|line| envelope(line)).collect();
        let values = vec![
            ("products", fixture_lines("products_contract.ndjson.gz")),
            ("orders", orders),
            ("activity", fixture_lines("track.ndjson.gz")),
            ("user-events", fixture_lines("user.ndjson.gz")),
            ("metrics", lines(&root().join("local/samples/metrics.ndjson"))),
        ];
        let of = |at: usize| values[at].1.iter().map(Vec::as_slice);
        let views = [
            oracle::products(of(0)),
            oracle::orders(of(1)),
            oracle::activity(of(2).chain(of(3))),
            oracle::metrics(of(4)),
        ];
        let views = views.iter().flat_map(|views| views.as_object().unwrap().clone()).collect();
        Self { values, views }
    }

    /// The partitions to deliver: unreadable values stand among the others.
    pub(crate) fn logs(&self) -> Vec<Log> {
        let logs = |(name, values): &(&'static str, Vec<Vec<u8>>)| {
            let stream = STREAMS.iter().find(|stream| stream.name == *name).unwrap();
            let values =
                values.chunks(BROKEN_EVERY).flat_map(|values| values.iter().map(Vec::as_slice).chain([BROKEN]));
            feed::logs_of(stream, values, PARTITIONS)
        };
        self.values.iter().flat_map(logs).collect()
    }

    fn broken(&self) -> usize {
        self.values.iter().map(|(_, values)| values.len().div_ceil(BROKEN_EVERY)).sum()
    }

    /// Whether the stores hold all of it, once.
    pub(crate) async fn check(&self, stack: &Stack, top: usize, what: &str) {
        let names = TableNames { state: STATE_TABLE.to_owned(), views: VIEWS_TABLE.to_owned() };
        let store = DynamoStore::new(stack.clients.dynamodb.clone(), names);
        let tables = store.read_tables(now_ms()).await.unwrap();
        let mut found = without_quantiles(documents(&tables));
        let rejects = found.as_object_mut().unwrap().remove("rejects").unwrap();
        for (view, expected) in self.views.as_object().unwrap() {
            let (found, expected) = (oracle::sorted(&found[view]), oracle::sorted(expected));
            assert!(found == expected, "{what}: {view} differs:\n{}", difference(&found, &expected));
        }
        let seen: BTreeSet<&String> = self.views.as_object().unwrap().keys().collect();
        assert_eq!(found.as_object().unwrap().keys().collect::<BTreeSet<_>>(), seen, "a view that nobody looks at");
        rows_are_the_sums_of_states(stack, &tables, what).await;
        nothing_is_pending(&store, self.logs().len(), what).await;
        tops_are_those_of_the_rows(&store, &tables, top, what).await;
        let of_topics = rejects.as_object().unwrap().values();
        let counted: usize = of_topics.map(|topic| topic["records"].as_str().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(counted, self.broken(), "{what}: rejects");
        assert_eq!(set_aside(stack).await.len(), self.broken(), "{what}: records set aside");
    }
}

/// Debezium's envelope without what Kafka Connect's converter puts around it.
fn envelope(line: &[u8]) -> Vec<u8> {
    let line: Value = serde_json::from_slice(line).unwrap();
    line["payload"].to_string().into_bytes()
}

fn lines(file: &Path) -> Vec<Vec<u8>> {
    std::fs::read(file).unwrap().split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect()
}

/// What only one of two values has.
fn difference(found: &Value, expected: &Value) -> String {
    let (Value::Array(found), Value::Array(expected)) = (found, expected) else {
        return format!("found    {found}\nexpected {expected}");
    };
    let only = |of: &[Value], not_of: &[Value], what: &str| -> String {
        of.iter().filter(|value| !not_of.contains(value)).map(|value| format!("{what} {value}\n")).collect()
    };
    only(found, expected, "found   ") + &only(expected, found, "expected")
}

/// I1, of the states as they are stored.
async fn rows_are_the_sums_of_states(stack: &Stack, tables: &Tables, what: &str) {
    let scan = stack.clients.dynamodb.scan().table_name(STATE_TABLE).consistent_read(true);
    let mut items = scan.into_paginator().items().send();
    let mut states: Vec<State> = Vec::new();
    while let Some(item) = items.next().await {
        let item = item.unwrap();
        if let (Some(state), Some(_version)) = (item.get("s"), item.get("v")) {
            states.push(serde_json::from_str(state.as_s().unwrap()).unwrap());
        }
    }
    let is_summed = |key: &Key| !key.is_of("METRIC");
    let stored: Vec<&(Key, Measures)> =
        tables.rows.iter().filter(|(key, row)| is_summed(key) && !row.is_empty()).collect();
    let sums = sum(&states).into_sorted();
    let sums: Vec<&(Key, Measures)> = sums.iter().filter(|(key, _)| is_summed(key)).collect();
    assert!(states.len() > 5_000 && sums.len() > 500, "{} states, {} rows", states.len(), sums.len());
    for (stored, sum) in stored.iter().zip(&sums) {
        assert_eq!(stored, sum, "{what}: a row is the sum over the states");
    }
    assert_eq!(stored.len(), sums.len(), "{what}: rows");
}

async fn nothing_is_pending(store: &DynamoStore, expected: usize, what: &str) {
    let (mut lanes, mut after): (Vec<LaneId>, _) = (Vec::new(), None);
    loop {
        let page = store.lanes(after.as_ref()).await.unwrap().value;
        after = page.last().cloned();
        lanes.extend(page);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(lanes.len(), expected, "{what}: lanes");
    for lane in lanes {
        let cursor = store.read_cursor(&lane).await.unwrap().value.unwrap();
        assert!(!cursor.pending, "{what}: {cursor:?}");
    }
}

/// The index shows the highest rows, after the upkeep that set its floors.
async fn tops_are_those_of_the_rows(store: &DynamoStore, tables: &Tables, top: usize, what: &str) {
    for ranking in rankings() {
        let competing =
            tables.rows.iter().filter(|(key, _)| ranking_of(key).is_some_and(|of| of.board == ranking.board));
        let mut rows: Vec<_> = competing.filter(|(_, row)| ranking.is_present(row)).cloned().collect();
        rows.sort_by(|(a, one), (b, other)| other.get(ranking.by).cmp(&one.get(ranking.by)).then_with(|| a.cmp(b)));
        rows.truncate(top);
        assert_eq!(rows.len(), top, "{what}: {} has more", ranking.board);
        assert_eq!(store.top(ranking, top).await.unwrap().value, rows, "{what}: {}", ranking.board);
    }
}

/// Which records the quarantine holds: topic, partition, offset.
async fn set_aside(stack: &Stack) -> BTreeSet<String> {
    let mut records = BTreeSet::new();
    let mut pages = stack.clients.s3.list_objects_v2().bucket(BUCKET).prefix("quarantine/").into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let object = stack.clients.s3.get_object().bucket(BUCKET).key(object.key().unwrap()).send().await.unwrap();
            let body = object.body.collect().await.unwrap().into_bytes();
            for line in body.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                let line: Value = serde_json::from_slice(line).unwrap();
                records.insert(json!([line["topic"], line["partition"], line["offset"]]).to_string());
            }
        }
    }
    records
}
