//! What rows come to on a dashboard.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Serialize;
use tidemark_model::number::Number;
use tidemark_model::time::{Day, utc};
use tidemark_model::views::{activity, metrics, series};
use tidemark_model::{Decimal, Key, Measures};
use utoipa::ToSchema;

use crate::Range;
use crate::windows::Windows;

/// Metrics that a dashboard shows at most: each is a request.
const METRICS: usize = 3;
/// Names of events that it shows at most.
const TOP: usize = 10;

/// An app at first sight.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dashboard {
    pub(crate) app_id: String,
    /// The first time that is covered: the range, widened to quarters of an hour.
    #[schema(format = DateTime)]
    pub(crate) from: String,
    /// The first time after that.
    #[schema(format = DateTime)]
    pub(crate) to: String,
    pub(crate) summary: AppSummary,
    pub(crate) top_events: TopEvents,
    /// How wide the windows of `events` are: `15m` up to 36 hours, `1h` up to ten days, else `1d`.
    pub(crate) window: &'static str,
    /// Events by window: all windows that the range touches, of each what lies in the range.
    pub(crate) events: Vec<EventWindow>,
    /// What was measured in the newest 15 minutes of the range, of up to three metrics: those of the newest day, in
    /// the order of their names.
    pub(crate) metrics: Vec<RecentMetric>,
}

/// How much was going on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppSummary {
    /// Events in the range.
    pub(crate) total_events: Number,
    /// Distinct users of the day that had the most. Nobody is counted over several days: a sum of days would count
    /// who comes every day as often.
    pub(crate) active_users: Number,
    /// The sum of the days' sessions; one that goes past midnight counts on both.
    pub(crate) sessions: Number,
    /// Each whole day that the range touches.
    pub(crate) days: Vec<DaySummary>,
}

/// A whole day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DaySummary {
    /// Of the deployment's time zone.
    #[schema(value_type = String, format = Date)]
    pub(crate) date: CompactString,
    pub(crate) events: Number,
    /// Distinct users.
    pub(crate) active_users: Number,
    /// Distinct sessions.
    pub(crate) sessions: Number,
}

/// The most frequent events of whole days.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopEvents {
    /// The first day that is counted: the range's, but where days have so many names that one request shows
    /// fewer.
    #[schema(format = Date)]
    pub(crate) from_date: String,
    /// The last day that is counted.
    #[schema(format = Date)]
    pub(crate) to_date: String,
    /// Whether all names of these days are counted: not where one day alone has too many for one request.
    pub(crate) is_complete: bool,
    /// The most frequent first.
    pub(crate) items: Vec<NamedEvents>,
}

/// The events of a type and a name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamedEvents {
    #[schema(value_type = String)]
    pub(crate) event_type: CompactString,
    #[schema(value_type = String)]
    pub(crate) event_name: CompactString,
    pub(crate) events: Number,
}

/// The events of a window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventWindow {
    /// When it begins.
    #[schema(format = DateTime)]
    pub(crate) start: String,
    pub(crate) events: Number,
}

/// A metric's newest 15 minutes, over all its tags.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecentMetric {
    pub(crate) metric_name: String,
    #[schema(value_type = String)]
    pub(crate) metric_type: CompactString,
    /// When they begin.
    #[schema(format = DateTime)]
    pub(crate) start: String,
    pub(crate) count: Number,
    pub(crate) mean: Number,
    pub(crate) min: Number,
    pub(crate) max: Number,
    /// Whether all tag sets are counted: not where they are so many that one request shows fewer.
    pub(crate) is_complete: bool,
}

impl Dashboard {
    /// The summary of a range that touches these days.
    pub(crate) fn summary(app: &str, days: &[Day], rows: &BTreeMap<Key, Measures>, range: Range) -> AppSummary {
        let day = |Day { date, .. }: &Day| {
            let row = rows.get(&activity::day_row(app, date));
            let number = |name| Number(row.map(|row| row.get(name)).unwrap_or_default());
            let (events, active_users, sessions) = (number("events"), number("users"), number("sessions"));
            DaySummary { date: date.clone(), events, active_users, sessions }
        };
        let days: Vec<DaySummary> = days.iter().map(day).collect();
        AppSummary {
            total_events: Number(windows_in(rows, range).fold(Decimal::ZERO, |sum, (_, n)| sum.plus(n))),
            active_users: Number(days.iter().map(|day| day.active_users.0).max().unwrap_or_default()),
            sessions: Number(days.iter().fold(Decimal::ZERO, |sum, day| sum.plus(day.sessions.0))),
            days,
        }
    }

    /// The events of a range, by window.
    pub(crate) fn events(rows: &BTreeMap<Key, Measures>, windows: &Windows, range: Range) -> Vec<EventWindow> {
        let mut sums = vec![Decimal::ZERO; windows.iter().count()];
        for (start_ms, n) in windows_in(rows, range) {
            if let Some(sum) = windows.at(start_ms).and_then(|at| sums.get_mut(at)) {
                *sum = sum.plus(n);
            }
        }
        let window = |(window, sum): (Range, Decimal)| EventWindow { start: utc(window.start_ms), events: Number(sum) };
        windows.iter().zip(sums).map(window).collect()
    }

