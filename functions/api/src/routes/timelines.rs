//! Timelines: what a user did in an app.

use std::sync::Arc;

use axum::extract::State;
use compact_str::CompactString;
use serde::Serialize;
use tidemark_model::activity::{APP_LIMIT, Event};
use tidemark_model::time::utc;
use utoipa::ToSchema;

use super::known::known;
use super::{Route, route};
use crate::timeline::{Question, page};
use crate::{Answer, Api, Fresh, Id, Now, Page, Params, Problem, Reader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(events)]
}

/// One event of a timeline.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TimelineEvent {
    /// The app; of a user event its service.
    #[schema(value_type = String)]
    app_id: CompactString,
    #[schema(value_type = String)]
    user_id: CompactString,
    #[schema(value_type = String)]
    event_type: CompactString,
    #[schema(value_type = String)]
    event_name: CompactString,
    /// When it was, in UTC.
    #[schema(format = DateTime)]
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    session_id: Option<CompactString>,
    /// What else the producer says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    properties: Option<Box<serde_json::value::RawValue>>,
    /// Where it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    ip_address: Option<CompactString>,
    /// Where it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user_agent: Option<CompactString>,
}

impl From<Event> for TimelineEvent {
    fn from(event: Event) -> Self {
        Self {
            timestamp: utc(event.at),
            app_id: event.app,
            user_id: event.user,
            event_type: event.kind,
            event_name: event.name,
            session_id: event.session,
            properties: event.properties.and_then(|json| serde_json::from_str(json.text()).ok()),
            ip_address: event.ip_address,
            user_agent: event.user_agent,
        }
    }
}

/// What a user did in an app, the newest first.
///
/// Filters apply to what was read: a page can be short, or empty, and still name a next one.
#[utoipa::path(
    get, path = "/analytics/users/{userId}/events", tag = "apps",
    params(
        ("userId" = String, Path),
        ("appId" = String, Query, max_length = 128),
        ("eventType" = Option<String>, Query),
        ("eventName" = Option<String>, Query),
        ("startTime" = Option<String>, Query, description = "ISO 8601, ms since 1970, or relative such as `-24h`"),
        ("endTime" = Option<String>, Query, description = "Likewise; events of that ms are left out"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query)
    ),
    responses(
        (status = 200, body = Page<TimelineEvent>),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "The user has more events with an id than one request can sort.")
    )
)]
async fn events(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    Id(user): Id,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    let question = Question {
        app: params.id("appId", APP_LIMIT),
        user,
        kind: params.text("eventType"),
        name: params.text("eventName"),
        range: params.open_range(),
        limit: params.limit(),
    };
    params.finish()?;
    caller.app(&question.app)?;
    let before = api.cursors.open(&caller, &params)?;
    let (events, next) = page(&api, &question, before.clone(), call).await?;
    if events.is_empty() && next.is_none() && before.is_none() {
        known(&api, &question.app, call).await?;
    }
    let next = next.and_then(|place| api.cursors.seal(&caller, &params, &place));
    let items: Vec<TimelineEvent> = events.into_iter().map(TimelineEvent::from).collect();
    Answer::json(&Page { items, next }, Fresh::Live)
}
