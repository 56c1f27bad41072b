//! CloudEvents 1.0 over Kafka: what stands around the data, in structured mode (a JSON envelope) or
//! in binary mode (headers).

use serde::Deserialize;

use crate::raw::Raw;
use crate::stream::{Input, parse};

/// What stands around the data.
pub(crate) struct Envelope {
    /// With the source, the event's identity.
    pub(crate) id: String,
    /// Who says so.
    pub(crate) source: String,
    /// What happened.
    pub(crate) kind: String,
    /// When, as ISO 8601.
    pub(crate) time: Option<String>,
}

/// The envelope of binary mode, if the record's headers hold one.
///
/// # Errors
/// If it is incomplete.
pub(crate) fn in_headers(input: &Input<'_>) -> Result<Option<Envelope>, String> {
    let header = |name: &str| input.record.header(name);
    if header("ce_specversion").is_none() {
        return Ok(None);
    }
    let required = |name: &str| {
        header(name).filter(|text| !text.is_empty()).ok_or_else(|| format!("CloudEvents header {name} is missing"))
    };
    Ok(Some(Envelope {
        id: required("ce_id")?,
        source: required("ce_source")?,
        kind: required("ce_type")?,
        time: header("ce_time"),
    }))
}

/// The envelope and the data of structured mode.
///
/// # Errors
/// If it is incomplete.
pub(crate) fn in_value(value: &[u8]) -> Result<(Envelope, Vec<u8>), String> {
    #[derive(Deserialize)]
    struct Structured<'a> {
        id: String,
        source: String,
        r#type: String,
        #[serde(default)]
        time: Option<String>,
        #[serde(borrow, default)]
        data: Option<Raw<'a>>,
        #[serde(default)]
        data_base64: Option<String>,
    }
    let event: Structured<'_> = parse(value)?;
    if event.id.is_empty() || event.source.is_empty() {
        return Err("id or source of the CloudEvent is empty".to_owned());
    }
    let data = match (event.data, event.data_base64) {
        (Some(data), _) => data.json().as_bytes().to_vec(),
        (None, Some(data)) => {
            base64_simd::forgiving_decode_to_vec(data.as_bytes()).map_err(|_| "data_base64 is not base64")?
        }
        (None, None) => return Err("data is missing".to_owned()),
    };
    Ok((Envelope { id: event.id, source: event.source, kind: event.r#type, time: event.time }, data))
}
