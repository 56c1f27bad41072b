//! Errors as RFC 9457 says: `application/problem+json`, each with the request's correlation id.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tidemark_ledger::{LedgerError, StoreError};
use tidemark_runtime::telemetry::chain;
use utoipa::ToSchema;

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// Names the request in the logs; also in the header `X-Correlation-Id`.
    #[schema(value_type = String)]
    correlation_id: Box<str>,
    /// What is wrong with each part of the request, all at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

/// What is wrong with one part of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The parameter, or the field as a path, such as `events[3].userId`.
    pub field: String,
    /// Why it cannot be taken, and what can.
    pub reason: String,
}

impl FieldError {
    /// An error of a field.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl Problem {
    /// A problem of a status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            correlation_id: "".into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// 400: these parts of the request are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [FieldError { field, reason }] => format!("{field}: {reason}"),
            errors => format!("{} parts of the request cannot be taken; see errors", errors.len()),
        };
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// When to try again, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The problem with the request's correlation id.
    #[must_use]
    pub(crate) fn correlated(self, id: &str) -> Self {
        Self { correlation_id: id.into(), ..self }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        tracing::error!(error = %chain(&error), "request failed");
        match error {
            LedgerError::Store { source: StoreError::Throttled { .. } | StoreError::Unanswered { .. }, .. }
            | LedgerError::Deadline
            | LedgerError::Contended { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store did not answer in time; try again").retry_after(1)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be used as it is; see the logs"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // The outermost layer knows the correlation id and writes the body anew.
        response.extensions_mut().insert(self);
        response
    }
}
