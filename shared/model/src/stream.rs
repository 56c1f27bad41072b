//! Streams: which topics carry what, and how their records are read. One line per stream.

use serde::Deserialize;

use crate::kafka::RawRecord;
use crate::{Change, product};

/// Every stream there is.
pub const STREAMS: &[Stream] = &[product::STREAM];

/// How one source system's records are read.
pub struct Stream {
    /// Its name, as in the local run's `--input products=FILE`.
    pub name: &'static str,
    /// The topics that carry it.
    pub topics: &'static [&'static str],
    /// Reads one record's decoded value.
    ///
    /// # Errors
    /// The reason why the record must be set aside.
    pub decode: fn(&RawRecord<'_>, &[u8], &Settings) -> Result<Accepted, String>,
    /// The topic and key under which the source system would send a value.
    pub route: fn(&[u8]) -> (&'static str, Option<String>),
}

impl Stream {
    /// The stream that a topic carries.
    pub fn of_topic(topic: &str) -> Option<&'static Self> {
        STREAMS.iter().find(|stream| stream.topics.contains(&topic))
    }
}

/// What a good record comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A change of an entity.
    Change(Change),
    /// Nothing: its entity may have been forgotten by now, so counting it could count it twice.
    Late,
}

/// What decoding depends on besides the record.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time of the invocation, in ms since 1970.
    pub now_ms: i64,
    /// Quantities below this are low stock.
    pub low_stock_threshold: i64,
    /// How long tombstones are kept after their deletion; `None` means for ever.
    pub tombstone_retention_ms: Option<i64>,
}

impl Settings {
    /// Whether an entity last changed at this time may have been forgotten.
    pub fn is_late(&self, timestamp_ms: i64) -> bool {
        self.tombstone_retention_ms.is_some_and(|retention| timestamp_ms < self.now_ms.saturating_sub(retention))
    }
}

/// Reads JSON, borrowing from it where the type does.
///
/// # Errors
/// The first line of the parser's message; the following ones would quote the value.
pub fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    sonic_rs::from_slice(value).map_err(|e| {
        let message = e.to_string();
        message.lines().next().unwrap_or("not JSON").to_owned()
    })
}
