//! What happens around every request: a correlation id, security headers, entity tags, bounds, and a problem for
//! whatever went wrong.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
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

/// Bytes of a request's body at most.
pub const BODY_BYTES: usize = 1_000_000;

/// Routes, with all that happens around them.
pub fn layered(api: Arc<Api>, routes: Router<Arc<Api>>) -> Router {
    routes
        .layer(RequestBodyLimitLayer::new(BODY_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors(&api.origins))
        .layer(from_fn_with_state(Arc::clone(&api), around))
        .with_state(api)
}

/// What browsers may do for pages of these origins; a preflight needs no key.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let header = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            header("idempotency-key"),
            header("x-api-key"),
            CORRELATION,
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            header("x-next-cursor"),
            header("ratelimit-limit"),
            header("ratelimit-remaining"),
            header("ratelimit-reset"),
            CORRELATION,
        ])
        .max_age(Duration::from_secs(3_600))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = message.unwrap_or("of no text"), "request failed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; see the logs").into_response()
}

/// The outermost layer: names the request in logs, in the answer, and in what went wrong.
async fn around(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = correlation_id(request.headers());
    let call = api.call(request.extensions());
    let mut request = request;
    request.extensions_mut().insert(call);
    // The route, not the path: that may name a person.
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let span = tracing::info_span!("request", correlation_id = id);
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = match problem(&response) {
        Some(problem) => {
            let mut headers = response.headers().clone();
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::CONTENT_TYPE);
            let mut with_id = problem.correlated(&id).into_response();
            with_id.headers_mut().extend(headers);
            with_id
        }
        None => not_modified(&method, if_none_match.as_ref(), response),
    };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&id).ok().map(|id| (CORRELATION, id)));
    headers.extend(SECURITY.map(|(name, value)| (name, HeaderValue::from_static(value))));
    span.in_scope(|| tracing::info!(%method, route, status = response.status().as_u16(), "request answered"));
    response
}

/// What went wrong: as it was said, or as the status of an error says that comes from below the handlers.
fn problem(response: &Response) -> Option<Problem> {
    let status = response.status();
    if let Some(problem) = response.extensions().get::<Problem>() {
        return Some(problem.clone());
    }
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    Some(Problem::new(
        status,
        match status {
            StatusCode::METHOD_NOT_ALLOWED => "the route does not take this method; the header `Allow` says which",
            StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than 1 MB; send less at once",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body must be JSON, with `Content-Type: application/json`",
            _ => "the request cannot be taken as it is; see /openapi.json",
        },
    ))
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
    let has =
        tag.is_some_and(|tag| tags.split(',').any(|known| [tag, "*"].contains(&known.trim().trim_start_matches("W/"))));
    let is_read = *method == Method::GET || *method == Method::HEAD;
    if !(is_read && has && response.status() == StatusCode::OK) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}
