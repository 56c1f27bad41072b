//! The body of a request that sends something.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;
use tidemark_model::Settings;
use tidemark_model::ingest::RequestId;
use tidemark_model::stream::is_deeper;

use super::{Kind, fields};
use crate::extract::Origin;
use crate::producer::Record;
use crate::{FieldError, Problem};

/// Values of one request at most.
pub(super) const MOST: usize = 500;
/// Levels of JSON at most.
const LEVELS: usize = 16;
/// Characters of an idempotency key at most.
const KEY_LENGTH: usize = 255;

/// The members of a JSON object, as they came.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// What a request sends: values that are objects.
#[derive(Debug)]
pub(super) struct Sent {
    /// All that is plainly wrong.
    pub(super) errors: Vec<FieldError>,
    /// The values.
    pub(super) values: Vec<Value>,
    /// Whether they came as a batch.
    is_batch: bool,
    /// Whether they are to be handed to Kafka.
    pub(super) is_async: bool,
    /// What names the request, if it does.
    pub(super) idempotency_key: Option<String>,
}

/// A value that is sent.
#[derive(Debug)]
pub(super) struct Value {
    /// As a producer would send it to the stream's topic.
    json: String,
    /// Whether it is a CloudEvent, whose fields are the decoder's to check.
    is_envelope: bool,
    /// Whether something is plainly wrong with it.
    is_wrong: bool,
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.json.as_bytes()
    }
}

impl Sent {
    /// Reads a body that is one value of a kind, or an object that holds many.
    ///
    /// # Errors
    /// If it is neither.
    pub(super) fn read(
        kind: &Kind,
        is_batch: bool,
        headers: &HeaderMap,
        body: &Bytes,
        origin: &Origin,
        settings: &Settings,
    ) -> Result<Self, Problem> {
        let is_enveloped = is_enveloped(kind, is_batch, headers)?;
        let refused = |reason: String| Problem::invalid(vec![FieldError::new("(body)", reason)]);
        if is_deeper(body, LEVELS) {
            return Err(refused(format!("is nested deeper than {LEVELS} levels")));
        }
        let text = std::str::from_utf8(body).map_err(|_| refused("is not UTF-8".to_owned()))?;
        let mut whole: Members =
            serde_json::from_str(text).map_err(|error| refused(format!("is not a JSON object: {error}")))?;
        let mut errors = Vec::new();
        let idempotency_key = idempotency_key(headers).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let is_async = whole.remove("async").is_some_and(|raw| match raw.get() {
            "true" => true,
            "false" | "null" => false,
            _ => {
                errors.push(FieldError::new("async", "takes true or false"));
                false
            }
        });
        let values = match is_batch {
            false => vec![whole],
            true => {
                values(kind, &whole).map_err(|reason| Problem::invalid(vec![FieldError::new(kind.many, reason)]))?
            }
        };
        let mut sent = Self { errors, values: Vec::with_capacity(values.len()), is_batch, is_async, idempotency_key };
        for (at, mut value) in values.into_iter().enumerate() {
            let known = sent.errors.len();
            let path = sent.path_in(kind, at);
            let is_envelope = kind.has_envelopes && value.get("specversion").is_some_and(|raw| raw.get() != "null");
            if is_envelope {
                if value.get("specversion").is_some_and(|version| version.get() != "\"1.0\"") {
                    sent.errors.push(FieldError::new(format!("{path}specversion"), "takes `1.0`"));
                }
            } else if is_enveloped {
                sent.errors.push(FieldError::new("specversion", "is required of an event of this content type"));
            } else {
                fields::check(kind.fields, &value, &path, &mut sent.errors);
                add_origin(origin, kind, &mut value, settings);
            }
            let json = serde_json::to_string(&value).map_err(|error| refused(error.to_string()))?;
            sent.values.push(Value { json, is_envelope, is_wrong: sent.errors.len() > known });
        }
        Ok(sent)
    }

    /// Why the decoder does not take a value, if that is not said yet. What it says of a field is that field's.
    pub(super) fn unsaid(&self, kind: &Kind, at: usize, reason: &str) -> Option<FieldError> {
        let Value { is_envelope, is_wrong, .. } = *self.values.get(at)?;
        match reason.split_once(' ') {
            Some((field, reason)) if fields::has(kind.fields, field) => {
                let within = if is_envelope { "data." } else { "" };
                let field = format!("{}{within}{field}", self.path_in(kind, at));
                let is_said = self.errors.iter().any(|error| error.field == field);
                (!is_said).then(|| FieldError::new(field, reason))
            }
            _ if is_wrong => None,
            _ if self.is_batch => Some(FieldError::new(format!("{}[{at}]", kind.many), reason)),
            _ => Some(FieldError::new("(body)", reason)),
        }
    }

