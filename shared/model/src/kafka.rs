//! The Kafka invocation, read tolerantly: what one record gets wrong is that record's problem.
//!
//! Not the published event types: those fail a whole batch on a missing or odd header, a byte
//! above 127 or a timestamp of -1, and round half of all timestamps down by a millisecond.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Decimal;
use crate::raw::Raw;
use crate::stream::{first_line, utf8};

/// One invocation's payload, borrowed from its bytes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation<'a> {
    #[serde(borrow, default)]
    event_source_arn: Option<Raw<'a>>,
    #[serde(borrow, default)]
    bootstrap_servers: Option<Raw<'a>>,
    // Without a default of its own the field must be there, though it may be null.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    records: Option<Lists<'a>>,
}

type Lists<'a> = BTreeMap<Cow<'a, str>, Vec<RawRecord<'a>>>;

/// One record as it arrives; what is odd in it stays unread until its turn comes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawRecord<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    /// Its partition's number.
    pub partition: i32,
    /// Its position in the partition.
    pub offset: i64,
    #[serde(borrow, default)]
    timestamp: Option<Raw<'a>>,
    #[serde(borrow, default)]
    timestamp_type: Option<Raw<'a>>,
    #[serde(borrow, default)]
    key: Option<Raw<'a>>,
    #[serde(borrow, default)]
    value: Option<Raw<'a>>,
    #[serde(borrow, default)]
    headers: Option<Raw<'a>>,
}

/// The payload is not a Kafka invocation at all; no record of it can be named.
#[derive(Debug, thiserror::Error)]
#[error("payload is not a Kafka invocation: {0}; check the function's event source")]
pub struct InvocationError(String);

/// The records of one partition, in the order of their offsets, each offset once.
pub struct Partition<'a> {
    /// The topic's name.
    pub topic: Cow<'a, str>,
    /// The partition's number.
    pub partition: i32,
    /// Its records.
    pub records: Vec<RawRecord<'a>>,
}

impl<'a> Invocation<'a> {
    /// Reads an invocation's bytes.
    ///
    /// # Errors
    /// If they are not a Kafka invocation: Lambda makes the envelope, no producer can break it.
    pub fn parse(payload: &'a [u8]) -> Result<Self, InvocationError> {
        let json = utf8(payload).map_err(InvocationError)?;
        sonic_rs::from_str(json).map_err(|e| InvocationError(first_line(&e)))
    }

    /// Where the records come from: the event source's ARN, or the bootstrap servers.
    pub fn source(&self) -> String {
        [&self.event_source_arn, &self.bootstrap_servers]
            .into_iter()
            .find_map(|value| value.as_ref()?.text())
            .unwrap_or_default()
    }

    /// The records by partition, in the order of topic and partition.
    pub fn partitions(self) -> Vec<Partition<'a>> {
        let mut partitions: Vec<Partition<'a>> = Vec::new();
        // Each list holds one partition's records; should one not, it falls into several parts.
        for list in self.records.into_iter().flat_map(BTreeMap::into_values) {
            let mut rest = list;
            while let Some(first) = rest.first() {
                let (topic, partition) = (first.topic.clone(), first.partition);
                let other = rest.iter().position(|record| record.partition != partition || record.topic != topic);
                let later = other.map(|at| rest.split_off(at)).unwrap_or_default();
                match partitions.iter_mut().find(|p| p.partition == partition && p.topic == topic) {
                    Some(known) => known.records.extend(rest),
                    None => partitions.push(Partition { topic, partition, records: rest }),
                }
                rest = later;
            }
        }
        for partition in &mut partitions {
            partition.records.sort_by_key(|record| record.offset);
            partition.records.dedup_by_key(|record| record.offset);
        }
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        partitions
    }
}

impl<'a> RawRecord<'a> {
    /// Reads what [`RawRecord::to_json`] has written.
    ///
    /// # Errors
    /// The reason why it is no record.
    pub fn parse(json: &'a str) -> Result<Self, String> {
        sonic_rs::from_str(json).map_err(|e| first_line(&e))
    }

