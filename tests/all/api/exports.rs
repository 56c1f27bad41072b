//! Exports over HTTP: whole, exact, injection-safe, and of one's own apps alone.

use std::collections::BTreeSet;

use csv::ReaderBuilder;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_model::views::{Cell, Tables, VIEWS, View, cells, view_of};
use tidemark_model::{Key, Measures};
use tidemark_tests::api::{Answered, Served};
use tidemark_tests::values::{TAKEN_MS, metric, tracked, with};
use tidemark_tests::{documents, exact, handle, invocation, product};

use super::{encoded, played};
use crate::audit::everything;

/// A row of an export: its cells as text, none for an empty one.
type Row = Vec<Option<String>>;

fn shown(view: &View, key: &Key, row: &Measures) -> Row {
    let text = |cell| match cell {
        Cell::Text(text) => text.map(Into::into),
        Cell::Pairs(pairs) => pairs,
        Cell::Whole(n) => n.map(|n| n.to_string()),
        Cell::Decimal(n) => n.map(|n| n.to_string()),
    };
    cells(view, key, row).map(text).map(|text| text.filter(|text| !text.is_empty())).collect()
}

/// The rows of a CSV, and its header.
fn of_csv(view: &View, body: &str) -> Vec<Row> {
    let mut reader = ReaderBuilder::new().from_reader(body.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header, view.columns.iter().map(|column| column.name).collect::<Vec<_>>());
    assert!(body.ends_with("\r\n"));
    let cell = |cell: &str| {
        assert!(!cell.starts_with(['=', '+', '@', '\t', '\r', '\n']), "{cell}");
        Some(cell.strip_prefix('\'').unwrap_or(cell).to_owned()).filter(|cell| !cell.is_empty())
    };
    reader.records().map(|record| record.unwrap().iter().map(cell).collect()).collect()
}

/// The rows of JSON lines.
fn of_json(view: &View, body: &str) -> Vec<Row> {
    let line = |line: &str| {
        let object: Map<String, Value> = serde_json::from_value(exact(line)).unwrap();
        assert!(object.keys().eq(view.columns.iter().map(|column| column.name)), "{line}");
        let cell = |value: Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            // Names and values: as they came.
            other => Some(other.to_string()),
        };
        object.into_values().map(cell).collect()
    };
    body.lines().map(line).collect()
}

/// The address of the next page.
fn next(answered: &Answered, path: &str) -> Option<String> {
    let link = answered.headers.get("link")?.to_str().unwrap();
    let query = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    assert!(query.ends_with(answered.headers["x-next-cursor"].to_str().unwrap()));
    Some(format!("{}{query}", path.split('?').next().unwrap()))
}

/// All pages of an export.
async fn export(served: &Served, key: &str, view: &View, query: &str) -> Vec<Row> {
    let mut path = format!("/analytics/exports/{}?{query}", view.name);
    let mut rows = Vec::new();
    loop {
        let answered = served.get_as(key, &path).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}: {}", answered.body);
        let content_type = answered.headers["content-type"].to_str().unwrap();
        rows.extend(match content_type {
            "text/csv; charset=utf-8; header=present" => of_csv(view, &answered.body),
            "application/x-ndjson" => of_json(view, &answered.body),
            other => panic!("{other}"),
        });
        let Some(next) = next(&answered, &path) else { return rows };
        path = next;
    }
}

fn view(name: &str) -> &'static View {
    VIEWS.iter().find(|view| view.name == name).unwrap()
}

fn sorted(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.into_iter().collect();
    rows.sort();
    rows
}

/// What of the tables an export holds.
fn rows_of(tables: &Tables, view: &View, wanted: impl Fn(&Key) -> bool) -> Vec<Row> {
    let of_view =
        tables.rows.iter().filter(|(key, row)| view_of(key).is_some_and(|v| v.name == view.name) && !row.is_empty());
    sorted(of_view.filter(|(key, _)| wanted(key)).map(|(key, row)| shown(view, key, row)))
}

