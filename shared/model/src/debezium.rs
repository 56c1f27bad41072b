//! Debezium change events: one row of a database's table, as it is now.
//!
//! Read are the envelope and the unwrapped row, each with or without Kafka Connect's schema around
//! it. The row before is never relied on: the old state is the stored entity.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::field::{self, ID_LIMIT, within};
use crate::raw::Raw;
use crate::stream::{Input, first_line, parse};
use crate::{Decimal, Version, time};

/// What Debezium writes for a large value that an update left as it was, and does not know.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// One change of a row.
pub(crate) struct RowChange<'a> {
    /// The table's name, without its schema.
    pub(crate) table: CompactString,
    /// Whether the row was deleted.
    pub(crate) deleted: bool,
    /// The row: its new state, or of a deleted one what is known.
    pub(crate) row: Row<'a>,
    /// The row that the record says was before, unless it was a deletion: those often know no more
    /// than the key.
    pub(crate) claimed: Option<Row<'a>>,
    /// How new it is.
    pub(crate) version: Version,
    /// When the database wrote it, in ms since 1970, where the record says so.
    pub(crate) stated_ms: Option<i64>,
}

/// One column of a row: its value, unless it is null, and the version that told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell<T> {
    /// The value; `None` is null.
    #[serde(rename = "v", default = "none", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
    /// The version that told it, where that is an older one than the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Version>,
}

fn none<T>() -> Option<T> {
    None
}

impl<T> Cell<T> {
    /// A column that the row's own record tells.
    pub fn told(value: Option<T>) -> Self {
        Self { value, at: None }
    }

    /// A column that no record has told yet.
    pub(crate) fn untold() -> Self {
        Self { value: None, at: Some(Version::NONE) }
    }

    /// Whether the row's own record tells it.
    pub(crate) fn is_told(&self) -> bool {
        self.at.is_none()
    }
}

impl<T: Clone + PartialEq> Cell<T> {
    /// The newer of two tellings, for a row of the version `own`.
    pub(crate) fn merged(&self, own: Version, other: &Self, others: Version) -> Self {
        let (mine, theirs) = (self.at.unwrap_or(own), other.at.unwrap_or(others));
        let (cell, at) = if mine >= theirs { (self, mine) } else { (other, theirs) };
        Self { value: cell.value.clone(), at: (at != own).then_some(at) }
    }

    /// Whether a claim of an old value contradicts the stored one. Nulls claim nothing: they stand
    /// for columns that the database did not log.
    pub(crate) fn contradicts(&self, stored: &Self) -> bool {
        self.is_told() && self.value.is_some() && stored.at != Some(Version::NONE) && self.value != stored.value
    }
}

/// Reads a record and hands its change on; `None` is a tombstone, which says nothing.
///
/// # Errors
/// The reason why it cannot be read, or the reader's.
pub(crate) fn read<T>(
    input: &Input<'_>,
    reader: impl FnOnce(RowChange<'_>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let Some(value) = input.value.filter(|value| *value != b"null") else { return Ok(None) };
    let root: Fields<'_> = parse(value)?;
    let unwrapped;
    let body = match root.find("payload") {
        Some(payload) if payload.json() == "null" => return Ok(None),
        Some(payload) => {
            unwrapped = Fields::read(payload)?;
            &unwrapped
        }
        None => &root,
    };
    let schema = root.get("schema").map(|schema| from_json::<Node<'_>>(schema.json())).transpose()?;
    let is_envelope = body.get("op").is_some() && ["after", "before", "source"].iter().any(|f| body.get(f).is_some());
    let change =
        if is_envelope { envelope(input, body, schema.as_ref())? } else { flat(input, body, schema.as_ref())? };
    reader(change).map(Some)
}

fn envelope<'a>(
    input: &'a Input<'_>,
    body: &'a Fields<'a>,
    schema: Option<&'a Node<'a>>,
) -> Result<RowChange<'a>, String> {
    let source = body.get("source").map(Fields::read).transpose()?.unwrap_or_default();
    let source =
        Source { of: &source, names: ["ts_ms", "lsn", "file", "pos", "table", "snapshot"], taken: body.get("ts_ms") };
    let op = body.get("op").and_then(Raw::text).ok_or("op is not a text")?;
    let row = |name: &str| -> Result<Option<Row<'a>>, String> {
        let Some(image) = body.get(name) else { return Ok(None) };
        let columns = Cow::Owned(Fields::read(image)?);
        Ok(Some(Row { columns, schema: schema.and_then(|schema| schema.field(name)), input }))
    };
    let (before, after) = (row("before")?, row("after")?);
    let deleted = is_deletion(&op)?;
    let empty = || Row { columns: Cow::Owned(Fields::default()), schema: None, input };
    let (row, claimed) = match deleted {
        true => (before.unwrap_or_else(empty), None),
        false => (after.ok_or_else(|| format!("op {op} has no after"))?, before),
    };
    let (version, stated_ms) = source.version(input)?;
    Ok(RowChange { table: source.table(input), deleted, row, claimed, version, stated_ms })
}

