//! What happens around every request: a correlation id, security headers, entity tags.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tracing::Instrument;

use crate::{Api, Problem};

const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
/// Characters of a correlation id at most.
const LONGEST: usize = 128;

const SECURITY: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// The outermost layer: names the request in logs, in the answer, and in what went wrong.
pub(crate) async fn around(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = correlation_id(request.headers());
    let call = api.call(request.extensions());
    let mut request = request;
    request.extensions_mut().insert(call);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let span = tracing::info_span!("request", correlation_id = id);
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => {
            let headers = response.headers().clone();
            let mut with_id = problem.clone().correlated(&id).into_response();
            with_id.headers_mut().extend(headers);
            with_id
        }
        None => not_modified(&method, if_none_match.as_ref(), response),
    };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&id).ok().map(|id| (CORRELATION, id)));
    headers.extend(SECURITY.map(|(name, value)| (name, HeaderValue::from_static(value))));
    span.in_scope(|| tracing::info!(%method, path, status = response.status().as_u16(), "request answered"));
    response
}

/// The caller's id of the request, or a new one.
fn correlation_id(headers: &HeaderMap) -> String {
    let given = headers.get(CORRELATION).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
    given.map_or_else(|| format!("{:032x}", fastrand::u128(..)), str::to_owned)
}

/// 304 where the caller has the answer already.
fn not_modified(method: &Method, if_none_match: Option<&HeaderValue>, response: Response) -> Response {
    let tags = if_none_match.and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let has = tag.is_some_and(|tag| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let is_read = *method == Method::GET || *method == Method::HEAD;
    if !(is_read && has && response.status() == StatusCode::OK) {
        return response;
    }
    let mut unchanged = StatusCode::NOT_MODIFIED.into_response();
    for name in [header::ETAG, header::CACHE_CONTROL, header::VARY] {
        let value = response.headers().get(&name).cloned();
        unchanged.headers_mut().extend(value.map(|value| (name, value)));
    }
    unchanged
}
