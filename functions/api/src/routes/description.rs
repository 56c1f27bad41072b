//! `/openapi.json`: the API as OpenAPI 3.1, from the routes' own code. A route says what it takes and what it answers
//! when all goes well; what holds for every route is said here, once.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{Route, guarded, open, route};
use crate::params::{LIMIT, LIMITS};
use crate::{Answer, FieldError, Fresh, Params, Problem};

#[derive(OpenApi)]
#[openapi(components(schemas(FieldError, Problem)))]
struct Shared;

/// From which routes a problem may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Any,
    /// Those that need a caller.
    Guarded,
    /// Those that take a body.
    WithBody,
}

/// What routes answer when something is wrong: the status, its name, what it means, and a header that comes with it.
const PROBLEMS: [(&str, &str, Of, &str, Option<&str>); 10] = [
    ("400", "BadRequest", Of::Any, "Parameters or a body that cannot be taken; `errors` says why, all at once.", None),
    ("401", "Unauthorized", Of::Guarded, "No key or token, or one that is not known.", Some("WWW-Authenticate")),
    ("403", "Forbidden", Of::Guarded, "The caller lacks the scope, or is not bound to the app.", None),
    ("404", "NotFound", Of::Guarded, "There is nothing of this name.", None),
    ("405", "MethodNotAllowed", Of::Any, "The path does not take the method.", Some("Allow")),
    ("413", "ContentTooLarge", Of::WithBody, "The body is too large; send less at once.", None),
    ("415", "UnsupportedMediaType", Of::WithBody, "The body is of a type that the route does not take.", None),
    ("429", "TooManyRequests", Of::Guarded, "The caller asks too often.", Some("Retry-After")),
    ("500", "InternalServerError", Of::Any, "A fault: the logs show it under the correlation id.", None),
    ("503", "ServiceUnavailable", Of::Any, "What the route depends on did not answer in time.", Some("Retry-After")),
];

const ABOUT: &str = "Live analytics that stay exact.\n\n\
    A key goes into the header `X-Api-Key`, or as `Authorization: Bearer`; so does a token. Nobody sees what their key \
    is not bound to. Money and other exact numbers are JSON numbers with all their digits: read them as decimals.\n\n\
    While there is more of a list it gives `next`: the `cursor` of its next page, good for the same caller and the \
    same question. Reads carry an `ETag`; sent again as `If-None-Match`, it is answered by 304 where nothing has \
    changed. What is wrong is told as RFC 9457 says, with the request's correlation id, which the caller may choose by \
    the header `X-Correlation-Id`.";

pub(super) fn routes() -> Vec<Route> {
    vec![route!(description)]
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value))
)]
async fn description(mut params: Params) -> Result<Answer, Problem> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi);
    params.finish()?;
    Answer::json(&*DOCUMENT, Fresh::Past)
}

/// The API, described by its own code.
pub fn openapi() -> Value {
    let routes = guarded().chain(open()).map(|route| (route.described)());
    let routes = routes.fold(OpenApiRouter::with_openapi(Shared::openapi()), OpenApiRouter::routes);
    let mut routes = serde_json::to_value(routes.into_openapi()).unwrap_or_default();
    let mut part = |place| routes.pointer_mut(place).map(Value::take).unwrap_or_default();
    let (mut paths, schemas) = (part("/paths"), part("/components/schemas"));
    for (path, operations) in paths.as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            operation.as_object_mut().into_iter().for_each(|operation| complete(method, path, operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemark",
            "summary": "Serverless analytics",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "Where this document is served."}],
        "tags": [
            {"name": "ingestion", "description": "Events and metrics, in."},
            {"name": "apps", "description": "Activity and metrics of apps."},
            {"name": "shop", "description": "Products, sales and customers, for callers of all apps."},
            {"name": "exports", "description": "Whole views, as CSV or as lines of JSON."},
            {"name": "operations", "description": "How the deployment does, and this document."},
        ],
        "security": [{"apiKey": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses(),
            "headers": {
                "Allow": header("The methods that the path takes."),
                "Cache-Control": header("How long the answer may be relied on."),
                "ETag": header("Names this very answer, for `If-None-Match`."),
                "Retry-After": header("When to try again, in seconds."),
                "WWW-Authenticate": header("How to authenticate."),
                "X-Correlation-Id": header("Names the request in the logs."),
                "RateLimit-Limit": quota("Requests a minute that the caller has."),
                "RateLimit-Remaining": quota("How many of them are left."),
                "RateLimit-Reset": quota("Seconds until there are as many again."),
            },
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "`tm_{id}_{secret}`"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT."},
            },
        },
    })
}

