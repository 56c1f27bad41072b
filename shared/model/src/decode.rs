//! From an invocation's bytes to changes and rejects, in parallel.

use rayon::prelude::*;

use crate::kafka::{Invocation, InvocationError, Partition, RawRecord};
use crate::stream::{Accepted, Settings, Stream};
use crate::views::rejects;
use crate::{Change, Rows};

/// Records that one thread decodes in a row: enough to outweigh handing them over.
const CHUNK: usize = 256;

/// One partition's share of an invocation, decoded: everything the ledger commits as one lane.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The event source: its ARN, or the bootstrap servers.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The position of every record, in ascending order.
    pub positions: Vec<Position>,
    /// What the good records say, in the order of their offsets.
    pub changes: Vec<Change>,
    /// The records to set aside, in the order of their offsets.
    pub rejects: Vec<Reject>,
    /// Records that came after their entity may have been forgotten.
    pub late: usize,
}

/// Where a record stands in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp in ms, where it has one.
    pub timestamp_ms: Option<i64>,
}

/// A record that cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its offset.
    pub offset: i64,
    /// Why not.
    pub reason: String,
    /// The whole record as it arrived, as one line of JSON.
    pub record: String,
}

/// Decodes an invocation: one batch for each partition in it.
///
/// # Errors
/// If the payload is not a Kafka invocation; a bad record is a [`Reject`], never an error.
pub fn decode(payload: &[u8], settings: &Settings) -> Result<Vec<Batch>, InvocationError> {
    let invocation = Invocation::parse(payload)?;
    let source = invocation.source();
    let partitions = invocation.partitions();
    Ok(partitions.into_iter().map(|p| decode_partition(&source, &p, settings)).collect())
}

impl Batch {
    /// The last record's offset.
    pub fn last_offset(&self) -> Option<i64> {
        self.positions.last().map(|p| p.offset)
    }

    /// The newest Kafka timestamp, in ms.
    pub fn newest_ms(&self) -> Option<i64> {
        self.positions.iter().filter_map(|p| p.timestamp_ms).max()
    }

    /// What the records without an identity of their own add to the rows: those above `through`
    /// only, because the ones up to it have been counted.
    pub fn points(&self, through: Option<i64>) -> Rows {
        let new = self.rejects.iter().filter(|reject| Some(reject.offset) > through).count();
        let mut rows = Rows::default();
        rejects::count(&self.topic, new, &mut rows);
        rows
    }
}

fn decode_partition(source: &str, partition: &Partition<'_>, settings: &Settings) -> Batch {
    let stream = settings.routes.stream(&partition.topic);
    let outcomes: Vec<Vec<Result<Accepted, String>>> =
        partition.records.par_chunks(CHUNK).map(|records| decode_chunk(stream, records, settings)).collect();
    let mut batch = Batch {
        source: source.to_owned(),
        topic: partition.topic.to_string(),
        partition: partition.partition,
        positions: partition
            .records
            .iter()
            .map(|r| Position { offset: r.offset, timestamp_ms: r.timestamp_ms() })
            .collect(),
        changes: Vec::with_capacity(partition.records.len()),
        rejects: Vec::new(),
        late: 0,
    };
    for (record, outcome) in partition.records.iter().zip(outcomes.into_iter().flatten()) {
        match outcome {
            Ok(Accepted::Change(change)) => batch.changes.push(change),
            Ok(Accepted::Late) => batch.late += 1,
            Err(reason) => batch.rejects.push(Reject { offset: record.offset, reason, record: record.to_json() }),
        }
    }
    batch
}

fn decode_chunk(
    stream: Option<&Stream>,
    records: &[RawRecord<'_>],
    settings: &Settings,
) -> Vec<Result<Accepted, String>> {
    let mut value = Vec::new();
    records
        .iter()
        .map(|record| {
            let stream = stream.ok_or("topic carries no known stream")?;
            value.clear();
            decode_base64(&record.value_base64()?, &mut value)?;
            (stream.decode)(record, &value, settings)
        })
        .collect()
}

/// Appends the decoded bytes. Forgiving (padding may miss, trailing bits may be set), because
/// AWS's own sample needs it.
fn decode_base64(text: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
    if base64_simd::STANDARD.decode_append(text, bytes).is_ok() {
        return Ok(());
    }
    bytes.clear();
    let forgiven = base64_simd::forgiving_decode_to_vec(text.as_bytes());
    bytes.extend(forgiven.map_err(|_| "value is not base64")?);
    Ok(())
}