fn flat<'a>(input: &'a Input<'_>, body: &'a Fields<'a>, schema: Option<&'a Node<'a>>) -> Result<RowChange<'a>, String> {
    let names = ["__source_ts_ms", "__lsn", "__file", "__pos", "__table", "__snapshot"];
    let source = Source { of: body, names, taken: body.get("__ts_ms") };
    let flagged = body.get("__deleted").is_some_and(|flag| matches!(flag.json(), "true" | "\"true\""));
    let by_op = body.get("__op").and_then(Raw::text).map(|op| is_deletion(&op)).transpose()?;
    if by_op.is_none() && body.get("__deleted").is_none() {
        return Err("neither a Debezium envelope nor an unwrapped row: op, __op and __deleted are missing".to_owned());
    }
    let (version, stated_ms) = source.version(input)?;
    let row = Row { columns: Cow::Borrowed(body), schema, input };
    let deleted = flagged || by_op == Some(true);
    Ok(RowChange { table: source.table(input), deleted, row, claimed: None, version, stated_ms })
}

fn is_deletion(op: &str) -> Result<bool, String> {
    match op {
        "c" | "u" | "r" => Ok(false),
        "d" => Ok(true),
        other => Err(format!("op `{other:.16}` is not c, u, d or r")),
    }
}

/// The id in the record's key, for a deleted row whose columns nobody knows: the key itself, its
/// payload, or the member `id` or the only one of either.
fn key_id(input: &Input<'_>) -> Option<CompactString> {
    let key = input.record.key()?;
    let Ok(root) = parse::<Raw<'_>>(key.as_bytes()) else {
        // A text that is no JSON, such as a UUID without quotes.
        return within("key", &key, ID_LIMIT).ok().map(|()| CompactString::from(key));
    };
    let mut id = root.into_owned();
    while id.json().starts_with('{') {
        let fields = Fields::read(&id).ok()?;
        let only = || fields.0.first().filter(|_| fields.0.len() == 1).map(|(_, value)| value);
        id = fields.get("payload").or_else(|| fields.get("id")).or_else(only)?.clone().into_owned();
    }
    field::id("key", &id).ok()
}

/// Where a change comes from.
struct Source<'a> {
    of: &'a Fields<'a>,
    /// The names of: time, Postgres log position, MySQL log file and position in it, table, snapshot.
    names: [&'static str; 6],
    /// When the connector took it, where the source does not say when it was written.
    taken: Option<&'a Raw<'a>>,
}

impl<'a> Source<'a> {
    /// A field by its name or, of an unwrapped row, by that name with `source` in it.
    fn get(&self, at: usize) -> Option<&'a Raw<'a>> {
        let name = self.names.get(at)?;
        let long = || self.of.get(&format!("__source_{}", name.strip_prefix("__")?));
        self.of.get(name).or_else(long)
    }

