//! The quarantine read back: records that were set aside, and what they were mended to.
//!
//! A mended record lies beside its file as `{offset}.fixed.json`, in the form in which the record arrived. The
//! original is never touched; what was mended last counts.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_model::Origin;

use crate::quarantine::{ROOT, folder, path_part};
use crate::{ArchiveError, ObjectStore, Quarantine, keys};

/// Files that are read beside each other.
const AT_ONCE: usize = 16;
const FIXED: &str = ".fixed.json";

/// A record in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it came from.
    pub origin: Origin,
    /// Why it was set aside.
    pub reason: String,
    /// The record as it arrived.
    pub record: String,
    /// The record as it was mended, if it was.
    pub fixed: Option<String>,
}

/// Which records are wanted: all of them, but for what is said.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this partition.
    pub partition: Option<i32>,
    /// At this offset.
    pub offset: Option<i64>,
}

/// What a line says, as it is read back.
#[derive(Deserialize)]
struct Line {
    source: String,
    epoch: u32,
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
    record: Box<RawValue>,
}

impl Wanted {
    /// Under which prefix they lie.
    fn prefix(&self) -> String {
        self.topic.as_ref().map_or_else(|| ROOT.to_owned(), |topic| format!("{ROOT}{}/", path_part(topic)))
    }

    /// Whether a file may hold any, by its name.
    fn may_be_in(&self, key: &str) -> bool {
        let mut parts = key.rsplit('/');
        let (name, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some((first, last)) = name.strip_suffix(".jsonl").and_then(|name| name.split_once('-')) else {
            return false;
        };
        let of_partition = |wanted: i32| folder.split('-').next() == Some(wanted.to_string().as_str());
        let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) else { return false };
        self.partition.is_none_or(of_partition) && self.offset.is_none_or(|wanted| (first..=last).contains(&wanted))
    }

    fn has(&self, origin: &Origin) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == origin.topic)
            && self.partition.is_none_or(|partition| partition == origin.partition)
            && self.offset.is_none_or(|offset| offset == origin.offset)
    }
}

impl<O: ObjectStore> Quarantine<O> {
    /// The records that are wanted, each once, in the order of topic, partition, epoch and offset.
    ///
    /// # Errors
    /// If an object cannot be read.
    pub async fn records(&self, wanted: &Wanted) -> Result<Vec<Quarantined>, ArchiveError> {
        let keys = keys(&self.objects, &wanted.prefix()).await?;
        let files: Vec<_> = keys.iter().filter(|key| wanted.may_be_in(key)).map(|key| self.file(key)).collect();
        let mut records: Vec<Quarantined> = stream::iter(files).buffered(AT_ONCE).try_concat().await?;
        records.retain(|record| wanted.has(&record.origin));
        let place = |Origin { source, epoch, topic, partition, offset }: &Origin| {
            (topic.clone(), *partition, *epoch, *offset, source.clone())
        };
        records.sort_by_cached_key(|record| place(&record.origin));
        records.dedup_by(|a, b| a.origin == b.origin);
        for record in &mut records {
            let key = fixed_key(&record.origin);
            if keys.contains(&key) {
                record.fixed = self.fixed(&key).await?;
            }
        }
        Ok(records)
    }

    /// Keeps a mended record beside the one that was set aside; the object's key.
    ///
    /// # Errors
    /// If the object cannot be written.
    pub async fn fix(&self, origin: &Origin, record: String) -> Result<String, ArchiveError> {
        let key = fixed_key(origin);
        self.objects.put(&key, "application/json", record.into_bytes()).await?;
        Ok(key)
    }

    /// A file's records. One that is gone has none: it has expired.
    async fn file(&self, key: &str) -> Result<Vec<Quarantined>, ArchiveError> {
        let Some(object) = self.objects.get(key).await? else { return Ok(Vec::new()) };
        let lines = object.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| quarantined(line).map_err(|source| ArchiveError::Decode { key: key.to_owned(), source }))
            .collect()
    }

    async fn fixed(&self, key: &str) -> Result<Option<String>, ArchiveError> {
        let Some(object) = self.objects.get(key).await? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(&object.body).into_owned()))
    }
}

fn quarantined(line: &[u8]) -> serde_json::Result<Quarantined> {
    let Line { source, epoch, topic, partition, offset, reason, record } = serde_json::from_slice(line)?;
    let origin = Origin { source, epoch, topic, partition, offset };
    // What was not even JSON is kept as text.
    let record = serde_json::from_str::<String>(record.get()).unwrap_or_else(|_| record.get().to_owned());
    Ok(Quarantined { origin, reason, record, fixed: None })
}

fn fixed_key(origin: &Origin) -> String {
    let folder = folder(origin.partition, origin.epoch);
    format!("{ROOT}{}/{folder}/{}{FIXED}", path_part(&origin.topic), origin.offset)
}
