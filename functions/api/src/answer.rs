//! Answers to reads: JSON with an entity tag, and how long it may be relied on.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use xxhash_rust::xxh3::xxh3_128;

use crate::Problem;

/// How long an answer may be relied on without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// Seconds: it shows current totals, or a window that is not over.
    Live,
    /// A minute: it shows windows that are over, which only late records still change.
    Past,
    /// Not at all.
    Never,
}

impl Fresh {
    /// Of a time range that ends then.
    pub fn until(end_ms: i64, now_ms: i64) -> Self {
        if end_ms < now_ms { Self::Past } else { Self::Live }
    }

    fn cache_control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Live => "private, max-age=5",
            Self::Past => "private, max-age=60",
            Self::Never => "no-store",
        })
    }
}

/// An answer that may be cached by who asked.
#[derive(Debug)]
pub struct Answer {
    content_type: &'static str,
    body: Bytes,
    fresh: Fresh,
}

impl Answer {
    /// A value as JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn json<T: Serialize + ?Sized>(value: &T, fresh: Fresh) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|error| {
            tracing::error!(%error, "answer cannot be written");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written; see the logs")
        })?;
        Ok(Self::of("application/json", body, fresh))
    }

    /// Bytes of a content type.
    pub fn of(content_type: &'static str, body: Vec<u8>, fresh: Fresh) -> Self {
        Self { content_type, body: body.into(), fresh }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let tag = format!("\"{:032x}\"", xxh3_128(&self.body));
        let mut response = self.body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, self.fresh.cache_control());
        headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        response
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to give as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