    /// The most frequent names of rows that come newest day first, and may go on.
    pub(crate) fn top_events(rows: Vec<(Key, Measures)>, goes_on: bool, first: &str, last: &str) -> TopEvents {
        let mut named: Vec<([CompactString; 3], Decimal)> =
            rows.iter().filter_map(|(key, row)| Some((activity::of_name(key)?, row.get("events")))).collect();
        let (mut from, mut is_complete) = (CompactString::from(first), true);
        if goes_on && let Some(([oldest, ..], _)) = named.last().cloned() {
            // Of the oldest day some names are missing: it counts only if there is no other.
            is_complete = named.first().is_some_and(|([newest, ..], _)| *newest != oldest);
            named.retain(|([date, ..], _)| *date != oldest || !is_complete);
            from = named.last().map_or(oldest, |([date, ..], _)| date.clone());
        }
        let mut sums: BTreeMap<(CompactString, CompactString), Decimal> = BTreeMap::new();
        for ([_, kind, name], n) in named.into_iter().filter(|(_, n)| !n.is_zero()) {
            let sum = sums.entry((kind, name)).or_default();
            *sum = sum.plus(n);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
        let item = |((event_type, event_name), n)| NamedEvents { event_type, event_name, events: Number(n) };
        let items = sums.into_iter().take(TOP).map(item).collect();
        TopEvents { from_date: from.into(), to_date: last.to_owned(), is_complete, items }
    }
}

/// The 15 minutes of days' rows that lie in a range.
fn windows_in(rows: &BTreeMap<Key, Measures>, range: Range) -> impl Iterator<Item = (i64, Decimal)> {
    rows.values().flat_map(activity::windows).filter(move |(start, _)| (range.start_ms..range.end_ms).contains(start))
}

/// The metrics to show, of rows that come newest day first; and how many tag sets each had on a day at most.
pub(crate) fn newest_metrics(rows: &[(Key, Measures)]) -> Vec<(String, usize)> {
    let mut newest: BTreeMap<CompactString, (CompactString, usize)> = BTreeMap::new();
    for (key, row) in rows {
        let Some([date, metric]) = series::of_metric(key) else { continue };
        let sets = row.get("sets").to_whole().and_then(|sets| usize::try_from(sets).ok()).unwrap_or_default();
        let entry = newest.entry(metric).or_insert((date, 0));
        entry.1 = entry.1.max(sets);
    }
    let mut metrics: Vec<_> = newest.into_iter().collect();
    // Stable, so that metrics of one day stay in the order of their names.
    metrics.sort_by(|(_, (a, _)), (_, (b, _))| b.cmp(a));
    metrics.into_iter().take(METRICS).map(|(metric, (_, sets))| (metric.into(), sets)).collect()
}

/// What a metric's rows say that come newest window first, and may go on: the newest, by type.
pub(crate) fn newest(metric: &str, rows: &[(Key, Measures)], goes_on: bool, now_ms: i64) -> Vec<RecentMetric> {
    let mut types: BTreeMap<CompactString, Measures> = BTreeMap::new();
    let (mut newest, mut is_complete) = (None, !goes_on);
    for (key, row) in rows {
        let Some((of, start_ms)) = metrics::series_of(key) else { continue };
        if *newest.get_or_insert(start_ms) != start_ms {
            is_complete = true;
            break;
        }
        if !row.is_kept(now_ms) {
            continue;
        }
        let sum = types.entry(of.kind).or_default();
        row.iter().for_each(|(name, n)| sum.add(name, n));
    }
    let of_type = |(metric_type, row): (CompactString, Measures)| {
        let (count, sum) = (row.get("count"), row.get("sum"));
        Some(RecentMetric {
            metric_name: metric.to_owned(),
            metric_type,
            start: utc(newest?),
            mean: Number(sum.mean(count)?),
            count: Number(count),
            min: Number(row.find("min")?),
            max: Number(row.find("max")?),
            is_complete,
        })
    };
    types.into_iter().filter_map(of_type).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_may_go_on_after_what_was_read_is_not_called_complete() {
        let row = |start_ms: i64, pod: &str| {
            let sk = ["METRICS", &start_ms.to_string(), "timer", "pod", pod];
            let mut measures = Measures::default();
            ["count", "sum", "min", "max"].iter().for_each(|name| measures.add(name, Decimal::whole(2)));
            (Key::parts(&["METRIC", "app", "m", "15M"], &sk), measures)
        };
        let (now, before) = (1_735_689_600_000, 1_735_688_700_000);
        for (rows, goes_on, expected) in [
            (vec![row(now, "a"), row(now, "b")], true, (4, false)),
            (vec![row(now, "a"), row(now, "b")], false, (4, true)),
            (vec![row(now, "a"), row(before, "b")], true, (2, true)),
        ] {
            let found = newest("m", &rows, goes_on, now);
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].count.0, found[0].is_complete), (Decimal::whole(expected.0), expected.1), "{rows:?}");
        }
    }
}
