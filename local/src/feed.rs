//! Streams as Kafka would hold them: topics of partitions of records with offsets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use tidemark_ledger::{Lane, Store, StoreError};
use tidemark_model::stream::{Route, STREAMS, Stream};
use tidemark_runtime::now_ms;
use xxhash_rust::xxh3::xxh3_64;

use crate::cli::Input;

/// The bundled samples, by stream.
const SAMPLES: &[(&str, &[u8])] = &[
    ("products", include_bytes!("../samples/products.ndjson")),
    ("orders", include_bytes!("../samples/orders.ndjson")),
    ("activity", include_bytes!("../samples/activity.ndjson")),
    ("user-events", include_bytes!("../samples/user-events.ndjson")),
    ("metrics", include_bytes!("../samples/metrics.ndjson")),
];

/// The made-up Kafka timestamp of what comes before any value's own time: 2025-01-01T00:00:00Z.
const FIRST_TIMESTAMP_MS: i64 = 1_735_689_600_000;
/// A value's own time within these is taken for when Kafka took it: from 2000 up to 2100.
const PLAUSIBLE_MS: RangeInclusive<i64> = 946_684_800_000..=4_102_444_800_000;
/// The event source that invocations name.
const SOURCE: &str = "arn:aws:kafka:us-east-1:000000000000:cluster/local/0";
/// Lambda takes 6 MB; what stands around the records is small.
const MAX_PAYLOAD: usize = 6_000_000;

/// One partition's records in the order of their offsets.
pub struct Log {
    /// The topic.
    pub topic: &'static str,
    /// The partition's number.
    pub partition: i32,
    /// Its records.
    pub records: Vec<Record>,
}

/// One record, as an invocation carries it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    topic: &'static str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    timestamp_type: &'static str,
    key: Option<String>,
    value: String,
    headers: [(); 0],
}

/// The partitions' logs of all streams to play.
///
/// # Errors
/// Naming the file that cannot be read.
pub fn logs(inputs: &[Input], partitions: i32) -> io::Result<Vec<Log>> {
    let mut logs = Logs::new(partitions);
    for input in inputs {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", input.file.display()));
        let stream = stream(input.stream)?;
        logs.append(stream, open(&input.file).map_err(named)?).map_err(named)?;
    }
    if inputs.is_empty() {
        for (name, sample) in SAMPLES {
            logs.append(stream(name)?, Box::new(*sample))?;
        }
    }
    Ok(logs.logs.into_values().collect())
}

/// The logs of one stream's values, in their order.
pub fn logs_of<'a>(stream: &Stream, values: impl IntoIterator<Item = &'a [u8]>, partitions: i32) -> Vec<Log> {
    let mut logs = Logs::new(partitions);
    values.into_iter().for_each(|value| logs.push(stream, value));
    logs.logs.into_values().collect()
}

fn stream(name: &str) -> io::Result<&'static Stream> {
    let known = STREAMS.iter().find(|stream| stream.name == name);
    known.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no stream `{name}`")))
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    let reader = BufReader::new(File::open(file)?);
    if file.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

struct Logs {
    partitions: i32,
    logs: BTreeMap<(&'static str, i32), Log>,
    /// When the record before was taken.
    taken_ms: i64,
}

impl Logs {
    fn new(partitions: i32) -> Self {
        Self { partitions, logs: BTreeMap::new(), taken_ms: FIRST_TIMESTAMP_MS }
    }

    fn append(&mut self, stream: &Stream, mut lines: Box<dyn BufRead + '_>) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.by_ref().read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let value = line.trim_ascii();
            if !value.is_empty() {
                self.push(stream, value);
            }
        }
    }

    fn push(&mut self, stream: &Stream, value: &[u8]) {
        let Route { topic, key, time_ms } = (stream.route)(value);
        // Kafka took it when it says, or with the one before if that cannot be.
        self.taken_ms = time_ms.filter(|ms| PLAUSIBLE_MS.contains(ms)).unwrap_or(self.taken_ms);
        let place = xxh3_64(key.as_deref().unwrap_or_default().as_bytes()) % u64::from(self.partitions.unsigned_abs());
        let partition = i32::try_from(place).unwrap_or_default();
        let log = self.logs.entry((topic, partition)).or_insert_with(|| Log { topic, partition, records: Vec::new() });
        log.records.push(Record {
            topic,
            partition,
            offset: log.records.len() as i64,
            timestamp: self.taken_ms,
            timestamp_type: "CREATE_TIME",
            key: key.map(|key| base64(key.as_bytes())),
            value: base64(value),
            headers: [],
        });
    }
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Moves logs behind what a kept store has seen already, as if they had been produced to the same
/// topics.
///
/// # Errors
/// If the store cannot be read.
pub async fn append_to<S: Store>(store: &S, logs: &mut [Log]) -> Result<(), StoreError> {
    for log in logs.iter_mut() {
        let lane = Lane::new(SOURCE, log.topic, log.partition, 0);
        let Some(cursor) = store.read_cursor(&lane.id).await?.value else { continue };
        let first = cursor.through.map_or(0, |through| through + 1);
        log.records.iter_mut().for_each(|record| record.offset += first);
    }
    Ok(())
}

/// The time at which the run's clock stands: the earliest record's, so that nothing is past its
/// retention that was not when Kafka took it.
pub fn clock_ms(logs: &[Log]) -> i64 {
    logs.iter().flat_map(|log| &log.records).map(|record| record.timestamp).min().unwrap_or_else(now_ms)
}

/// The time of the newest record: where the API's clock goes on from.
pub fn newest_ms(logs: &[Log]) -> i64 {
    logs.iter().flat_map(|log| &log.records).map(|record| record.timestamp).max().unwrap_or_else(now_ms)
}

impl Log {
    /// Where a batch that starts at an index ends: at a number of records, or where the payload
    /// would grow too large.
    pub fn batch_end(&self, start: usize, most: usize) -> usize {
        let mut bytes = 0;
        let mut end = start;
        for record in self.records.iter().skip(start).take(most) {
            // Around a value stand its key, position and names.
            bytes += record.value.len() + record.key.as_ref().map_or(0, String::len) + 200;
            if end > start && bytes > MAX_PAYLOAD {
                break;
            }
            end += 1;
        }
        end
    }
}

/// An invocation's payload with slices of several partitions, as the event-source mapping sends it.
///
/// # Errors
/// If a record cannot be serialised.
pub fn payload(slices: &[&[Record]]) -> serde_json::Result<Bytes> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Invocation<'a> {
        event_source: &'static str,
        event_source_arn: &'static str,
        bootstrap_servers: &'static str,
        records: BTreeMap<String, &'a [Record]>,
    }
    let records = slices.iter().filter_map(|slice| Some((slice.first()?.list_name(), *slice))).collect();
    let invocation = Invocation {
        event_source: "aws:kafka",
        event_source_arn: SOURCE,
        bootstrap_servers: "127.0.0.1:9092",
        records,
    };
    serde_json::to_vec(&invocation).map(Bytes::from)
}

impl Record {
    fn list_name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}