    /// (position in the log, or time; time; offset), and the time in ms, where it is stated.
    fn version(&self, input: &Input<'_>) -> Result<(Version, Option<i64>), String> {
        let number = |at| self.get(at).and_then(integer);
        let stated_ms = number(0).or_else(|| self.taken.and_then(integer));
        stated_ms.map(|ms| time::within("ts_ms", ms)).transpose()?;
        let written_ms = stated_ms.unwrap_or_else(|| input.taken_ms());
        let file = self.get(2).and_then(Raw::text);
        let major = match (number(1), file, number(3)) {
            (Some(lsn), ..) => lsn,
            // A binlog file holds less than 2^36 bytes.
            (None, Some(file), Some(pos)) if !file.is_empty() => {
                log_number(&file).saturating_mul(1 << 36).saturating_add(pos)
            }
            // A row of a snapshot taken while changes flow may not know its position: it is older than
            // any change, whose positions are numbers far below times.
            _ if self.get(5).and_then(Raw::text).as_deref() == Some("incremental") => 0,
            _ => written_ms,
        };
        Ok((Version { major, minor: written_ms, tie: input.record.offset.unsigned_abs() }, stated_ms))
    }

    /// The table, by the source or by the last part of the topic.
    fn table(&self, input: &Input<'_>) -> CompactString {
        let named = self.get(4).and_then(Raw::text);
        let table = named.unwrap_or_else(|| input.record.topic().to_owned());
        CompactString::from(table.rsplit('.').next().unwrap_or_default())
    }
}

fn integer(value: &Raw<'_>) -> Option<i64> {
    value.text().as_deref().unwrap_or(value.json()).parse().ok()
}

/// The number of a log file such as `mysql-bin.000003`.
fn log_number(file: &str) -> i64 {
    file.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The columns of one row.
pub(crate) struct Row<'a> {
    columns: Cow<'a, Fields<'a>>,
    schema: Option<&'a Node<'a>>,
    input: &'a Input<'a>,
}

impl Row<'_> {
    /// The row's own id: a column, or of the record's key.
    pub(crate) fn id(&self) -> Result<CompactString, String> {
        match self.columns.get("id") {
            Some(id) => field::id("id", id),
            None => key_id(self.input).ok_or_else(|| "id is missing".to_owned()),
        }
    }

    /// A text, or a number as text.
    pub(crate) fn text(&self, column: &str) -> Result<Cell<CompactString>, String> {
        self.cell(column, |value| field::id(column, value))
    }

    /// A whole number.
    pub(crate) fn whole(&self, column: &str) -> Result<Cell<i64>, String> {
        self.cell(column, |value| {
            let text = value.text();
            let n = text.as_deref().unwrap_or(value.json()).parse::<Decimal>().ok().and_then(Decimal::to_whole);
            n.ok_or_else(|| format!("{column} {:.64} is not a whole number of 64 bits", value.json()))
        })
    }

    /// A decimal, in any of the connector's encodings.
    pub(crate) fn decimal(&self, column: &str, default_scale: i32) -> Result<Cell<Decimal>, String> {
        self.cell(column, |value| {
            let scale = self.column(column).and_then(Node::scale);
            let decimal = decimal(value, scale, default_scale);
            decimal.map_err(|reason| format!("{column} {:.64} {reason}", value.json()))
        })
    }

    /// A time, in ms since 1970.
    pub(crate) fn time(&self, column: &str) -> Result<Cell<i64>, String> {
        self.cell(column, |value| {
            let unit = self.column(column).and_then(|node| node.name.as_deref());
            let n = integer(value).filter(|_| value.text().is_none());
            let ms = match (unit.and_then(|unit| unit.rsplit('.').next()), n) {
                (Some("MicroTimestamp"), Some(us)) => us.div_euclid(1_000),
                (Some("NanoTimestamp"), Some(ns)) => ns.div_euclid(1_000_000),
                (Some("Timestamp"), Some(ms)) => ms,
                (Some("Date"), Some(days)) => days.saturating_mul(time::DAY_MS),
                _ => return time::read(column, value),
            };
            time::within(column, ms)
        })
    }

    fn cell<T>(&self, column: &str, read: impl FnOnce(&Raw<'_>) -> Result<T, String>) -> Result<Cell<T>, String> {
        match self.columns.find(column) {
            None => Err(format!("{column} is missing")),
            Some(value) if value.json() == "null" => Ok(Cell::told(None)),
            Some(value) if is_unavailable(value) => Ok(Cell::untold()),
            Some(value) => read(value).map(|value| Cell::told(Some(value))),
        }
    }

    fn column(&self, column: &str) -> Option<&Node<'_>> {
        self.schema?.field(column)
    }
}

