//! Metrics: values over time, by tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use compact_str::CompactString;
use serde::Serialize;
use tidemark_model::activity::APP_LIMIT;
use tidemark_model::metric::NAME_LIMIT;
use tidemark_model::number::Number;
use tidemark_model::time::{DAY_MS, MINUTE_MS, utc};
use tidemark_model::{Decimal, Measures};
use utoipa::ToSchema;

use super::known::known;
use super::{Route, route};
use crate::aggregation::Aggregation;
use crate::measured::{ByWindow, Group, Question, minutes};
use crate::windows::{MOST, Width, Windows};
use crate::{Answer, Api, FieldError, Fresh, Now, Params, Problem, Range, Reader};

/// Series of one answer at most.
const MOST_SERIES: usize = 100;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(metrics)]
}

/// A metric over a range of time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MetricSeries {
    app_id: String,
    metric_name: String,
    /// What each value is.
    aggregation: String,
    /// How wide windows are; absent for one value over the whole range.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    /// The finest rows that the values are made of: `1m` or `15m`.
    resolution: &'static str,
    /// The first time that is covered: the range, widened to whole windows.
    #[schema(format = DateTime)]
    from: String,
    /// The first time after that.
    #[schema(format = DateTime)]
    to: String,
    /// How many series there are; beyond `limit` they are left out.
    series: usize,
    /// The series with the most points first.
    items: Vec<OneSeries>,
}

/// One series.
#[derive(Debug, Serialize, ToSchema)]
struct OneSeries {
    /// The values of the tags that are grouped by; null where a point lacks the tag.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    tags: BTreeMap<String, Option<CompactString>>,
    /// Points in the whole range.
    count: Number,
    /// Windows in the order of time; one in which nothing was measured is absent.
    points: Vec<Point>,
}

/// One window's value.
#[derive(Debug, Serialize, ToSchema)]
struct Point {
    /// When the window begins.
    #[schema(format = DateTime)]
    start: String,
    value: Number,
}

/// A metric over time.
///
/// Values are of whole windows: the range is widened to them, and without `window` to whole minutes. Sums are exact;
/// quantiles are within 1%; `rate` is the sum of the values per second of the window.
#[utoipa::path(
    get, path = "/analytics/metrics", tag = "apps",
    params(
        ("appId" = String, Query, max_length = 128),
        ("metricName" = String, Query, max_length = 200),
        ("metricType" = Option<String>, Query, description = "Points of this type alone"),
        ("tags" = Option<String>, Query, example = "region:eu,path:/a",
            description = "Points with all of these tags alone. A backslash takes the next character as it is: commas, and colons in names, need one"),
        ("startTime" = Option<String>, Query, description = "ISO 8601, ms since 1970, or relative; default a day before the end"),
        ("endTime" = Option<String>, Query, description = "Likewise; default now"),
        ("aggregation" = Option<String>, Query, description = "mean (default), sum, count, min, max, median, p90, p95, p99, rate"),
        ("window" = Option<String>, Query, description = "1m, 15m, 1h or 1d; without it there is one value over the whole range"),
        ("timeZone" = Option<String>, Query, example = "Europe/Berlin", description = "Whose days `1d` means; default the deployment's"),
        ("groupBy" = Option<String>, Query, example = "region", description = "One series for each combination of these tags' values"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Series at most; default 100")
    ),
    responses((status = 200, body = MetricSeries))
)]
async fn metrics(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    let (app, metric) = (params.id("appId", APP_LIMIT), params.id("metricName", NAME_LIMIT));
    let (kind, tags, group_by) = (params.text("metricType"), params.tags("tags"), params.tag_names("groupBy"));
    let aggregation = params.one_of("aggregation", &Aggregation::WORDS).unwrap_or(Aggregation::Mean);
    let zone = params.zone("timeZone").unwrap_or_else(|| api.settings.zone.clone());
    let widths = [("1m", Some(MINUTE_MS)), ("15m", Some(15 * MINUTE_MS)), ("1h", Some(60 * MINUTE_MS)), ("1d", None)];
    let width = params.one_of("window", &widths);
    let limit = params.number("limit", 1..=MOST_SERIES).unwrap_or(MOST_SERIES);
    let range = params.range(DAY_MS);
    let windows = windows(range, width.map(|ms| ms.map_or(Width::Day(zone), Width::Ms)));
    if windows.is_none() {
        params.refuse("window", format!("makes more than {MOST} windows; take a wider one, or a shorter range"));
    }
    params.finish()?;
    caller.app(&app)?;
    let windows = windows.unwrap_or_else(|| Windows::whole(range));
    let by_minute = matches!(width, None | Some(Some(MINUTE_MS)));
    let question = Question { app, metric, kind, tags, group_by, aggregation, windows, by_minute };
    let groups = question.answer(&api, call).await?;
    if groups.is_empty() {
        known(&api, &question.app, call).await?;
    }
    let covered = question.windows.covered();
    let found = groups.len();
    let answer = MetricSeries {
        aggregation: params.get("aggregation").unwrap_or("mean").to_owned(),
        window: params.get("window").map(str::to_owned),
        resolution: if question.parts().iter().any(|(by_minute, _)| *by_minute) { "1m" } else { "15m" },
        from: utc(covered.start_ms),
        to: utc(covered.end_ms),
        series: found,
        items: largest(&question, groups, limit)?,
        app_id: question.app,
        metric_name: question.metric,
    };
    Answer::json(&answer, Fresh::until(covered.end_ms, call.now_ms))
}

fn windows(range: Range, width: Option<Width>) -> Option<Windows> {
    match width {
        Some(width) => Windows::of(range, &width),
        None => Some(Windows::whole(minutes(range))),
    }
}

/// The series with the most points.
fn largest(question: &Question, groups: BTreeMap<Group, ByWindow>, limit: usize) -> Result<Vec<OneSeries>, Problem> {
    let count = |windows: &ByWindow| windows.values().fold(Decimal::ZERO, |sum, row| sum.plus(row.get("count")));
    let mut groups: Vec<_> = groups.into_iter().map(|(group, windows)| (count(&windows), group, windows)).collect();
    groups.sort_by(|(a, one, _), (b, other, _)| b.cmp(a).then_with(|| one.cmp(other)));
    groups.truncate(limit);
    if groups.iter().map(|(_, _, windows)| windows.len()).sum::<usize>() > MOST {
        let reason = format!("makes more than {MOST} values; take a wider one, a shorter range, or a lower limit");
        return Err(Problem::invalid(vec![FieldError::new("window", reason)]));
    }
    Ok(groups
        .into_iter()
        .map(|(count, group, windows)| OneSeries {
            tags: question.group_by.iter().cloned().zip(group).collect(),
            count: Number(count),
            points: points(question, &windows),
        })
        .collect())
}

fn points(question: &Question, windows: &ByWindow) -> Vec<Point> {
    let point = |(at, Range { start_ms, end_ms }): (usize, Range)| {
        let row: &Measures = windows.get(&at)?;
        let value = question.aggregation.of(row, (end_ms - start_ms) / 1_000)?;
        Some(Point { start: utc(start_ms), value: Number(value) })
    };
    question.windows.iter().enumerate().filter_map(point).collect()
}
