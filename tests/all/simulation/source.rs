//! The event source: partitions of records, and which of them are delivered when. It delivers a
//! partition's records one batch after the other, as far as it knows: an invocation that it has
//! given up on may still be at work.

use std::ops::Range;

use fastrand::Rng;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tidemark_model::Origin;
use tidemark_model::stream::STREAMS;
use tidemark_tests::arbitrary::{Sent, activity_stream, metric_stream, order_stream, product_event};
use tidemark_tests::values::TAKEN_MS;
use tidemark_tests::{base64, envelope, product};

/// One partition.
pub(super) struct Partition {
    pub(super) topic: &'static str,
    pub(super) number: i32,
    pub(super) records: Vec<Value>,
    /// How many records, from the first, need not come again.
    pub(super) acknowledged: usize,
    /// The invocation that has its next records, as far as the source knows.
    pub(super) with: Option<usize>,
    /// Whether records were given up on: a replay brings them again.
    pub(super) discarded: bool,
    /// Whether something is counted by its offset here: a discarded one is lost for good.
    pub(super) has_weightless: bool,
}

/// Some records of some partitions.
pub(super) type Slices = Vec<(usize, Range<usize>)>;

/// What is sent, of all streams. Each value's record stands in a partition at random: a producer
/// without keys, so that every entity is changed by several lanes.
pub(super) fn sent(rng: &mut Rng) -> Vec<Sent> {
    let seed: [u8; 32] = std::array::from_fn(|_| rng.u8(..));
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let most = rng.choice([3, 8, 25]).unwrap();
    let products = proptest::collection::vec(product_event(), 0..most)
        .prop_map(|values| values.into_iter().map(|value| ("products", value)).collect::<Vec<Sent>>());
    let all = (products, order_stream(most), activity_stream(most), metric_stream(most));
    let (products, orders, activity, metrics) = all.new_tree(&mut runner).unwrap().current();
    let streams = [products, orders, activity, metrics];
    // One stream alone lets the plans of one lane follow each other on the same rows.
    let alone = (rng.u8(..3) == 0).then(|| rng.usize(..streams.len()));
    let takes_part = |at: usize| alone.is_none_or(|alone| alone == at);
    let streams = streams.into_iter().enumerate().filter(|(at, _)| takes_part(*at));
    let mut sent: Vec<Sent> = streams.flat_map(|(_, sent)| sent).collect();
    if alone.is_some() && rng.bool() {
        // Points of many rows, which do not fit one small plan.
        for (_, value) in sent.iter_mut().filter(|(name, _)| *name == "metrics") {
            let mut point: Value = serde_json::from_str(value).unwrap();
            point["eventId"] = Value::Null;
            point["metricName"] = format!("m{}", rng.u8(..12)).into();
            *value = point.to_string();
        }
    }
    for name in ["products", "metrics"] {
        if rng.u8(..4) == 0 {
            sent.push((name, "broken".to_owned()));
        }
    }
    if sent.is_empty() {
        sent.push(("products", "broken".to_owned()));
    }
    rng.shuffle(&mut sent);
    sent
}

/// What a value that cannot be read is mended to.
pub(super) fn mended(topic: &str) -> String {
    match topic {
        "analytics.metrics" => {
            json!({"appId": "a", "metricName": "m", "metricType": "gauge", "value": 4.5}).to_string()
        }
        _ => product(900, "Created", TAKEN_MS, "mended", "c", "2.50", 3),
    }
}

/// Every record that cannot be read, with its origin and what it is mended to.
pub(super) fn broken(partitions: &[Partition]) -> impl Iterator<Item = (Origin, String)> {
    let of = |partition: &Partition| {
        let broken = partition.records.iter().filter(|record| record["value"] == *base64(b"broken"));
        let mended = |record: &Value| {
            let origin = Origin {
                source: "arn:test".to_owned(),
                epoch: 0,
                topic: partition.topic.to_owned(),
                partition: partition.number,
                offset: record["offset"].as_i64().unwrap(),
            };
            let mut record = record.clone();
            record["value"] = base64(mended(partition.topic).as_bytes()).into();
            (origin, record.to_string())
        };
        broken.map(mended).collect::<Vec<_>>()
    };
    partitions.iter().flat_map(of)
}

pub(super) fn partitions(sent: &[Sent], rng: &mut Rng) -> Vec<Partition> {
    // One alone holds batches that are large enough to be split.
    let is_alone = sent.iter().all(|(name, _)| *name == sent[0].0);
    let of_each_topic = if is_alone && rng.bool() { 1 } else { rng.i32(1..4) };
    let mut partitions: Vec<Partition> = Vec::new();
    for (name, value) in sent {
        let stream = STREAMS.iter().find(|stream| stream.name == *name).unwrap();
        let (topic, number) = ((stream.route)(value.as_bytes()).topic, rng.i32(0..of_each_topic));
        let at = partitions.iter().position(|p| (p.topic, p.number) == (topic, number)).unwrap_or_else(|| {
            partitions.push(Partition {
                topic,
                number,
                records: Vec::new(),
                acknowledged: 0,
                with: None,
                discarded: false,
                has_weightless: false,
            });
            partitions.len() - 1
        });
        let partition = &mut partitions[at];
        // Compaction and transactions leave gaps.
        let offset = partition.records.last().map_or(0, |last| last["offset"].as_i64().unwrap() + rng.i64(1..3));
        partition.has_weightless |= *name == "metrics" || value == "broken";
        partition.records.push(json!({
            // In order: a record that was given up on would else look like a recreated topic's when it comes.
            "topic": topic, "partition": number, "offset": offset, "timestamp": TAKEN_MS + offset / 3,
            "timestampType": "CREATE_TIME", "value": base64(value.as_bytes()),
        }));
    }
    partitions
}

pub(super) fn payload(partitions: &[Partition], slices: &Slices) -> bytes::Bytes {
    let lists = slices.iter().map(|(at, range)| {
        let Partition { topic, number, records, .. } = &partitions[*at];
        (format!("{topic}-{number}"), Value::from(records[range.clone()].to_vec()))
    });
    envelope(&lists.collect::<Value>())
}

/// All records of all partitions.
pub(super) fn everything(partitions: &[Partition]) -> bytes::Bytes {
    let slices = partitions.iter().enumerate().map(|(at, partition)| (at, 0..partition.records.len()));
    payload(partitions, &slices.collect())
}

/// The next batch: of one to three partitions that no invocation has, as far as the source knows,
/// each from the first record that is not acknowledged to anywhere.
pub(super) fn next(partitions: &[Partition], rng: &mut Rng) -> Slices {
    let is_open = |p: &Partition| p.with.is_none() && p.acknowledged < p.records.len();
    let mut open: Vec<usize> = (0..partitions.len()).filter(|at| is_open(&partitions[*at])).collect();
    rng.shuffle(&mut open);
    open.truncate(rng.usize(1..=3));
    open.into_iter().map(|at| (at, part(&partitions[at], partitions[at].acknowledged, rng))).collect()
}

/// Records that were delivered before, beside whoever has them now.
pub(super) fn again(partitions: &[Partition], rng: &mut Rng) -> Slices {
    let at = rng.usize(0..partitions.len());
    let from = rng.usize(0..=partitions[at].acknowledged.min(partitions[at].records.len() - 1));
    vec![(at, part(&partitions[at], from, rng))]
}

fn part(partition: &Partition, from: usize, rng: &mut Rng) -> Range<usize> {
    // Small ones often: then more plans follow each other.
    let all = partition.records.len();
    let most = if rng.bool() { all } else { rng.usize(from + 1..=all) };
    from..rng.usize(from + 1..=most)
}
