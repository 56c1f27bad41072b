//! Exports of whole views, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};
use tidemark_model::views::VIEWS;

use super::{Route, route};
use crate::export::{FORMATS, Format, ROWS, Sheet, Source};
use crate::{Answer, Api, Fresh, Id, Now, Params, Problem, Reader};

const NEXT: HeaderName = HeaderName::from_static("x-next-cursor");

pub(super) fn routes() -> Vec<Route> {
    vec![route!(export)]
}

/// The rows of a view that say something, under the column names of the archive.
///
/// A page holds at most `limit` rows and 3 MB. Where there may be more, the header `Link` has the address of the next
/// page, and `X-Next-Cursor` its cursor. Each page of CSV begins with the line of column names; there, a text that
/// begins with one of `= + - @ '`, a tab or a line break has a `'` before it, so that no spreadsheet takes it for a
/// formula. Numbers are exact.
#[utoipa::path(
    get, path = "/analytics/exports/{view}", tag = "exports",
    params(
        ("view" = String, Path, description = "sellers, categories, lowStock, dailySales, productSales, customers, orderStatus, summary, apps, series, eventTotals, metrics or rejects"),
        ("format" = Option<String>, Query, description = "`csv`, which is the default, or `json`: JSON lines"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "rows of a page; 1000 if not given"),
        ("cursor" = Option<String>, Query),
        ("appId" = Option<String>, Query, description = "of apps, series and metrics, which need it"),
        ("metricName" = Option<String>, Query, description = "of metrics, which need it"),
        ("resolution" = Option<String>, Query, description = "of apps: `1d`, which is the default, or `15m`; of metrics: `1m`, which is the default, or `15m`"),
        ("from" = Option<String>, Query, format = Date, description = "the first day, of dailySales, series, and apps by day"),
        ("to" = Option<String>, Query, format = Date, description = "the last day"),
        ("startTime" = Option<String>, Query, description = "of windows; a day before endTime if not given"),
        ("endTime" = Option<String>, Query, description = "of windows; now if not given"),
    ),
    responses(
        (
            status = 200, content((String = "text/csv"), (String = "application/x-ndjson")),
            headers(
                ("Link" = Option<String>, description = "the next page, if there may be one"),
                ("X-Next-Cursor" = Option<String>, description = "its cursor"),
            )
        )
    )
)]
async fn export(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    Id(name): Id,
    mut params: Params,
    Now(call): Now,
) -> Result<Response, Problem> {
    let view = VIEWS.iter().find(|view| view.name == name).ok_or_else(|| {
        let known: Vec<&str> = VIEWS.iter().map(|view| view.name).collect();
        Problem::not_found(format!("there is no such view; there are {}", known.join(", ")))
    })?;
    let format = params.one_of("format", &FORMATS).unwrap_or(Format::Csv);
    let limit = params.page(ROWS).unwrap_or(1_000);
    let source = Source::of(view, &caller, &mut params)?;
    let after = api.cursors.open(&caller, &params)?;
    let (sheet, next) = source.fill(Sheet::new(view, format)?, &api, after, limit, call).await?;
    let next = next.and_then(|place| api.cursors.seal(&caller, &params, &place));
    let mut response = Answer::of(format.content_type(), sheet.into_body()?, Fresh::Live).into_response();
    if let Some(next) = next {
        let link = format!("<?{}>; rel=\"next\"", params.turned(&next));
        let headers = [(header::LINK, link), (NEXT, next)];
        let value = |(name, value): (_, String)| Some((name, HeaderValue::try_from(value).ok()?));
        response.headers_mut().extend(headers.into_iter().filter_map(value));
    }
    Ok(response)
}