/// Which rows a question is of.
type Holds = Box<dyn Fn(&Key) -> bool>;

/// What to ask for a view: queries, and which rows each is of.
fn questions(tables: &Tables, view: &View) -> Vec<(String, Holds)> {
    let parts = |key: &Key| (key.pk_parts(), key.sk_parts());
    let keys = tables.rows.iter().map(|(key, _)| key).filter(|key| key.is_of(view.kind));
    let of: BTreeSet<_> = keys.map(|key| (key.pk_parts(), key.sk_parts()[0].clone())).collect();
    // Everything that is played lies within a few days of its earliest record.
    let range = "startTime=-7d&endTime=2025-01-31";
    match view.name {
        "apps" => of
            .into_iter()
            .map(|(pk, period)| {
                let range =
                    if period == "DAY" { "resolution=1d".to_owned() } else { format!("resolution=15m&{range}") };
                let query = format!("appId={}&{range}", encoded(&pk[1]));
                let holds = move |key: &Key| parts(key).0 == pk && parts(key).1[0] == period;
                (query, Box::new(holds) as Holds)
            })
            .collect(),
        "metrics" => of
            .into_iter()
            .map(|(pk, _)| {
                let resolution = pk[3].to_lowercase();
                let (app, metric) = (encoded(&pk[1]), encoded(&pk[2]));
                let query = format!("appId={app}&metricName={metric}&resolution={resolution}&{range}");
                (query, Box::new(move |key: &Key| parts(key).0 == pk) as Holds)
            })
            .collect(),
        "series" => of
            .into_iter()
            .map(|(pk, _)| {
                let query = format!("appId={}", encoded(&pk[1]));
                (query, Box::new(move |key: &Key| parts(key).0 == pk) as Holds)
            })
            .collect(),
        _ => vec![(String::new(), Box::new(|_: &Key| true) as Holds)],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_export_of_every_view_is_all_of_its_rows_in_pages_of_any_size() {
    let (served, tables) = played().await;
    for view in VIEWS {
        let questions = questions(&tables, view);
        assert!(!questions.is_empty(), "{}", view.name);
        let asked = questions.len();
        for (query, holds) in questions.into_iter().take(12) {
            let expected = rows_of(&tables, view, holds);
            assert!(!expected.is_empty(), "{} {query}", view.name);
            let some = expected.len().div_ceil(3);
            for (format, limit) in [("csv", 10_000), ("csv", some), ("json", 10_000), ("json", some + 1)] {
                let query = format!("{query}&format={format}&limit={limit}");
                let found = sorted(export(&served, &served.key, view, query.trim_start_matches('&')).await);
                assert_eq!(found, expected, "{} {query}", view.name);
            }
        }
        assert!(asked > 1 || !matches!(view.name, "apps" | "metrics"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_says_what_the_documents_say() {
    let (served, tables) = played().await;
    let views = documents(&tables);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    for (name, fields) in [
        ("sellers", vec!["sellerId", "totalProducts", "activeProducts", "deletedProducts", "totalValue"]),
        ("dailySales", vec!["date", "order_count", "total_amount"]),
        ("customers", vec!["customer_id", "order_count", "total_spent"]),
        ("eventTotals", vec!["service", "type", "count"]),
    ] {
        let expected = views[name].as_array().unwrap().iter();
        let expected = expected.map(|row| fields.iter().map(|field| text(&row[*field])).collect());
        assert_eq!(sorted(export(&served, &served.key, view(name), "").await), sorted(expected), "{name}");
    }
}

#[tokio::test]
async fn no_spreadsheet_takes_a_text_for_a_formula() {
    let served = Served::start().await;
    let ids = [
        "=cmd|' /C calc'!A0",
        "+1",
        "-5",
        "@SUM(A1)",
        "'quoted",
        "'=x",
        "a,b",
        "a\"b",
        "a\r\nb",
        "\tx",
        "\rx",
        "\nx",
        "😀",
        "\u{10FFFF}",
        "a#b%23",
        "\u{feff}",
    ];
    let products: Vec<String> =
        ids.iter().zip(0..).map(|(id, n)| product(n, "Created", n, id, id, "2.50", n)).collect();
    handle(&served.stack.aggregate, invocation("product.created", 0, 0, &products)).await;
    for format in ["csv", "json"] {
        for limit in [1, 1_000] {
            let query = format!("format={format}&limit={limit}");
            let rows = export(&served, &served.key, view("sellers"), &query).await;
            let found: BTreeSet<String> = rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
            assert_eq!(found, ids.map(str::to_owned).into(), "{query}");
        }
    }
    // Numbers stay numbers, also below zero.
    let point = with(&metric("web", 0, json!({})), json!({"value": -1.5})).to_string();
    handle(&served.stack.aggregate, invocation("analytics.metrics", 0, 0, &[point])).await;
    let body = served.get("/analytics/exports/metrics?appId=web&metricName=latency&startTime=-2d").await.body;
    assert!(body.ends_with(",{},1,-1.5,-1.5,-1.5\r\n"), "{body}");
}

/// Events and points of two apps, one of which begins like the other.
async fn two_apps(served: &Served) {
    let events = ["web", "web2", "web#", "w"].map(|app| tracked(app, "u").to_string());
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 100, &events)).await;
    let points = ["web", "web2"].map(|app| metric(app, 1, json!({"host": "a"})).to_string());
    handle(&served.stack.aggregate, invocation("analytics.metrics", 0, 100, &points)).await;
}

#[tokio::test]
async fn a_caller_of_some_apps_exports_these_alone() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    two_apps(&served).await;
    let apps = ["web".to_owned(), "absent".to_owned(), "web#".to_owned(), "x".repeat(2_000)];
    let bound = served.key_for(&[Scope::Read], Apps::Of(apps.into())).await;
    for limit in [1, 1_000] {
        let rows = export(&served, &bound, view("eventTotals"), &format!("limit={limit}")).await;
        let services: Vec<_> = rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(services, ["web", "web#"], "{limit}");
    }
    assert_eq!(export(&served, &bound, view("apps"), "appId=web").await.len(), 2);
    assert_eq!(export(&served, &bound, view("apps"), "appId=absent").await.len(), 0);
    assert_eq!(export(&served, &bound, view("metrics"), "appId=web&metricName=latency&startTime=-2d").await.len(), 1);
    for path in ["apps?appId=web2", "metrics?appId=web2&metricName=latency", "apps?appId=nobody"] {
        let answered = served.get_as(&bound, &format!("/analytics/exports/{path}")).await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN, "{path}");
    }
    for view in VIEWS.iter().filter(|view| !matches!(view.name, "apps" | "metrics" | "series" | "eventTotals")) {
        let answered = served.get_as(&bound, &format!("/analytics/exports/{}", view.name)).await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN, "{}", view.name);
    }
    let reader = served.key_for(&[Scope::Read], Apps::All).await;
    assert_eq!(served.get_as(&reader, "/analytics/exports/rejects").await.status, StatusCode::FORBIDDEN);
    assert_eq!(export(&served, &served.key, view("rejects"), "").await.len(), 1);
}

#[tokio::test]
async fn rows_of_a_range_are_those_and_no_others() {
    let served = Served::start().await;
    let at = |ms: i64| with(&tracked("web", "u"), json!({"timestamp": ms})).to_string();
    let quarter = 900_000;
    let events = [TAKEN_MS - 1, TAKEN_MS, TAKEN_MS + quarter - 1, TAKEN_MS + quarter].map(at);
    handle(&served.stack.aggregate, invocation("analytics.events", 0, 0, &events)).await;
    let days = |query: &'static str| {
        let served = &served;
        async move {
            let rows = export(served, &served.key, view("apps"), &format!("appId=web{query}")).await;
            let dates: BTreeSet<_> = rows.into_iter().map(|row| row[2].clone().unwrap()).collect();
            dates.into_iter().collect::<Vec<_>>()
        }
    };
    assert_eq!(days("").await, ["2024-12-31", "2025-01-01"]);
    assert_eq!(days("&from=2025-01-01").await, ["2025-01-01"]);
    assert_eq!(days("&to=2024-12-31").await, ["2024-12-31"]);
    assert_eq!(days("&from=2024-12-31&to=2024-12-31").await, ["2024-12-31"]);
    assert_eq!(days("&from=0001-01-01&to=9999-12-30").await, ["2024-12-31", "2025-01-01"]);
    let windows = |start: i64, end: i64| {
        let query = format!("appId=web&resolution=15m&startTime={start}&endTime={end}");
        let served = &served;
        async move { export(served, &served.key, view("apps"), &query).await.len() }
    };
    assert_eq!(windows(TAKEN_MS, TAKEN_MS + 1).await, 1);
    assert_eq!(windows(TAKEN_MS - 1, TAKEN_MS + quarter).await, 2);
    assert_eq!(windows(TAKEN_MS, TAKEN_MS + quarter + 1).await, 2);
    assert_eq!(windows(TAKEN_MS + 2 * quarter, TAKEN_MS + 3 * quarter).await, 0);
    assert_eq!(windows(0, 5).await, 0);
    assert_eq!(windows(9_999_999_999_998, 9_999_999_999_999).await, 0);
}