    /// The record with another value.
    #[must_use]
    pub fn with_value(self, value: &[u8]) -> Self {
        Self { value: Some(Raw::of_plain(&base64_simd::STANDARD.encode_to_string(value))), ..self }
    }
}

impl RawRecord<'_> {
    /// A record that has no place yet.
    pub(crate) fn unplaced() -> Self {
        Self {
            topic: Cow::Borrowed(""),
            partition: 0,
            offset: 0,
            timestamp: None,
            timestamp_type: None,
            key: None,
            value: None,
            headers: None,
        }
    }

    /// A value of a request, by its index in it: it arrives at a time in ms.
    pub(crate) fn requested(index: i64, arrives_ms: i64) -> Self {
        Self { offset: index, timestamp: Some(Raw::of_whole(arrives_ms)), ..Self::unplaced() }
    }

    /// The topic that it came on.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key's text; `None` where there is none or it is no UTF-8.
    pub fn key(&self) -> Option<String> {
        let base64 = self.key.as_ref()?.text()?;
        String::from_utf8(base64_simd::forgiving_decode_to_vec(base64.as_bytes()).ok()?).ok()
    }

    /// The Kafka timestamp in ms since 1970; `None` where it is missing, odd or -1.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let text = self.timestamp.as_ref()?.json();
        let ms = text.parse().ok().or_else(|| text.parse::<Decimal>().ok()?.to_whole())?;
        (ms >= 0).then_some(ms)
    }

    /// Appends the value's bytes; false where there is no value, which is a tombstone. Forgiving
    /// (padding may miss, trailing bits may be set), because AWS's own sample needs it.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub fn append_value(&self, bytes: &mut Vec<u8>) -> Result<bool, &'static str> {
        let Some(value) = self.value.as_ref().filter(|value| value.json() != "null") else { return Ok(false) };
        let base64 = value.quoted().ok_or("value is not a base64 string")?;
        if base64_simd::STANDARD.decode_append(base64, bytes).is_ok() {
            return Ok(true);
        }
        // Some serialisers escape the slash.
        let base64 = value.text().ok_or("value is not a base64 string")?;
        bytes.extend(base64_simd::forgiving_decode_to_vec(base64.as_bytes()).map_err(|_| "value is not base64")?);
        Ok(true)
    }

    /// The text of a header, by its name; `None` where it is missing or no UTF-8. Its bytes may be
    /// signed; what is odd in other headers is theirs.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.as_ref()?.json();
        if !headers.contains(name) {
            return None;
        }
        let list: Vec<serde_json::Value> = serde_json::from_str(headers).ok()?;
        let bytes = list.iter().find_map(|header| header.get(name))?.as_array()?;
        let byte = |n: &serde_json::Value| Some(n.as_i64().filter(|n| (-128..256).contains(n))? as u8);
        String::from_utf8(bytes.iter().map(byte).collect::<Option<_>>()?).ok()
    }

    /// The record as it arrived, as one line of JSON: what must be kept if it is set aside.
    pub fn to_json(&self) -> String {
        let mut json = String::from("{\"topic\":");
        json.push_str(&serde_json::Value::from(self.topic.as_ref()).to_string());
        json.push_str(&format!(",\"partition\":{},\"offset\":{}", self.partition, self.offset));
        for (name, value) in [
            ("timestamp", &self.timestamp),
            ("timestampType", &self.timestamp_type),
            ("key", &self.key),
            ("value", &self.value),
            ("headers", &self.headers),
        ] {
            if let Some(value) = value {
                // A line is one record: no break of the original's formatting may end it early.
                let raw = value.json().replace(['\r', '\n'], " ");
                json.push_str(&format!(",\"{name}\":{raw}"));
            }
        }
        json.push('}');
        json
    }
}
