//! Streams: which topics carry what, and how their records are read. One line per stream.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use compact_str::CompactString;
use serde::Deserialize;

use crate::kafka::RawRecord;
use crate::metric::Point;
use crate::rows::Map;
use crate::time::{DAY_MS, Zone};
use crate::{Change, activity, metric, order, product};

/// Every stream there is.
pub const STREAMS: &[Stream] =
    &[product::STREAM, order::STREAM, activity::TRACKED, activity::USER_EVENTS, metric::STREAM];

/// How one source system's records are read.
pub struct Stream {
    /// Its name, as in the local run's `--input products=FILE`.
    pub name: &'static str,
    /// The topics that carry it; `*` stands for any text.
    pub topics: &'static [&'static str],
    /// Reads one record, and says what it comes to.
    ///
    /// # Errors
    /// The reason why the record must be set aside.
    pub decode: fn(&Input<'_>, &mut Said) -> Result<Accepted, String>,
    /// How the source system would send a value.
    pub route: fn(&[u8]) -> Route,
}

/// One record and what reading it depends on.
pub struct Input<'a> {
    /// The record.
    pub record: &'a RawRecord<'a>,
    /// Its decoded value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// How it is to be read.
    pub settings: &'a Settings,
    /// The request that the value came in, if it came in one.
    pub requested: Option<Requested<'a>>,
}

/// What a request says of a value in it.
#[derive(Clone, Copy)]
pub struct Requested<'a> {
    /// Names the value, if nothing of its own does.
    pub id: &'a str,
    /// Whether the request may come again: then it alone names what has no id.
    pub may_come_again: bool,
    /// Of which apps the caller may tell something.
    pub may_tell: &'a dyn Fn(&str) -> bool,
}

/// What good records say.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Changes of entities.
    pub changes: Vec<Change>,
    /// Contributions without an identity.
    pub points: Vec<Point>,
}

/// How the source system would send a value: what a file of values leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The topic.
    pub topic: &'static str,
    /// The record's key.
    pub key: Option<String>,
    /// The value's own time, in ms since 1970.
    pub time_ms: Option<i64>,
}

impl<'a> Input<'a> {
    /// The value's bytes, where a tombstone makes no sense.
    ///
    /// # Errors
    /// If there are none.
    pub fn value(&self) -> Result<&'a [u8], String> {
        self.value.ok_or_else(|| "value is missing or null".to_owned())
    }

    /// Refuses an app that who sent the value may tell nothing of.
    ///
    /// # Errors
    /// The reason.
    pub fn may_tell(&self, app: &str) -> Result<(), String> {
        match self.requested {
            Some(requested) if !(requested.may_tell)(app) => Err(format!("app `{app}` is not the caller's")),
            _ => Ok(()),
        }
    }

    /// When Kafka or the API took the record in, in ms since 1970; the invocation's time where that is not said.
    pub fn taken_ms(&self) -> i64 {
        self.record.timestamp_ms().unwrap_or(self.settings.now_ms)
    }

    /// Refuses a time that is further past when the record was taken in than clocks may differ.
    ///
    /// # Errors
    /// The reason, with the field's name.
    pub fn not_ahead(&self, field: &str, ms: i64) -> Result<i64, String> {
        let skew = self.settings.clock_skew_ms;
        if ms <= self.taken_ms().saturating_add(skew) {
            return Ok(ms);
        }
        let hours = skew / 3_600_000;
        Err(format!("{field} {ms} is more than {hours} h past {}, when it was taken in", self.taken_ms()))
    }
}

/// Which topic carries which stream. The first that fits counts.
#[derive(Clone)]
pub struct Routes(Vec<(String, &'static Stream)>);

impl Default for Routes {
    /// Every stream under the topics of its source system.
    fn default() -> Self {
        Self::of(STREAMS.iter().flat_map(|stream| stream.topics.iter().map(move |topic| (*topic, stream))))
    }
}

impl FromStr for Routes {
    type Err = String;

    /// Reads `topic=stream` pairs with commas between them; `*` in a topic stands for any text.
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
    /// Topics, or patterns of them, with their streams.
    pub fn of<'a>(topics: impl IntoIterator<Item = (&'a str, &'static Stream)>) -> Self {
        Self(topics.into_iter().map(|(topic, stream)| (topic.to_owned(), stream)).collect())
    }

    /// The stream that a topic carries.
    pub fn stream(&self, topic: &str) -> Option<&'static Stream> {
        self.0.iter().find(|(pattern, _)| fits(pattern, topic)).map(|(_, stream)| *stream)
    }
}

/// Whether a topic is what a pattern says.
fn fits(pattern: &str, topic: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == topic };
    let Some(topic) = topic.strip_prefix(head) else { return false };
    let Some((middle, tail)) = rest.rsplit_once('*') else { return topic.ends_with(rest) };
    let Some(mut topic) = topic.strip_suffix(tail) else { return false };
    for part in middle.split('*') {
        let Some((_, after)) = topic.split_once(part) else { return false };
        topic = after;
    }
    true
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(topic, stream)| (topic, stream.name))).finish()
    }
}

/// What a good record comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It said something.
    Counted,
    /// It is well-formed and says nothing.
    Nothing,
    /// Its entity or window may have been forgotten by now, so counting it could count it twice.
    Late,
}