/// The placeholder, as a text or as the bytes of a binary column.
fn is_unavailable(value: &Raw<'_>) -> bool {
    let Some(text) = value.quoted() else { return false };
    text == UNAVAILABLE || text == base64_simd::STANDARD.encode_to_string(UNAVAILABLE)
}

/// Numbers are themselves, structs carry their scale; a text is a number or base64 of one.
///
/// Without a schema a text of digits alone is a number, although it may be base64, too: as base64 it
/// would be a negative amount, because the digits encode the highest bit.
fn decimal(value: &Raw<'_>, scale: Option<i32>, default_scale: i32) -> Result<Decimal, String> {
    let Some(text) = value.text() else {
        if value.json().starts_with('{') {
            let fields = Fields::read(value)?;
            let scale = fields.get("scale").and_then(integer).and_then(|scale| i32::try_from(scale).ok());
            let bytes = fields.get("value").and_then(Raw::text).ok_or("has no value")?;
            return binary(&bytes, scale.ok_or("has no scale")?);
        }
        return value.json().parse().map_err(|e: crate::decimal::DecimalError| e.to_string());
    };
    match (scale, text.parse::<Decimal>()) {
        (Some(scale), _) => binary(&text, scale),
        (None, Ok(number)) => Ok(number),
        // Words for what is no number are base64, too, as it happens.
        (None, Err(_)) if matches!(&*text, "" | "Infinity" | "-Infinity" | "NaN") => Err("is no amount".to_owned()),
        (None, Err(crate::decimal::DecimalError::NotANumber)) => binary(&text, default_scale),
        (None, Err(error)) => Err(error.to_string()),
    }
}

/// A big-endian two's-complement number in base64.
fn binary(text: &str, scale: i32) -> Result<Decimal, String> {
    let bytes = base64_simd::STANDARD.decode_to_vec(text).map_err(|_| "is neither a number nor base64")?;
    if bytes.len() > 16 {
        return Err("is too large: more than 16 bytes".to_owned());
    }
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let unscaled = bytes.iter().fold(if negative { -1 } else { 0 }, |n: i128, byte| (n << 8) | i128::from(*byte));
    Decimal::scaled(unscaled, scale).map_err(|e| e.to_string())
}

/// Kafka Connect's description of a value.
#[derive(Deserialize)]
struct Node<'a> {
    #[serde(borrow, default)]
    field: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    parameters: Option<Fields<'a>>,
    #[serde(borrow, default)]
    fields: Option<Vec<Node<'a>>>,
}

impl<'a> Node<'a> {
    fn field(&self, name: &str) -> Option<&Node<'a>> {
        self.fields.as_ref()?.iter().find(|node| node.field.as_deref() == Some(name))
    }

    /// The scale of a binary decimal.
    fn scale(&self) -> Option<i32> {
        if self.name.as_deref() != Some("org.apache.kafka.connect.data.Decimal") {
            return None;
        }
        i32::try_from(self.parameters.as_ref()?.get("scale").and_then(integer)?).ok()
    }
}

/// A JSON object's members, values unread. Objects here are small: a search beats a map.
#[derive(Clone, Debug, Default)]
struct Fields<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'a> Fields<'a> {
    fn read(value: &'a Raw<'_>) -> Result<Self, String> {
        from_json(value.json())
    }

    /// A member, unless it is missing or null.
    fn get(&self, name: &str) -> Option<&Raw<'a>> {
        self.find(name).filter(|value| value.json() != "null")
    }

    fn find(&self, name: &str) -> Option<&Raw<'a>> {
        // The last one counts, as usual where a member comes twice.
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

