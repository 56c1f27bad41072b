//! What is sent over HTTP: checked whole, then committed, or handed to Kafka.
//!
//! One bad value refuses a request, with all that is wrong; else it counts whole, once it is answered. The streams' own
//! decoders read the values, so that it makes no difference to a total which way a value came.

pub(crate) mod fields;
mod sent;

use std::cell::Cell;
use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tidemark_ledger::{Call, LedgerError};
use tidemark_model::ingest::{Ingested, RequestId, ingest};
use tidemark_model::stream::{Accepted, Stream};
use tidemark_model::{Settings, activity, metric};
use tidemark_runtime::telemetry::chain;
use utoipa::ToSchema;

use crate::extract::{Body, Origin};
use crate::producer::ProduceError;
use crate::{Answer, Api, Caller, FieldError, Fresh, Ingester, Now, Problem};
use fields::Field;
use sent::{MOST, Sent};

/// A kind of thing that is sent.
pub(crate) struct Kind {
    /// How it is read.
    stream: &'static Stream,
    /// What a batch of it is called.
    many: &'static str,
    /// What it holds.
    fields: &'static [Field],
    /// The field that is the record's key in Kafka.
    key: &'static str,
    /// Whether it may come in an envelope of CloudEvents.
    has_envelopes: bool,
    /// Whether in Kafka those without an id are one, where all that they say is the same.
    equals_are_one: bool,
}

/// Events.
pub(crate) const EVENTS: Kind = Kind {
    stream: &activity::TRACKED,
    many: "events",
    fields: fields::EVENT,
    key: "userId",
    has_envelopes: true,
    equals_are_one: true,
};

/// Measurements.
pub(crate) const METRICS: Kind = Kind {
    stream: &metric::STREAM,
    many: "metrics",
    fields: fields::METRIC,
    key: "appId",
    has_envelopes: false,
    equals_are_one: false,
};

/// What became of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// Values that count, now or before; or that were handed to Kafka, and will.
    accepted: usize,
    /// Values that are past their retention, and count nowhere.
    late: usize,
}

/// A request that sends something.
pub(crate) struct Sending {
    api: Arc<Api>,
    caller: Caller,
    call: Call,
    headers: HeaderMap,
    origin: Origin,
    body: Bytes,
}

impl FromRequest<Arc<Api>> for Sending {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Ingester(caller) = parts.extract_with_state(api).await?;
        let Ok(Now(call)) = parts.extract_with_state(api).await;
        let Ok(origin) = parts.extract().await;
        let headers = parts.headers.clone();
        let Body(body) = Body::from_request(Request::from_parts(parts, body), api).await?;
        Ok(Self { api: Arc::clone(api), caller, call, headers, origin, body })
    }
}

impl Sending {
    /// Takes one value of a kind, or a batch.
    pub(crate) async fn take(self, kind: &Kind, is_batch: bool) -> Result<Response, Problem> {
        let Self { api, caller, call, headers, origin, body } = self;
        let sent = Sent::read(kind, is_batch, &headers, &body, &origin, &api.settings)?;
        take(&api, kind, sent, &caller, call).await
    }
}

/// Takes what was sent: 201 when it is in the totals, 202 when Kafka has it; 200 if all of it came too late.
async fn take(api: &Api, kind: &Kind, sent: Sent, caller: &Caller, call: Call) -> Result<Response, Problem> {
    let settings = api.retentions.settings(&api.ledger, &api.settings, call).await?.value;
    let request = match &sent.idempotency_key {
        Some(key) => RequestId::keyed(caller.id(), key),
        None => RequestId::random(random_bits()?),
    };
    let Ingested { changes, results } = read(kind, &sent, &request, &settings, caller)?;
    let late = results.iter().filter(|result| matches!(result, Ok(Accepted::Late))).count();
    let taken = Taken { accepted: sent.values.len() - late, late };
    let status = match (sent.is_async, taken.accepted) {
        (true, _) => {
            produce(api, kind, sent, &request, &settings).await?;
            StatusCode::ACCEPTED
        }
        (false, 0) => StatusCode::OK,
        (false, _) => {
            let (receipt, outcome) = api.ledger.ingest(changes, settings.max_tag_sets, call).await;
            tracing::info!(
                lane = receipt.lane,
                values = taken.accepted,
                duplicates = receipt.duplicates,
                overflow = receipt.overflow,
                plans = receipt.plans,
                entities = receipt.entities,
                rows = receipt.rows,
                conflicts = receipt.conflicts,
                redone = receipt.redone,
                requests = receipt.requests,
                retries = receipt.retries,
                read_units = receipt.read_units,
                write_units = receipt.write_units,
                "request committed"
            );
            outcome.map_err(|error| unfinished(error, sent.idempotency_key.is_some()))?;
            StatusCode::CREATED
        }
    };
    Ok((status, Answer::json(&taken, Fresh::Never)?).into_response())
}

