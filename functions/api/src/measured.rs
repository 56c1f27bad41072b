//! A metric's rows, read and put together: series by tags, windows by time.

use std::collections::BTreeMap;

use compact_str::CompactString;
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::Span;
use tidemark_model::metric::Series;
use tidemark_model::time::{MINUTE_MS, QUARTER_MS, window_start};
use tidemark_model::views::metrics::{rows_between, series_of};
use tidemark_model::{Decimal, Measures};

use crate::aggregation::Aggregation;
use crate::windows::Windows;
use crate::{Api, FieldError, Problem, Range};

/// Rows that one request shows at most; 1 MB ends it earlier.
const PAGE: usize = 1_000;
/// Rows that one answer is made of at most.
const MOST_ROWS: usize = 40_000;

/// What is asked of a metric.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) app: String,
    pub(crate) metric: String,
    /// Of this type alone.
    pub(crate) kind: Option<String>,
    /// Of points alone that have all of these tags.
    pub(crate) tags: Vec<(String, String)>,
    /// A series for each combination of the values of these tags.
    pub(crate) group_by: Vec<String>,
    pub(crate) aggregation: Aggregation,
    pub(crate) windows: Windows,
    /// Whether windows begin and end within a quarter of an hour.
    pub(crate) by_minute: bool,
}

/// The values of the tags that are grouped by; `None` where a point lacks the tag.
pub(crate) type Group = Vec<Option<CompactString>>;

/// The sums of one series, by the places of the windows in which something was measured.
pub(crate) type ByWindow = BTreeMap<usize, Measures>;

impl Question {
    /// The ranges to read, and whether by the minute: the wider rows wherever they fit.
    pub(crate) fn parts(&self) -> Vec<(bool, Range)> {
        let Range { start_ms, end_ms } = self.windows.covered();
        if !self.by_minute {
            return vec![(false, Range { start_ms, end_ms })];
        }
        let inner = Range {
            start_ms: window_start(start_ms.saturating_add(QUARTER_MS - 1), QUARTER_MS),
            end_ms: window_start(end_ms, QUARTER_MS),
        };
        // Rows by the minute end with their minute: wider ones would mix windows of a minute.
        let is_split = self.windows.iter().nth(1).is_none() && inner.start_ms < inner.end_ms;
        if !is_split {
            return vec![(true, Range { start_ms, end_ms })];
        }
        let parts = [
            (true, Range { start_ms, end_ms: inner.start_ms }),
            (false, inner),
            (true, Range { start_ms: inner.end_ms, end_ms }),
        ];
        parts.into_iter().filter(|(_, part)| part.start_ms < part.end_ms).collect()
    }

    /// Reads the rows, and sums them by group and window.
    pub(crate) async fn answer(&self, api: &Api, call: Call) -> Result<BTreeMap<Group, ByWindow>, Problem> {
        let (mut groups, mut read) = (BTreeMap::new(), 0);
        for (by_minute, Range { start_ms, end_ms }) in self.parts() {
            let rows = rows_between(&self.app, &self.metric, by_minute, start_ms, end_ms);
            let span = Span::between(rows, PAGE).only(self.aggregation.measures());
            let mut after = None;
            loop {
                let page = || api.ledger.store().page(&span, after.as_deref());
                let (rows, next) = api.ledger.send(page, call).await?.value;
                read += rows.len();
                for (key, row) in rows.iter().filter(|(_, row)| row.is_kept(call.now_ms)) {
                    if let Some((series, start_ms)) = series_of(key) {
                        self.add(&mut groups, &series, start_ms, row);
                    }
                }
                after = next;
                if after.is_none() {
                    break;
                }
                if read >= MOST_ROWS {
                    return Err(too_much());
                }
            }
        }
        Ok(groups)
    }

    fn add(&self, groups: &mut BTreeMap<Group, ByWindow>, series: &Series, start_ms: i64, row: &Measures) {
        let value = |name: &str| series.tags.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let is_asked = self.kind.as_ref().is_none_or(|kind| series.kind == *kind)
            && self.tags.iter().all(|(name, asked)| value(name).is_some_and(|value| value == asked));
        let Some(window) = self.windows.at(start_ms).filter(|_| is_asked && row.get("count") > Decimal::ZERO) else {
            return;
        };
        let group = self.group_by.iter().map(|name| value(name).cloned()).collect();
        let sum = groups.entry(group).or_default().entry(window).or_default();
        row.iter().for_each(|(name, n)| sum.add(name, n));
    }
}

fn too_much() -> Problem {
    let reason = format!(
        "reaches over more than {MOST_ROWS} rows of this metric; ask for a shorter range, or for windows of 15m and more"
    );
    Problem::invalid(vec![FieldError::new("startTime", reason)])
}

/// A range of whole minutes.
pub(crate) fn minutes(range: Range) -> Range {
    range.widened(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::Width;

    fn parts(windows: Windows, by_minute: bool) -> Vec<(bool, i64, i64)> {
        let question = Question {
            app: String::new(),
            metric: String::new(),
            kind: None,
            tags: Vec::new(),
            group_by: Vec::new(),
            aggregation: Aggregation::Sum,
            windows,
            by_minute,
        };
        let in_minutes = |ms: i64| ms / MINUTE_MS;
        let parts = question.parts().into_iter();
        parts.map(|(by, part)| (by, in_minutes(part.start_ms), in_minutes(part.end_ms))).collect()
    }

    #[test]
    fn rows_by_the_minute_are_read_only_at_the_edges() {
        let range = |start: i64, end: i64| Range { start_ms: start * MINUTE_MS, end_ms: end * MINUTE_MS };
        let whole = |start, end| parts(Windows::whole(range(start, end)), true);
        assert_eq!(whole(0, 60), [(false, 0, 60)]);
        assert_eq!(whole(1, 61), [(true, 1, 15), (false, 15, 60), (true, 60, 61)]);
        assert_eq!(whole(15, 31), [(false, 15, 30), (true, 30, 31)]);
        assert_eq!(whole(1, 29), [(true, 1, 29)]);
        assert_eq!(whole(14, 16), [(true, 14, 16)]);
        let minutes = Windows::of(range(0, 60), &Width::Ms(MINUTE_MS)).unwrap();
        assert_eq!(parts(minutes, true), [(true, 0, 60)]);
        let hours = Windows::of(range(30, 61), &Width::Ms(60 * MINUTE_MS)).unwrap();
        assert_eq!(parts(hours, false), [(false, 0, 120)]);
    }
}
