//! From an invocation's bytes to changes and rejects, in parallel.

use rayon::prelude::*;

use crate::kafka::{Invocation, InvocationError, Partition, RawRecord};
use crate::stream::{Accepted, Settings, Stream};
use crate::views::rejects;
use crate::{Change, Rows};

/// Records that one thread decodes in a row: enough to outweigh handing them over.
const CHUNK: usize = 256;
/// Characters of a reason at most.
const REASON_CHARS: usize = 200;

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
    Ok(partitions.into_par_iter().map(|p| decode_partition(&source, &p, settings)).collect())
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
    let parts: Vec<Decoded> =
        partition.records.par_chunks(CHUNK).map(|records| decode_chunk(stream, records, settings)).collect();
    let position = |record: &RawRecord<'_>| Position { offset: record.offset, timestamp_ms: record.timestamp_ms() };
    let mut all = Decoded { changes: Vec::with_capacity(partition.records.len()), ..Decoded::default() };
    for mut part in parts {
        all.changes.append(&mut part.changes);
        all.rejects.append(&mut part.rejects);
        all.late += part.late;
    }
    Batch {
        source: source.to_owned(),
        topic: partition.topic.to_string(),
        partition: partition.partition,
        positions: partition.records.iter().map(position).collect(),
        changes: all.changes,
        rejects: all.rejects,
        late: all.late,
    }
}

/// What some records come to, in their order.
#[derive(Default)]
struct Decoded {
    changes: Vec<Change>,
    rejects: Vec<Reject>,
    late: usize,
}

fn decode_chunk(stream: Option<&Stream>, records: &[RawRecord<'_>], settings: &Settings) -> Decoded {
    let mut decoded = Decoded { changes: Vec::with_capacity(records.len()), ..Decoded::default() };
    let mut value = Vec::new();
    for record in records {
        match decode_record(stream, record, &mut value, settings) {
            Ok(Accepted::Change(change)) => decoded.changes.push(change),
            Ok(Accepted::Late) => decoded.late += 1,
            Err(reason) => {
                let reason = shortened(reason);
                decoded.rejects.push(Reject { offset: record.offset, reason, record: record.to_json() });
            }
        }
    }
    decoded
}

/// A parser may quote the whole record in its message; a reason is for people, logs and answers.
fn shortened(mut reason: String) -> String {
    if let Some((at, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(at);
        reason.push('…');
    }
    reason
}

fn decode_record(
    stream: Option<&Stream>,
    record: &RawRecord<'_>,
    value: &mut Vec<u8>,
    settings: &Settings,
) -> Result<Accepted, String> {
    let stream = stream.ok_or("topic carries no known stream")?;
    value.clear();
    record.append_value(value)?;
    (stream.decode)(record, value, settings)
}
