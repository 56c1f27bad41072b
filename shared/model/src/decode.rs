//! From an invocation's bytes to changes and rejects, in parallel.

use rayon::prelude::*;
use serde::de::IgnoredAny;

use crate::kafka::{Invocation, InvocationError, Partition, RawRecord};
use crate::metric::{Point, TagSets};
use crate::set_aside::Fault;
use crate::stream::{Accepted, Input, Said, Settings, Stream, parse};
use crate::{Change, Key};

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
    /// What the good records say of entities, in the order of their offsets.
    pub changes: Vec<Change>,
    /// What they contribute without an identity, in the order of their offsets.
    pub points: Vec<Point>,
    /// The records to set aside, in the order of their offsets.
    pub rejects: Vec<Reject>,
    /// Good records that said something.
    pub counted: usize,
    /// Good records that said nothing, such as tombstones.
    pub empty: usize,
    /// Records that came after their entity or window may have been forgotten.
    pub late: usize,
    /// Tag sets of one metric and day at most.
    pub max_tag_sets: usize,
    /// When it may be forgotten that its rejects were set aside, in ms since 1970.
    pub rejects_expire: i64,
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
    /// Why not, roughly.
    pub fault: Fault,
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
    /// Changes that no records say: the batch of a lane without offsets, where nothing moves a `through`.
    pub fn of_changes(source: &str, topic: &str, changes: Vec<Change>) -> Self {
        Self {
            source: source.to_owned(),
            topic: topic.to_owned(),
            partition: 0,
            positions: Vec::new(),
            counted: changes.len(),
            changes,
            points: Vec::new(),
            rejects: Vec::new(),
            empty: 0,
            late: 0,
            max_tag_sets: 0,
            rejects_expire: 0,
        }
    }

    /// The last record's offset.
    pub fn last_offset(&self) -> Option<i64> {
        self.positions.last().map(|p| p.offset)
    }

    /// The newest Kafka timestamp, in ms.
    pub fn newest_ms(&self) -> Option<i64> {
        self.positions.iter().filter_map(|p| p.timestamp_ms).max()
    }

    /// The newest Kafka timestamp of the records up to an offset, in ms.
    pub fn newest_ms_through(&self, offset: i64) -> Option<i64> {
        self.positions.iter().filter(|p| p.offset <= offset).filter_map(|p| p.timestamp_ms).max()
    }

    /// The entities that decide what the batch does, each once.
    pub fn keys(&self) -> Vec<Key> {
        let sets = self.points.iter().map(|point| TagSets::key(&point.series, &point.day));
        let mut keys: Vec<Key> = self.changes.iter().map(|change| change.key.clone()).chain(sets).collect();
        keys.extend(self.changes.iter().flat_map(|change| TagSets::keys_of(&change.state)));
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

fn decode_partition(source: &str, partition: &Partition<'_>, settings: &Settings) -> Batch {
    let stream = settings.routes.stream(&partition.topic);
    let parts: Vec<Decoded> =
        partition.records.par_chunks(CHUNK).map(|records| decode_chunk(stream, records, settings)).collect();
    let position = |record: &RawRecord<'_>| Position { offset: record.offset, timestamp_ms: record.timestamp_ms() };
    let mut all = Decoded::default();
    all.said.changes.reserve(partition.records.len());
    for part in parts {
        all.append(part);
    }
    Batch {
        source: source.to_owned(),
        topic: partition.topic.to_string(),
        partition: partition.partition,
        positions: partition.records.iter().map(position).collect(),
        changes: all.said.changes,
        points: all.said.points,
        rejects: all.rejects,
        counted: all.counted,
        empty: all.empty,
        late: all.late,
        max_tag_sets: settings.max_tag_sets,
        rejects_expire: settings.set_aside_expires(),
    }
}

/// What some records come to, in their order.
#[derive(Default)]
struct Decoded {
    said: Said,
    rejects: Vec<Reject>,
    counted: usize,
    empty: usize,
    late: usize,
}

impl Decoded {
    fn append(&mut self, mut other: Self) {
        self.said.changes.append(&mut other.said.changes);
        self.said.points.append(&mut other.said.points);
        self.rejects.append(&mut other.rejects);
        self.counted += other.counted;
        self.empty += other.empty;
        self.late += other.late;
    }
}

fn decode_chunk(stream: Option<&Stream>, records: &[RawRecord<'_>], settings: &Settings) -> Decoded {
    let mut decoded = Decoded::default();
    decoded.said.changes.reserve(records.len());
    let mut value = Vec::new();
    for record in records {
        let said = &mut decoded.said;
        let before = (said.changes.len(), said.points.len());
        match decode_record(stream, record, &mut value, settings, said) {
            Ok(Accepted::Counted) => decoded.counted += 1,
            Ok(Accepted::Nothing) => decoded.empty += 1,
            Ok(Accepted::Late) => decoded.late += 1,
            Err((fault, reason)) => {
                // What is set aside is set aside whole.
                said.changes.truncate(before.0);
                said.points.truncate(before.1);
                let reason = shortened(reason);
                decoded.rejects.push(Reject { offset: record.offset, fault, reason, record: record.to_json() });
            }
        }
    }
    decoded
}

/// A parser may quote the whole record in its message; a reason is for people, logs and answers.
pub(crate) fn shortened(mut reason: String) -> String {
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
    said: &mut Said,
) -> Result<Accepted, (Fault, String)> {
    let stream = stream.ok_or_else(|| (Fault::NoStream, "topic carries no known stream".to_owned()))?;
    value.clear();
    let has_value = record.append_value(value).map_err(|reason| (Fault::Unreadable, reason.into()))?;
    let value = has_value.then_some(value.as_slice());
    (stream.decode)(&Input { record, value, settings, requested: None }, said).map_err(|reason| {
        let is_readable = value.is_none_or(|value| parse::<IgnoredAny>(value).is_ok());
        (if is_readable { Fault::Refused } else { Fault::Unreadable }, reason)
    })
}
