//! What apps send: events and metrics, one or many.

use axum::response::Response;

use super::{Route, route};
use crate::Problem;
use crate::ingest::fields::{CloudEvent, NewEvent, NewEvents, NewMetric, NewMetrics};
use crate::ingest::{EVENTS, METRICS, Sending, Taken};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(event), route!(events), route!(metric), route!(metrics)]
}

/// Takes one event, also as a CloudEvent. It is in the user's timeline and in the totals when 201 comes back. Sent
/// again with the same `eventId`, or the same `Idempotency-Key`, it counts once.
#[utoipa::path(
    post, path = "/analytics/events", tag = "ingestion",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255)),
    request_body(content((NewEvent = "application/json"), (CloudEvent = "application/cloudevents+json"))),
    responses(
        (status = 201, body = Taken, description = "It counts."),
        (status = 200, body = Taken, description = "It is past its retention, and counts nowhere."),
        (status = 202, body = Taken, description = "Kafka has it, and it will count."),
    )
)]
async fn event(sending: Sending) -> Result<Response, Problem> {
    sending.take(&EVENTS, false).await
}

/// Takes up to 500 events, all or none.
#[utoipa::path(
    post, path = "/analytics/events/batch", tag = "ingestion", request_body = NewEvents,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255)),
    responses(
        (status = 201, body = Taken, description = "They count, but for those that are past their retention."),
        (status = 200, body = Taken, description = "All are past their retention, and count nowhere."),
        (status = 202, body = Taken, description = "Kafka has them, and they will count."),
    )
)]
async fn events(sending: Sending) -> Result<Response, Problem> {
    sending.take(&EVENTS, true).await
}

/// Takes one measurement. Sent again with the same `eventId`, or the same `Idempotency-Key`, it counts once; without
/// either it counts each time.
#[utoipa::path(
    post, path = "/analytics/metrics", tag = "ingestion", request_body = NewMetric,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255)),
    responses(
        (status = 201, body = Taken, description = "It counts."),
        (status = 200, body = Taken, description = "It is past its retention, and counts nowhere."),
        (status = 202, body = Taken, description = "Kafka has it, and it will count."),
    )
)]
async fn metric(sending: Sending) -> Result<Response, Problem> {
    sending.take(&METRICS, false).await
}

/// Takes up to 500 measurements, all or none.
#[utoipa::path(
    post, path = "/analytics/metrics/batch", tag = "ingestion", request_body = NewMetrics,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255)),
    responses(
        (status = 201, body = Taken, description = "They count, but for those that are past their retention."),
        (status = 200, body = Taken, description = "All are past their retention, and count nowhere."),
        (status = 202, body = Taken, description = "Kafka has them, and they will count."),
    )
)]
async fn metrics(sending: Sending) -> Result<Response, Problem> {
    sending.take(&METRICS, true).await
}