    /// What the fields of a value are called in errors begins so.
    fn path_in(&self, kind: &Kind, at: usize) -> String {
        if self.is_batch { format!("{}[{at}].", kind.many) } else { String::new() }
    }

    /// The values as records. What depends on when and as what the request came is written into them: sent again under
    /// its key, they count once.
    pub(super) fn into_records(self, kind: &Kind, request: &RequestId, now_ms: i64) -> Result<Vec<Record>, Problem> {
        let mut before: HashSet<serde_json::Value> = HashSet::new();
        let record = |(at, Value { json, is_envelope, .. }): (usize, Value)| {
            let mut value: Members = serde_json::from_str(&json)?;
            if !is_envelope {
                let lacks = |name| value.get(name).is_none_or(|raw| matches!(raw.get(), "null" | "\"\""));
                let (lacks_time, lacks_id) = (lacks("timestamp"), lacks("eventId"));
                // Of equals that say no time, each counts.
                let mut is_another = || serde_json::from_str(&json).map_or(true, |content| !before.insert(content));
                if lacks_id && (request.may_come_again || (kind.equals_are_one && lacks_time && is_another())) {
                    let id = format!("\"{}\"", request.id_of(at));
                    value.insert("eventId".to_owned(), RawValue::from_string(id)?);
                }
                if lacks_time {
                    value.insert("timestamp".to_owned(), RawValue::from_string(now_ms.to_string())?);
                }
            }
            let key = value.get(kind.key).map(|raw| match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
                Ok(text) => text.into_owned(),
                Err(_) => raw.get().to_owned(),
            });
            Ok(Record { key: key.map(Bytes::from), value: serde_json::to_vec(&value)?.into(), headers: Vec::new() })
        };
        let records: Result<_, serde_json::Error> = self.values.into_iter().enumerate().map(record).collect();
        records.map_err(|error| {
            tracing::error!(%error, "value cannot be written");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a value cannot be written; see the logs")
        })
    }
}

/// Adds what the deployment keeps of where a value came from, and the value does not say itself.
fn add_origin(origin: &Origin, kind: &Kind, value: &mut Members, settings: &Settings) {
    for (name, own, is_kept) in [
        ("ipAddress", &origin.ip_address, settings.store_ip_address),
        ("userAgent", &origin.user_agent, settings.store_user_agent),
    ] {
        let is_wanted = is_kept && fields::has(kind.fields, name) && !value.contains_key(name);
        let Some(own) = own.as_ref().filter(|_| is_wanted) else { continue };
        if let Ok(own) = serde_json::value::to_raw_value(own) {
            value.insert(name.to_owned(), own);
        }
    }
}

fn values(kind: &Kind, whole: &Members) -> Result<Vec<Members>, String> {
    let many = whole.get(kind.many).ok_or("is required")?;
    if let Some(other) = whole.keys().find(|name| *name != kind.many) {
        return Err(format!("stands beside `{other:.64}`, which is no field of a batch"));
    }
    let many: Vec<&RawValue> = serde_json::from_str(many.get()).map_err(|_| "takes a list of objects")?;
    if many.is_empty() || many.len() > MOST {
        return Err(format!("takes 1 to {MOST} of them, and there are {}", many.len()));
    }
    let object = |(at, raw): (usize, &RawValue)| {
        serde_json::from_str(raw.get()).map_err(|_| format!("takes objects, and number {at} is none"))
    };
    many.into_iter().enumerate().map(object).collect()
}

/// Whether the value is said to be in an envelope.
fn is_enveloped(kind: &Kind, is_batch: bool, headers: &HeaderMap) -> Result<bool, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match &*given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase() {
        "application/json" => Ok(false),
        "application/cloudevents+json" if kind.has_envelopes && !is_batch => Ok(true),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON; say `Content-Type: application/json`",
        )),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, FieldError> {
    let Some(given) = headers.get("idempotency-key") else { return Ok(None) };
    let key = given.to_str().ok().filter(|key| (1..=KEY_LENGTH).contains(&key.len()));
    let reason = || format!("takes 1 to {KEY_LENGTH} characters of ASCII");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| FieldError::new("Idempotency-Key", reason()))
}
