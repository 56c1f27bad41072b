//! Records that were set aside: what the tables know of them.
//!
//! A record that could not be counted lies whole in S3, and may be redriven from there. Its lane's cursor alone does
//! not say that it counts nowhere: a batch may have been set aside and then never committed, and a later
//! decoder have counted the record. So the very plan that moves `through` over its offset makes it an entity;
//! and what has one counts by it alone, because the lane never looks at that offset again.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::kafka::InvocationError;
use crate::{Batch, Change, Key, Settings, State, Version, decode};

/// A record that its lane has passed uncounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Its topic.
    pub topic: CompactString,
    /// What is wrong with it; `None` where that was not noted yet.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// Whether it counts by now.
    pub redriven: bool,
    /// When that may be forgotten, in ms since 1970. Then it cannot be redriven any more.
    pub expires: i64,
}

/// What is wrong with a record, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Its topic carries no known stream.
    NoStream,
    /// It holds no text, or none that is JSON.
    Unreadable,
    /// It says what its stream does not take.
    Refused,
}

impl Fault {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::NoStream, Self::Unreadable, Self::Refused];

    /// What it is called in rows and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoStream => "no_stream",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
        }
    }
}

impl SetAside {
    /// The version of a record that was set aside.
    pub const VERSION: Version = Version { major: 0, minor: 0, tie: 0 };
    const REDRIVEN: Version = Version { major: 1, minor: 0, tie: 0 };

    /// The entity of the record at an offset of a lane, by the lane's id.
    pub fn key(lane: &str, offset: i64) -> Key {
        Key::parts(&["SETASIDE", lane], &["OFFSET", &format!("{offset:020}")])
    }

    /// That the record of this entity counts by now.
    pub fn redriven(&self, key: Key) -> Change {
        let state = State::SetAside(Self { redriven: true, ..self.clone() });
        Change { key, version: Self::REDRIVEN, state, claimed: None, told_by: None }
    }
}

/// Where a record came from: what names it for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The event source: its ARN, or the bootstrap servers.
    pub source: String,
    /// The source's epoch.
    pub epoch: u32,
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
}

impl Origin {
    /// Decodes a record from here alone, as it would be today; `None` for one from somewhere else.
    ///
    /// # Errors
    /// If it is no record.
    pub fn decode(&self, record: &str, settings: &Settings) -> Result<Option<Batch>, InvocationError> {
        let source = serde_json::Value::from(self.source.as_str());
        let payload = format!(r#"{{"eventSourceArn":{source},"records":{{"":[{record}]}}}}"#);
        let mut batches = decode(payload.as_bytes(), settings)?;
        let batch = batches.pop().filter(|batch| {
            let offsets: Vec<i64> = batch.positions.iter().map(|position| position.offset).collect();
            batch.topic == self.topic && batch.partition == self.partition && offsets == [self.offset]
        });
        Ok(batch.filter(|_| batches.is_empty()))
    }
}
