//! What is sent over HTTP: checked whole, then committed, or handed to Kafka.

pub(crate) mod fields;
mod request;

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tidemark_ledger::Call;
use tidemark_model::ingest::{Ingested, RequestId, ingest};
use tidemark_model::stream::{Accepted, Stream};
use tidemark_model::{Settings, activity, metric};
use tidemark_runtime::telemetry::chain;
use utoipa::ToSchema;

use crate::producer::{ProduceError, Record};
use crate::{Api, Caller, FieldError, Problem};
use fields::Field;
pub(crate) use request::Sent;

/// Values of one request at most.
const MOST: usize = 500;

/// The members of a JSON object, as they came.
type Members<'a> = BTreeMap<std::borrow::Cow<'a, str>, Box<RawValue>>;

/// A kind of thing that is sent.
pub(crate) struct Kind {
    /// How it is read.
    stream: &'static Stream,
    /// What a batch of it is called.
    many: &'static str,
    fields: &'static [Field],
    /// The field that is the record's key in Kafka.
    key: &'static str,
    /// Whether values without an id have an identity all the same.
    has_fingerprint: bool,
}

/// Events.
pub(crate) const EVENTS: Kind = Kind {
    stream: &activity::TRACKED,
    many: "events",
    fields: fields::EVENT,
    key: "userId",
    has_fingerprint: true,
};

/// Measurements.
pub(crate) const METRICS: Kind =
    Kind { stream: &metric::STREAM, many: "metrics", fields: fields::METRIC, key: "appId", has_fingerprint: false };

/// What became of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// Values that count, now or before. Of those that are handed to Kafka, all.
    accepted: usize,
    /// Values that are past their retention, and count nowhere.
    late: usize,
}