#[tokio::test]
async fn what_no_export_takes_is_refused_and_named() {
    let served = Served::start().await;
    for (path, field) in [
        ("sellers?format=xml", "format"),
        ("sellers?limit=0", "limit"),
        ("sellers?limit=1000000000", "limit"),
        ("sellers?appId=web", "appId"),
        ("sellers?cursor=x", "cursor"),
        ("apps", "appId"),
        ("apps?appId=web&resolution=1m", "resolution"),
        ("apps?appId=web&from=2025-01-02&to=2025-01-01", "from"),
        ("apps?appId=web&from=soon", "from"),
        ("metrics?appId=web", "metricName"),
        ("metrics?appId=web&metricName=x&startTime=5&endTime=4", "startTime"),
        ("metrics?appId=web&metricName=x&startTime=2020-01-01", "startTime"),
        ("dailySales?from=2025-01-02&to=2025-01-01", "from"),
    ] {
        let answered = served.get(&format!("/analytics/exports/{path}")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answered.json()["errors"][0]["field"], field, "{path}");
    }
    let unknown = served.get("/analytics/exports/Sellers").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let detail = unknown.json()["detail"].as_str().unwrap().to_owned();
    assert!(VIEWS.iter().all(|view| detail.contains(view.name)), "{detail}");
    // Keys beyond what the store takes hold nothing.
    let long = "x".repeat(3_000);
    for path in [format!("apps?appId={long}"), format!("metrics?appId=web&metricName={long}")] {
        assert_eq!(served.get(&format!("/analytics/exports/{path}")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_page_is_bounded_by_its_bytes() {
    let served = Served::start().await;
    let seller = |n: i64| format!("{n}{}", "\u{1}".repeat(500));
    for batch in 0..4 {
        let products: Vec<String> =
            (batch * 500..(batch + 1) * 500).map(|n| product(n, "Created", n, &seller(n), "c", "1", 50)).collect();
        handle(&served.stack.aggregate, invocation("product.created", 0, batch * 500, &products)).await;
    }
    for (format, bytes) in [("json", 3_000_000..3_100_000), ("csv", 800_000..900_000)] {
        let parameters = format!("format={format}&limit=10000");
        let first = served.get(&format!("/analytics/exports/sellers?{parameters}")).await;
        assert!(bytes.contains(&first.body.len()), "{}", first.body.len());
        let answered = serde_json::to_string(&first.body).unwrap();
        assert!(answered.len() < 5_200_000, "{}: it stands in Lambda's answer so", answered.len());
        let rows = export(&served, &served.key, view("sellers"), &parameters).await;
        let found: BTreeSet<_> = rows.iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!((rows.len(), found.len()), (2_000, 2_000));
    }
}