/// Completes what a route says of itself.
fn complete(method: &str, path: &str, operation: &mut Map<String, Value>) {
    let (is_open, has_body) = (operation.contains_key("security"), operation.contains_key("requestBody"));
    operation.insert("operationId".to_owned(), operation_id(method, path).into());
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        complete_parameter(parameter);
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else { return };
    let mut is_tagged = false;
    for response in responses.values_mut().filter_map(Value::as_object_mut) {
        let content = response.get("content");
        let has_tag = method == "get"
            && ["application/json", "text/csv"]
                .iter()
                .any(|kind| content.is_some_and(|content| content.get(kind).is_some()));
        let names: &[&str] = match (method, has_tag) {
            ("get", true) => &["X-Correlation-Id", "Cache-Control", "ETag"],
            ("get", false) => &["X-Correlation-Id", "Cache-Control"],
            _ => &["X-Correlation-Id"],
        };
        is_tagged |= has_tag;
        response.entry("description").or_insert_with(|| "As asked.".into());
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        let quota: &[&str] = if is_open { &[] } else { &["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] };
        let all = header_refs(&[names, quota].concat());
        headers.as_object_mut().into_iter().for_each(|headers| headers.extend(all.clone()));
    }
    if is_tagged {
        responses.insert("304".to_owned(), json!({"$ref": "#/components/responses/NotModified"}));
    }
    for (status, name, of, ..) in PROBLEMS {
        if (of == Of::Guarded && is_open) || (of == Of::WithBody && !has_body) {
            continue;
        }
        responses.insert(status.to_owned(), json!({"$ref": format!("#/components/responses/{name}")}));
    }
}

/// Completes a parameter by what holds for all of its name.
fn complete_parameter(parameter: &mut Value) {
    // What may be left out is no null: a query string has none.
    if let Some(kinds) = parameter.pointer_mut("/schema/type") {
        let kind = kinds.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned();
        *kinds = kind.unwrap_or_else(|| kinds.take());
    }
    if parameter.get("in").is_some_and(|place| place == "query") && parameter.get("required") != Some(&json!(true)) {
        // Empty counts as not given.
        fill(parameter, json!({"allowEmptyValue": true}));
    }
    let time = "ISO 8601, ms since 1970, or relative to now: `-24h`, `-90m`, `-7d`, `now`.";
    let of_all = match parameter.get("name").and_then(Value::as_str) {
        Some("appId") => json!({"description": "The app.", "schema": {"minLength": 1}, "example": "help-center"}),
        Some("userId") => json!({"description": "The user, as the app names them.", "example": "user-1057"}),
        Some("metricName") => {
            json!({"description": "The metric's name.", "schema": {"minLength": 1}, "example": "response_time"})
        }
        Some("id") => json!({"description": "Its id."}),
        Some("name") => json!({"description": "Its name.", "example": "Games"}),
        Some("eventType") => json!({"description": "Events of this type alone."}),
        Some("eventName") => json!({"description": "Events of this name alone."}),
        Some("Idempotency-Key") => json!({"description": "Names the request: sent again under it, it counts once."}),
        Some("limit") => json!({
            "description": format!("How many there are on a page at most; {LIMIT} if not given."),
            "schema": {"minimum": LIMITS.start(), "maximum": LIMITS.end()},
            "example": 10,
        }),
        Some("cursor") => json!({
            "description": "`next` of the page before; absent for the first.",
            "schema": {"maxLength": 8_192, "pattern": "^[A-Za-z0-9_-]*$"},
        }),
        Some("startTime") => json!({"description": format!("The first moment: {time}"), "example": "-24h"}),
        Some("endTime") => json!({"description": format!("The moment after the last: {time}"), "example": "now"}),
        Some("timeZone") => json!({
            "description": "A time zone of the IANA database, by whose days are counted.",
            "example": "Europe/Berlin",
        }),
        _ => Value::Null,
    };
    fill(parameter, of_all);
}

/// Adds what is not there.
fn fill(known: &mut Value, more: Value) {
    let (Value::Object(known), Value::Object(more)) = (known, more) else { return };
    for (name, value) in more {
        match known.get_mut(&name) {
            Some(known) => fill(known, value),
            None => drop(known.insert(name, value)),
        }
    }
}

/// `getAnalyticsSellersById` for `get /analytics/sellers/{id}`.
fn operation_id(method: &str, path: &str) -> String {
    let mut id = method.to_owned();
    for part in path.split(['/', '-', '.']) {
        let (by, name) = part.strip_prefix('{').map_or(("", part), |name| ("By", name.trim_end_matches('}')));
        id.push_str(by);
        id.extend(name.chars().take(1).flat_map(char::to_uppercase).chain(name.chars().skip(1)));
    }
    id
}

fn responses() -> Map<String, Value> {
    let problem = |(_, name, _, meaning, with): &(_, &str, _, &str, Option<&str>)| {
        let names: Vec<&str> = ["X-Correlation-Id", "Cache-Control"].into_iter().chain(*with).collect();
        let response = json!({
            "description": meaning,
            "headers": header_refs(&names),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
        ((*name).to_owned(), response)
    };
    let names = ["X-Correlation-Id", "Cache-Control", "ETag"];
    let unchanged = json!({"description": "The caller has the newest answer.", "headers": header_refs(&names)});
    [("NotModified".to_owned(), unchanged)].into_iter().chain(PROBLEMS.iter().map(problem)).collect()
}

fn header_refs(names: &[&str]) -> Map<String, Value> {
    let header = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.iter().map(header).collect()
}

/// Told while limits can be kept.
fn quota(meaning: &str) -> Value {
    json!({"description": meaning, "required": false, "schema": {"type": "integer", "minimum": 0}})
}

fn header(meaning: &str) -> Value {
    json!({"description": meaning, "required": true, "schema": {"type": "string"}})
}
