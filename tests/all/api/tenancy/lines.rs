//! How every operation is asked.

use tidemark_ledger::dynamo::Scope;

use super::{Line, Of};

const fn read(operation: &'static str, of: Of, path: &'static str, shows: &'static str) -> Line {
    Line { operation, of, scope: Scope::Read, path, body: "", shows }
}

const fn shop(operation: &'static str, path: &'static str, shows: &'static str) -> Line {
    read(operation, Of::Shop, path, shows)
}

const fn app(operation: &'static str, path: &'static str, shows: &'static str) -> Line {
    read(operation, Of::App, path, shows)
}

const fn sent(operation: &'static str, path: &'static str, body: &'static str) -> Line {
    Line { operation, of: Of::App, scope: Scope::Ingest, path, body, shows: "" }
}

const EVENT: &str =
    r#"{"appId": "MARK-app", "userId": "MARK-user", "eventType": "MARK-type", "eventName": "MARK-name"}"#;
const EVENTS: &str =
    r#"{"events": [{"appId": "MARK-app", "userId": "MARK-user", "eventType": "MARK-type", "eventName": "MARK-name"}]}"#;
const METRIC: &str = r#"{"appId": "MARK-app", "metricName": "MARK-metric", "metricType": "gauge", "value": 1}"#;
const METRICS: &str =
    r#"{"metrics": [{"appId": "MARK-app", "metricName": "MARK-metric", "metricType": "gauge", "value": 1}]}"#;

/// At least one line for every operation.
pub(super) const LINES: &[Line] = &[
    read("GET /health", Of::Everybody, "/health", ""),
    read("GET /openapi.json", Of::Everybody, "/openapi.json", ""),
    Line {
        operation: "GET /metrics",
        of: Of::Shop,
        scope: Scope::Admin,
        path: "/metrics",
        body: "",
        shows: "events_processed_total",
    },
    shop("GET /analytics/sellers", "/analytics/sellers?limit=1", "zqshop-seller"),
    shop("GET /analytics/sellers/{id}", "/analytics/sellers/zqshop-seller-1", "zqshop-seller-1"),
    shop("GET /analytics/sellers/{id}/history", "/analytics/sellers/zqshop-seller-1/history", ""),
    shop("GET /analytics/categories", "/analytics/categories?limit=1", "zqshop-category"),
    shop("GET /analytics/categories/{name}", "/analytics/categories/zqshop-category", "zqshop-category"),
    shop("GET /analytics/categories/{name}/history", "/analytics/categories/zqshop-category/history", ""),
    shop("GET /analytics/low-stock", "/analytics/low-stock?limit=1", "zqshop-seller"),
    shop("GET /analytics/sales/daily", "/analytics/sales/daily", ""),
    shop("GET /analytics/sales/products", "/analytics/sales/products", ""),
    shop("GET /analytics/sales/products/{id}", "/analytics/sales/products/7", ""),
    shop("GET /analytics/customers", "/analytics/customers", "zqshop-customer"),
    shop("GET /analytics/customers/{id}", "/analytics/customers/zqshop-customer", "zqshop-customer"),
    shop("GET /analytics/orders/status", "/analytics/orders/status", "zqshop-status"),
    shop("GET /analytics/orders/summary", "/analytics/orders/summary", ""),
    shop("GET /analytics/exports/{view}", "/analytics/exports/sellers?limit=1", "zqshop-seller"),
    app("GET /analytics/exports/{view}", "/analytics/exports/apps?appId=MARK-app&limit=1", "MARK-app"),
    app("GET /analytics/exports/{view}", "/analytics/exports/series?appId=MARK-app&limit=1", "MARK-metric"),
    app(
        "GET /analytics/exports/{view}",
        "/analytics/exports/metrics?appId=MARK-app&metricName=MARK-metric&limit=1",
        "MARK-metric",
    ),
    read("GET /analytics/exports/{view}", Of::Asking, "/analytics/exports/eventTotals?limit=1", ""),
    read("GET /analytics/apps", Of::Asking, "/analytics/apps", "MARK-app"),
    read("GET /analytics/apps", Of::Asking, "/analytics/apps?limit=1", ""),
    app("GET /analytics/dashboards/{appId}", "/analytics/dashboards/MARK-app", "MARK-name"),
    app("GET /analytics/metrics", "/analytics/metrics?appId=MARK-app&metricName=MARK-metric", "MARK-metric"),
    app(
        "GET /analytics/users/{userId}/events",
        "/analytics/users/MARK-user/events?appId=MARK-app&limit=1",
        "MARK-name",
    ),
    sent("POST /analytics/events", "/analytics/events", EVENT),
    sent("POST /analytics/events/batch", "/analytics/events/batch", EVENTS),
    sent("POST /analytics/metrics", "/analytics/metrics", METRIC),
    sent("POST /analytics/metrics/batch", "/analytics/metrics/batch", METRICS),
];
