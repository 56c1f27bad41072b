//! Streams: which topics carry what, and how their records are read. One line per stream.

use std::fmt;
use std::str::FromStr;

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

/// Which topic carries which stream.
#[derive(Clone)]
pub struct Routes(Vec<(String, &'static Stream)>);

impl Default for Routes {
    /// Every stream under the topics of its source system.
    fn default() -> Self {
        let topics = |stream: &'static Stream| stream.topics.iter().map(move |topic| ((*topic).to_owned(), stream));
        Self(STREAMS.iter().flat_map(topics).collect())
    }
}

impl FromStr for Routes {
    type Err = String;

    /// Reads `topic=stream` pairs with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let route = |pair: &str| {
            let (topic, name) = pair.trim().split_once('=').ok_or_else(|| format!("`{pair}` is not topic=stream"))?;
            let stream = STREAMS.iter().find(|stream| stream.name == name);
            Ok((topic.to_owned(), stream.ok_or_else(|| format!("there is no stream `{name}`"))?))
        };
        text.split(',').map(route).collect::<Result<_, String>>().map(Self)
    }
}

impl Routes {
    /// The stream that a topic carries.
    pub fn stream(&self, topic: &str) -> Option<&'static Stream> {
        self.0.iter().find(|(known, _)| known == topic).map(|(_, stream)| *stream)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(topic, stream)| (topic, stream.name))).finish()
    }
}

/// What a good record comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every record is the large variant: a box would cost each one")]
pub enum Accepted {
    /// A change of an entity.
    Change(Change),
    /// Nothing: its entity may have been forgotten by now, so counting it could count it twice.
    Late,
}

/// What decoding depends on besides the record. Set by the deployment, but for the time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which topic carries which stream.
    pub routes: Routes,
    /// The time of the invocation, in ms since 1970.
    pub now_ms: i64,
    /// Quantities below this are low stock.
    pub low_stock_threshold: i64,
    /// How long tombstones are kept after their deletion; `None` means for ever.
    pub tombstone_retention_ms: Option<i64>,
}

impl Default for Settings {
    /// What a deployment has that sets nothing, in 1970.
    fn default() -> Self {
        Self { routes: Routes::default(), now_ms: 0, low_stock_threshold: 10, tombstone_retention_ms: None }
    }
}

impl Settings {
    /// Whether an entity last changed at this time may have been forgotten.
    pub fn is_late(&self, timestamp_ms: i64) -> bool {
        self.tombstone_retention_ms.is_some_and(|retention| timestamp_ms < self.now_ms.saturating_sub(retention))
    }
}

/// Reads a record's JSON, borrowing from it where the type does.
///
/// # Errors
/// The reason why it cannot be read.
pub fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    if is_too_deep(value) {
        return Err(format!("JSON is nested deeper than {MAX_DEPTH} levels"));
    }
    sonic_rs::from_slice(value).map_err(|e| first_line(&e))
}

/// The first line of the parser's message; the following ones would quote the value.
pub(crate) fn first_line(error: &sonic_rs::Error) -> String {
    error.to_string().lines().next().unwrap_or("not JSON").to_owned()
}

/// As deep as the usual parsers go.
const MAX_DEPTH: usize = 128;
/// So short a text cannot nest deeply enough to hurt: its recursion takes a fraction of a stack.
const ALWAYS_SHALLOW: usize = 1024;

/// Whether JSON is nested deeper than any honest record: the parser skips what it does not need by
/// recursion, without a limit, and a stack overflow would kill the process again and again.
fn is_too_deep(json: &[u8]) -> bool {
    if json.len() <= ALWAYS_SHALLOW || openings(json) <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// How many objects and arrays begin, those within strings included. Counted in bytes, because the
/// compiler makes that 16 or more at a time.
fn openings(json: &[u8]) -> usize {
    let in_chunk = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>();
    json.chunks(255).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let padded = |json: String| format!("{json}{}", " ".repeat(ALWAYS_SHALLOW));
        for (json, expected) in [
            (nested(128), false),
            (nested(129), true),
            (format!("[{}]", vec!["{}"; 500].join(",")), false),
            (format!("\"{}\"", "[".repeat(500)), false),
            (format!("\"\\\"{}\"", "[".repeat(500)), false),
            (format!("\"\\\\\"{}", "[".repeat(500)), true),
        ] {
            assert_eq!(is_too_deep(padded(json.clone()).as_bytes()), expected, "{json}");
        }
    }
}