/// Reads all values, of which none may be wrong.
fn read(
    kind: &Kind,
    sent: &Sent,
    request: &RequestId,
    settings: &Settings,
    caller: &Caller,
) -> Result<Ingested, Problem> {
    let foreign = Cell::new(None);
    let may_tell = |app: &str| {
        let refused = caller.app(app).err();
        let may = refused.is_none();
        foreign.set(foreign.take().or(refused));
        may
    };
    let ingested = ingest(kind.stream, &sent.values, request, settings, may_tell);
    if let Some(refused) = foreign.take() {
        return Err(refused);
    }
    let reasons = ingested.results.iter().enumerate().filter_map(|(at, result)| Some((at, result.as_ref().err()?)));
    let mut errors = sent.errors.clone();
    errors.extend(reasons.filter_map(|(at, reason)| sent.unsaid(kind, at, reason)));
    if errors.is_empty() { Ok(ingested) } else { Err(Problem::invalid(errors)) }
}

/// What is known of a request whose commit broke off: a plan of it may be written down, and will be finished.
fn unfinished(error: LedgerError, has_key: bool) -> Problem {
    tracing::error!(error = %chain(&error), "request was not committed in time");
    let what = "the request was not finished in time, and may count, in part or soon";
    match has_key {
        true => {
            let what = format!("{what}; send it again with the same Idempotency-Key");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, what).retry_after(1)
        }
        false => {
            let what = format!("{what}; what has an eventId can be sent again, the rest only to count again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, what)
        }
    }
}

/// What names a request that has no key: nobody else's, in any process.
fn random_bits() -> Result<u128, Problem> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| {
        tracing::error!(%error, "no randomness");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the request could not be named; try again").retry_after(1)
    })?;
    Ok(u128::from_be_bytes(bits))
}

/// Hands a request's values to Kafka, as one batch that is there whole or not at all.
async fn produce(api: &Api, kind: &Kind, sent: Sent, request: &RequestId, settings: &Settings) -> Result<(), Problem> {
    let Some(kafka) = &api.kafka else {
        let reason = "there is no Kafka in this deployment; leave `async` out";
        return Err(Problem::invalid(vec![FieldError::new("async", reason)]));
    };
    let again = match sent.idempotency_key {
        Some(_) => "send them again, with the same Idempotency-Key",
        None => "sent again, what has neither an eventId nor a timestamp may count twice",
    };
    let records = sent.into_records(kind, request, settings.now_ms)?;
    let topic = if kind.many == EVENTS.many { &kafka.events_topic } else { &kafka.metrics_topic };
    kafka.producer.send(topic, records).await.map_err(|error| {
        tracing::error!(error = %chain(&error), "records were not accepted by Kafka");
        match error {
            ProduceError::TooLarge { .. } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            ProduceError::Refused { .. } => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Kafka refused the records, and nothing was accepted")
            }
            ProduceError::Away { .. } => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Kafka is away, and nothing was accepted; try again")
                    .retry_after(5)
            }
            ProduceError::Unacknowledged { .. } => {
                let what = format!("Kafka did not say whether it has the records; {again}");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, what).retry_after(1)
            }
        }
    })
}
