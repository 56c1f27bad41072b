//! The quarantine: records that could not be counted, whole, with their reasons.
//!
//! `quarantine/{topic}/{partition}/{first offset}-{last offset}.jsonl`, one line a record:
//! `{"source", "epoch", "topic", "partition", "offset", "reason", "record"}`, where `record` is the
//! record as it arrived, value and key in base64. A batch that comes again with the same
//! boundaries replaces its file; with other boundaries a record may stand in two files, which
//! (source, epoch, topic, partition, offset) tells. In an epoch above 0 offsets start again, so
//! the partition's folder is `{partition}-epoch-{epoch}` then.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tidemark_model::{Batch, Reject};

use crate::{ArchiveError, ObjectStore};

/// Where all of it lies.
pub(crate) const ROOT: &str = "quarantine/";

/// Writes what is set aside, and reads it back.
#[derive(Clone, Debug)]
pub struct Quarantine<O> {
    pub(crate) objects: O,
    epoch: u32,
}

/// What was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub records: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    epoch: u32,
    topic: &'a str,
    partition: i32,
    offset: i64,
    reason: &'a str,
    record: &'a RawValue,
}

impl<O: ObjectStore> Quarantine<O> {
    /// A quarantine among other objects.
    pub fn new(objects: O, epoch: u32) -> Self {
        Self { objects, epoch }
    }

    /// Sets a batch's rejects aside, before anything else of it is committed, so that none is
    /// lost. `None` if there are none.
    ///
    /// # Errors
    /// If the object cannot be written.
    pub async fn set_aside(&self, batch: &Batch) -> Result<Option<SetAside>, ArchiveError> {
        let (Some(first), Some(last)) = (batch.rejects.first(), batch.rejects.last()) else {
            return Ok(None);
        };
        let key = self.key(batch, first, last);
        let body: Result<String, _> = batch.rejects.iter().map(|reject| self.line(batch, reject)).collect();
        let body = body.map_err(|source| ArchiveError::Encode { key: key.clone(), source })?;
        self.objects.put(&key, "application/jsonl", body.into_bytes()).await?;
        Ok(Some(SetAside { key, records: batch.rejects.len() }))
    }

    fn key(&self, batch: &Batch, first: &Reject, last: &Reject) -> String {
        let folder = folder(batch.partition, self.epoch);
        format!("{ROOT}{}/{folder}/{}-{}.jsonl", path_part(&batch.topic), first.offset, last.offset)
    }

    fn line(&self, batch: &Batch, reject: &Reject) -> serde_json::Result<String> {
        // What is set aside was hard to read already: it is kept as text where it is not even JSON.
        let record = RawValue::from_string(reject.record.clone()).or_else(|_| to_raw_value(&reject.record))?;
        let line = Line {
            source: &batch.source,
            epoch: self.epoch,
            topic: &batch.topic,
            partition: batch.partition,
            offset: reject.offset,
            reason: &reject.reason,
            record: &record,
        };
        Ok(serde_json::to_string(&line)? + "\n")
    }
}

pub(crate) fn folder(partition: i32, epoch: u32) -> String {
    match epoch {
        0 => partition.to_string(),
        epoch => format!("{partition}-epoch-{epoch}"),
    }
}

/// Kafka's own names pass as they are; anything else cannot leave its folder.
pub(crate) fn path_part(topic: &str) -> String {
    let mut part = String::with_capacity(topic.len());
    for byte in topic.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => part.push(char::from(byte)),
            other => part.push_str(&format!("%{other:02X}")),
        }
    }
    part
}
