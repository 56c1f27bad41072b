//! Dashboards: what an app's page shows at first sight, in one answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use futures_util::future::try_join_all;
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::Span;
use tidemark_model::activity::APP_LIMIT;
use tidemark_model::time::{DAY_MS, Day, MINUTE_MS, QUARTER_MS, utc};
use tidemark_model::views::{activity, metrics, series};
use tidemark_model::{Key, Measures};

use super::known::known;
use super::{Route, route};
use crate::dashboard::{Dashboard, RecentMetric, newest, newest_metrics};
use crate::windows::{Width, Windows};
use crate::{Answer, Api, Fresh, Id, Now, Params, Problem, Range, Reader};

/// Days that a dashboard shows at most: where a page does not hold all of their rows, one request reads the rest.
const MOST_DAYS: i64 = 92;
/// Rows that one request shows at most; 1 MB ends it earlier.
const PAGE: usize = 10_000;
/// Types of one metric of which no tag set was admitted, at most.
const OVERFLOWS: usize = 8;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(dashboard)]
}

/// What an app's page shows at first sight.
///
/// Events are those of the range, widened to quarters of an hour. Users, sessions and names are counted by whole days
/// of the deployment's time zone: all that the range touches.
#[utoipa::path(
    get, path = "/analytics/dashboards/{appId}", tag = "apps",
    params(
        ("appId" = String, Path),
        ("startTime" = Option<String>, Query, description = "ISO 8601, ms since 1970, or relative; default `-24h`"),
        ("endTime" = Option<String>, Query, description = "Likewise; default now")
    ),
    responses((status = 200, body = Dashboard))
)]
async fn dashboard(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    Id(app): Id,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    let range = params.range(DAY_MS);
    if range.end_ms.saturating_sub(range.start_ms) > MOST_DAYS * DAY_MS {
        params.refuse("startTime", format!("is more than {MOST_DAYS} days before endTime; ask for less at once"));
    }
    params.finish()?;
    caller.app(&app)?;
    if app.len() > APP_LIMIT {
        known(&api, &app, call).await?;
    }
    let range = range.widened(QUARTER_MS);
    let days = days(&api, range);
    let (first, last) =
        (days.first().map_or("", |day| day.date.as_str()), days.last().map_or("", |day| day.date.as_str()));
    // Days and their names.
    let activity = Span::between(activity::rows_between(&app, first, last), PAGE).backwards();
    let metrics = Span::between(series::rows_between(&app, first, last), PAGE).backwards().only(&["sets"]);
    let ((rows, goes_on), (metrics, _)) = tokio::try_join!(page(&api, &activity, call), page(&api, &metrics, call))?;
    if rows.is_empty() && metrics.is_empty() {
        known(&api, &app, call).await?;
    }
    let (names, of_days): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| activity::of_name(key).is_some());
    let mut of_days: BTreeMap<Key, Measures> = of_days.into_iter().collect();
    if goes_on {
        of_days.extend(rest(&api, &app, &days, &of_days, call).await?);
    }
    let recent = newest_metrics(&metrics).into_iter().map(|metric| recent(&api, &app, metric, range, call));
    let metrics: Vec<Vec<RecentMetric>> = try_join_all(recent).await?;
    let width = width(&api, range);
    let dashboard = Dashboard {
        from: utc(range.start_ms),
        to: utc(range.end_ms),
        summary: Dashboard::summary(&app, &days, &of_days, range),
        top_events: Dashboard::top_events(names, goes_on, first, last),
        window: width.0,
        // So few days are few enough windows of any of these.
        events: Windows::of(range, &width.1)
            .map(|windows| Dashboard::events(&of_days, &windows, range))
            .unwrap_or_default(),
        metrics: metrics.into_iter().flatten().collect(),
        app_id: app,
    };
    Answer::json(&dashboard, Fresh::until(range.end_ms, call.now_ms))
}

/// The days that a range touches.
fn days(api: &Api, range: Range) -> Vec<Day> {
    let (mut days, mut at) = (Vec::new(), range.start_ms);
    while at < range.end_ms {
        let day = api.settings.zone.day(at);
        at = day.end_ms;
        days.push(day);
    }
    days
}

/// The rows of the days that are not known yet.
async fn rest(
    api: &Api,
    app: &str,
    days: &[Day],
    known: &BTreeMap<Key, Measures>,
    call: Call,
) -> Result<Vec<(Key, Measures)>, Problem> {
    let mut keys: Vec<Key> = days.iter().map(|day| activity::day_row(app, &day.date)).collect();
    keys.retain(|key| !known.contains_key(key));
    let mut rows = api.ledger.send(|| api.ledger.store().rows_at(&keys), call).await?.value;
    rows.retain(|(_, row)| row.is_kept(call.now_ms));
    Ok(rows)
}

/// How wide the windows of a range are that a chart can show.
fn width(api: &Api, range: Range) -> (&'static str, Width) {
    match range.end_ms.saturating_sub(range.start_ms) {
        ..=129_600_000 => ("15m", Width::Ms(QUARTER_MS)),
        129_600_001..=864_000_000 => ("1h", Width::Ms(60 * MINUTE_MS)),
        _ => ("1d", Width::Day(api.settings.zone.clone())),
    }
}

/// What one request shows of a span, and whether there is more.
async fn page(api: &Api, span: &Span, call: Call) -> Result<(Vec<(Key, Measures)>, bool), Problem> {
    let (mut rows, next) = api.ledger.send(|| api.ledger.store().page(span, None), call).await?.value;
    rows.retain(|(_, row)| row.is_kept(call.now_ms));
    Ok((rows, next.is_some()))
}

/// A metric's newest window in a range.
async fn recent(
    api: &Api,
    app: &str,
    (metric, tag_sets): (String, usize),
    range: Range,
    call: Call,
) -> Result<Vec<RecentMetric>, Problem> {
    let rows = metrics::rows_between(app, &metric, false, range.start_ms, range.end_ms);
    // A window has a row for each tag set at most, and where no more are admitted one of the overflow for each type.
    let overflows = if tag_sets < api.settings.max_tag_sets { 0 } else { OVERFLOWS };
    let span = Span::between(rows, tag_sets + overflows + 1).backwards().only(&["count", "sum", "min", "max"]);
    let (rows, next) = api.ledger.send(|| api.ledger.store().page(&span, None), call).await?.value;
    Ok(newest(&metric, &rows, next.is_some(), call.now_ms))
}