fn from_json<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    sonic_rs::from_str(json).map_err(|e| first_line(&e))
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut fields = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_decimal(json: &str, scale: Option<i32>) -> Result<String, String> {
        decimal(&sonic_rs::from_str(json).unwrap(), scale, 2).map(|d| d.to_string())
    }

    #[test]
    fn every_encoding_of_a_decimal_is_read() {
        for (json, scale, expect) in [
            ("\"Ak9r\"", Some(2), "1514.03"),
            ("\"Ak9r\"", None, "1514.03"),
            ("\"ZUI=\"", None, "259.22"),
            ("\"/w==\"", Some(2), "-0.01"),
            ("\"AA==\"", Some(2), "0"),
            ("\"\"", Some(2), "0"),
            ("\"1234\"", Some(0), "-2658824"),
            ("\"1234\"", None, "1234"),
            ("\"1514.03\"", None, "1514.03"),
            ("\"-7\"", None, "-7"),
            ("1514.03", None, "1514.03"),
            ("1514.03", Some(2), "1514.03"),
            ("{\"scale\":3,\"value\":\"AYag\"}", None, "100"),
        ] {
            assert_eq!(read_decimal(json, scale).as_deref(), Ok(expect), "{json}");
        }
        for json in [
            "\"%\"",
            "\"\"",
            "\"Infinity\"",
            "\"NaN\"",
            "true",
            "[]",
            "{}",
            "{\"value\":\"AA==\"}",
            "\"AAAAAAAAAAAAAAAAAAAAAAA=\"",
            "\"1e99\"",
        ] {
            assert!(read_decimal(json, None).is_err(), "{json}");
        }
    }

    #[test]
    fn every_encoding_of_a_time_is_read() {
        let (record, settings) = (crate::kafka::RawRecord::unplaced(), crate::Settings::default());
        let input = Input { record: &record, value: None, settings: &settings, requested: None };
        let new_year = 1_735_689_600_000;
        for (name, json, expect) in [
            ("io.debezium.time.MicroTimestamp", "1735689600000999", new_year),
            ("io.debezium.time.NanoTimestamp", "1735689600000999999", new_year),
            ("io.debezium.time.Timestamp", "1735689600000", new_year),
            ("org.apache.kafka.connect.data.Timestamp", "1735689600000", new_year),
            ("io.debezium.time.Date", "20089", new_year),
            ("org.apache.kafka.connect.data.Date", "20089", new_year),
            ("io.debezium.time.ZonedTimestamp", "\"2025-01-01T01:00:00+01:00\"", new_year),
            // By its schema, a time may be where its magnitude alone would not put it.
            ("io.debezium.time.MicroTimestamp", "1000000", 1_000),
            ("io.debezium.time.MicroTimestamp", "-1", -1),
            ("io.debezium.time.Timestamp", "1000", 1_000),
            ("", "1735689600", new_year),
            ("", "1735689600000", new_year),
            ("", "1735689600000000", new_year),
            ("", "1735689600000000000", new_year),
            ("", "\"2025-01-01 00:00:00\"", new_year),
            ("", "\"2025-01-01T00:00:00Z\"", new_year),
            ("", "\"1735689600000\"", new_year),
        ] {
            let schema = format!(r#"{{"fields":[{{"field":"t","name":"{name}"}}]}}"#);
            let (schema, row) = (from_json::<Node<'_>>(&schema).unwrap(), format!(r#"{{"t":{json}}}"#));
            let row = Row { columns: Cow::Owned(from_json(&row).unwrap()), schema: Some(&schema), input: &input };
            assert_eq!(row.time("t").unwrap(), Cell::told(Some(expect)), "{name} {json}");
        }
        let row = Row { columns: Cow::Owned(from_json(r#"{"t":"soon"}"#).unwrap()), schema: None, input: &input };
        assert_eq!(row.time("t").unwrap_err(), "t `soon` is not a time");
    }

    #[test]
    fn the_newest_telling_of_a_column_wins_in_any_order() {
        let version = |major| Version { major, minor: 0, tie: 0 };
        let rows = [(1, Cell::told(Some("a"))), (2, Cell::told(Some("b"))), (3, Cell::untold()), (4, Cell::untold())];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let mut sum = rows[order[0]].clone();
            for (at, cell) in order[1..].iter().map(|n| rows[*n].clone()) {
                let own = sum.0.max(at);
                let (newer, older, ov) =
                    if at > sum.0 { (cell, sum.1.clone(), sum.0) } else { (sum.1.clone(), cell, at) };
                sum = (own, newer.merged(version(own), &older, version(ov)));
            }
            assert_eq!(sum, (4, Cell { value: Some("b"), at: Some(version(2)) }), "{order:?}");
        }
    }
}