/// What decoding depends on besides the record. Set by the deployment, but for the time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which topic carries which stream.
    pub routes: Routes,
    /// The time of the invocation, in ms since 1970.
    pub now_ms: i64,
    /// Whose days are counted by.
    pub zone: Zone,
    /// How far a record's own time may be past its Kafka time, in ms.
    pub clock_skew_ms: i64,
    /// Quantities below this are low stock.
    pub low_stock_threshold: i64,
    /// How long tombstones are kept after their deletion; `None` means for ever.
    pub tombstone_retention_ms: Option<i64>,
    /// Digits after the point of decimals that come in binary, without a schema.
    pub decimal_scale: i32,
    /// How long days of sales are kept, in ms; `None` means for ever.
    pub sales_retention_ms: Option<i64>,
    /// How long timelines and windows of activity are kept.
    pub activity_retention: Retention,
    /// How long windows of metrics are kept.
    pub metrics_retention: Retention,
    /// Whether activity keeps IP addresses.
    pub store_ip_address: bool,
    /// Whether activity keeps user agents.
    pub store_user_agent: bool,
    /// Tag sets of one metric and day at most; the rest counts as one.
    pub max_tag_sets: usize,
    /// How long records that are set aside can be redriven, in ms.
    pub quarantine_retention_ms: i64,
}

impl Default for Settings {
    /// What a deployment has that sets nothing, in 1970.
    fn default() -> Self {
        Self {
            routes: Routes::default(),
            now_ms: 0,
            zone: Zone::default(),
            clock_skew_ms: DAY_MS,
            low_stock_threshold: 10,
            tombstone_retention_ms: None,
            decimal_scale: 2,
            sales_retention_ms: None,
            activity_retention: Retention::days(30),
            metrics_retention: Retention::days(30),
            store_ip_address: false,
            store_user_agent: false,
            max_tag_sets: 1_000,
            quarantine_retention_ms: 90 * DAY_MS,
        }
    }
}

impl Settings {
    /// Whether an entity last changed at this time may have been forgotten.
    pub fn is_late(&self, timestamp_ms: i64) -> bool {
        self.tombstone_retention_ms.is_some_and(|retention| timestamp_ms < self.now_ms.saturating_sub(retention))
    }

    /// When the tombstone of a deletion may be forgotten: a day after its records are late, because
    /// an invocation may take its time.
    pub fn tombstone_expires(&self, deleted_ms: i64) -> Option<i64> {
        self.tombstone_retention_ms.map(|retention| deleted_ms.saturating_add(retention).saturating_add(DAY_MS))
    }

    /// When it may be forgotten that a record was set aside now: not before the record itself.
    pub fn set_aside_expires(&self) -> i64 {
        self.now_ms.saturating_add(self.quarantine_retention_ms).saturating_add(DAY_MS)
    }
}

/// How long something is kept, by app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    default_ms: i64,
    apps: Arc<Map<CompactString, i64>>,
}

impl Retention {
    /// So many days for every app.
    pub fn days(days: i64) -> Self {
        Self { default_ms: days.saturating_mul(DAY_MS), apps: Arc::default() }
    }

    /// Other numbers of days for some apps.
    #[must_use]
    pub fn with_apps(&self, apps: impl IntoIterator<Item = (CompactString, i64)>) -> Self {
        let apps = apps.into_iter().map(|(app, days)| (app, days.saturating_mul(DAY_MS))).collect();
        Self { default_ms: self.default_ms, apps: Arc::new(apps) }
    }

    /// For an app, in ms.
    pub fn of(&self, app: &str) -> i64 {
        self.apps.get(app).copied().unwrap_or(self.default_ms)
    }
}

/// Reads a record's JSON, borrowing from it where the type does.
///
/// # Errors
/// The reason why it cannot be read.
pub fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, String> {
    if is_deeper(value, MAX_DEPTH) {
        return Err(format!("JSON is nested deeper than {MAX_DEPTH} levels"));
    }
    sonic_rs::from_str(utf8(value)?).map_err(|e| first_line(&e))
}

/// The text of JSON. Checked here: the parser takes the bytes of what it leaves unread for UTF-8.
pub(crate) fn utf8(json: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(json).map_err(|e| format!("JSON is not UTF-8: {e}"))
}

/// The first line of the parser's message; the following ones would quote the value.
pub(crate) fn first_line(error: &sonic_rs::Error) -> String {
    error.to_string().lines().next().unwrap_or("not JSON").to_owned()
}

/// As deep as the usual parsers go.
const MAX_DEPTH: usize = 128;

/// Whether JSON is nested deeper than so many levels, which any honest record is not: the parser skips what it does
/// not need by recursion, without a limit, and a stack overflow would kill the process again and again.
pub fn is_deeper(json: &[u8], levels: usize) -> bool {
    if openings(json) <= levels {
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
        if depth > levels {
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
    fn a_star_in_a_topic_stands_for_any_text() {
        for (pattern, topic, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*.orders", "dbserver1.public.orders", true),
            ("*.orders", "orders", false),
            ("*.orders", "x.orders.old", false),
            ("db*.public.*", "db1.public.orders", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (json, expected) in [
            (nested(128), false),
            (nested(129), true),
            (format!("[{}]", vec!["{}"; 500].join(",")), false),
            (format!("\"{}\"", "[".repeat(500)), false),
            (format!("\"\\\"{}\"", "[".repeat(500)), false),
            (format!("\"\\\\\"{}", "[".repeat(500)), true),
        ] {
            assert_eq!(is_deeper(json.as_bytes(), MAX_DEPTH), expected, "{json}");
        }
    }
}
