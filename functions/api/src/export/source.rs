//! Where the rows of a view are: in the directory, or in parts of a partition. Never all over a table.

use std::ops::RangeInclusive;

use tidemark_ledger::Call;
use tidemark_ledger::dynamo::{Apps, Scope, Span};
use tidemark_model::time::{DAY_MS, IN_ORDER_MS, MINUTE_MS, QUARTER_MS};
use tidemark_model::views::{CURRENT, View};
use tidemark_model::{Key, Measures};

use super::Sheet;
use crate::{Api, Caller, Days, Params, Problem, Range};

/// Rows of a page.
pub(crate) const ROWS: RangeInclusive<usize> = 1..=10_000;
/// Rows that are read at once.
const READ: usize = 500;
/// Reads that a page takes at most: a caller may be bound to many apps that have nothing.
const READS: usize = 50;

/// Where the rows of an export are.
pub(crate) enum Source {
    /// The current totals of many ids.
    Directory,
    /// Sort keys of one partition from one to another, both in it, in their order; and the range of the windows, if
    /// the rows are windows.
    Spans { pk: String, spans: Vec<(String, String)>, range: Option<Range> },
}

impl Source {
    /// What a caller may export of a view by these parameters, which are read to their end.
    ///
    /// # Errors
    /// 400 where they are wrong, 403 where the caller may not see it.
    pub(crate) fn of(view: &View, caller: &Caller, params: &mut Params) -> Result<Self, Problem> {
        match view.name {
            "apps" => {
                let app = params.required("appId");
                let width_ms = params.one_of("resolution", &[("1d", DAY_MS), ("15m", QUARTER_MS)]);
                let pk = Key::parts(&[view.kind, &app], &[]).pk.into();
                let source = match width_ms.unwrap_or(DAY_MS) {
                    DAY_MS => Self::days(pk, params),
                    width_ms => Self::windows(pk, "15M", params.range(DAY_MS).widened(width_ms)),
                };
                params.finish()?;
                caller.app(&app)?;
                Ok(source)
            }
            "metrics" => {
                let (app, metric) = (params.required("appId"), params.required("metricName"));
                let widths = [("1m", ("1M", MINUTE_MS)), ("15m", ("15M", QUARTER_MS))];
                let (window, width_ms) = params.one_of("resolution", &widths).unwrap_or(("1M", MINUTE_MS));
                let range = params.range(DAY_MS).widened(width_ms);
                params.finish()?;
                caller.app(&app)?;
                let pk = Key::parts(&[view.kind, &app, &metric, window], &[]).pk.into();
                Ok(Self::windows(pk, "METRICS", range))
            }
            "series" => {
                let app = params.required("appId");
                let source = Self::days(Key::parts(&[view.kind, &app], &[]).pk.into(), params);
                params.finish()?;
                caller.app(&app)?;
                Ok(source)
            }
            "eventTotals" => {
                params.finish()?;
                let of = |app: &String| prefixed(&Key::parts(&[], &["SERVICE", app]).sk);
                let mut spans = match caller.apps() {
                    Apps::All => vec![prefixed("SERVICE")],
                    Apps::Of(apps) => apps.iter().map(of).collect(),
                };
                spans.sort_unstable();
                Ok(Self::spans(view.kind.to_owned(), spans, None))
            }
            "rejects" => {
                params.finish()?;
                caller.shop()?;
                caller.scope(Scope::Admin)?;
                Ok(Self::Directory)
            }
            _ => Self::of_the_shop(view, caller, params),
        }
    }

    fn of_the_shop(view: &View, caller: &Caller, params: &mut Params) -> Result<Self, Problem> {
        let pk = view.kind.to_owned();
        let source = match view.name {
            "dailySales" => Self::days(pk, params),
            "orderStatus" => Self::spans(pk, vec![prefixed("STATUS")], None),
            "lowStock" | "summary" => Self::spans(pk, vec![(CURRENT.to_owned(), CURRENT.to_owned())], None),
            _ => Self::Directory,
        };
        params.finish()?;
        caller.shop()?;
        Ok(source)
    }

    /// Rows of days, from the parameter `from` to the parameter `to` where they are given.
    fn days(pk: String, params: &mut Params) -> Self {
        let (first, last) = (params.date("from"), params.date("to"));
        if first.zip(last).is_some_and(|(first, last)| first > last) {
            params.refuse("from", "is after to");
        }
        let date = |day: i64| Days { first: day, last: day }.dates().0;
        let (all_from, all_to) = prefixed("DAY");
        let from = first.map_or(all_from, |first| format!("DAY#{}", date(first)));
        let to = last.map_or(all_to, |last| format!("DAY#{}$", date(last)));
        Self::spans(pk, vec![(from, to)], None)
    }

    /// Rows of windows that begin in a range.
    fn windows(pk: String, kind: &str, range: Range) -> Self {
        let first = range.start_ms.max(*IN_ORDER_MS.start());
        let last = (range.end_ms - 1).min(*IN_ORDER_MS.end());
        let spans =
            if first > last { Vec::new() } else { vec![(format!("{kind}#{first}"), format!("{kind}#{last}$"))] };
        Self::spans(pk, spans, Some(range))
    }

    fn spans(pk: String, mut spans: Vec<(String, String)>, range: Option<Range>) -> Self {
        // The store takes no longer keys, so that nothing can be there.
        let fits = |sk: &String| sk.len() <= Key::SK_BYTES;
        spans.retain(|(from, to)| pk.len() <= Key::PK_BYTES && fits(from) && fits(to));
        Self::Spans { pk, spans, range }
    }

    /// Puts rows after a place on a page, until it holds as many as are wanted or is full; and the place to go on
    /// after, if there may be more.
    pub(crate) async fn fill(
        &self,
        mut sheet: Sheet,
        api: &Api,
        mut after: Option<Key>,
        limit: usize,
        call: Call,
    ) -> Result<(Sheet, Option<Key>), Problem> {
        for _ in 0..READS {
            let most = limit.saturating_sub(sheet.rows()).min(READ);
            let (rows, next) = self.read(sheet.view(), api, after.as_ref(), most, call).await?;
            for (key, row) in rows {
                if row.is_kept(call.now_ms) && !row.is_empty() && self.holds(&key) {
                    sheet.push(&key, &row)?;
                }
                if sheet.is_full() {
                    return Ok((sheet, Some(key)));
                }
            }
            after = next;
            if after.is_none() || sheet.rows() >= limit {
                break;
            }
        }
        Ok((sheet, after))
    }

    /// A few rows after a place; and the place to go on after, if there may be more.
    async fn read(
        &self,
        view: &View,
        api: &Api,
        after: Option<&Key>,
        most: usize,
        call: Call,
    ) -> Result<(Vec<(Key, Measures)>, Option<Key>), Problem> {
        let store = api.ledger.store();
        let Self::Spans { pk, spans, .. } = self else {
            return Ok(api.ledger.send(|| store.directory(view.kind, after, most), call).await?.value);
        };
        let place = |sk: String| Key { pk: pk.as_str().into(), sk: sk.into() };
        let after = after.map(|key| key.sk.as_str());
        let mut left = spans.iter().filter(|(_, to)| after.is_none_or(|after| after < to.as_str()));
        let Some((from, to)) = left.next() else { return Ok((Vec::new(), None)) };
        // A range that ends now has moved on since the page before.
        let after = after.filter(|after| *after >= from.as_str());
        let span = Span::of(pk.as_str(), (from.clone(), to.clone()), most);
        let (rows, next) = api.ledger.send(|| store.page(&span, after), call).await?.value;
        let next = next.or_else(|| left.next().map(|_| span.to.clone()));
        Ok((rows, next.map(place)))
    }

    /// Whether a row between its keys is really meant: a time of fewer digits stands between later ones.
    fn holds(&self, key: &Key) -> bool {
        let Self::Spans { range: Some(range), .. } = self else { return true };
        let start = key.sk_parts().get(1).and_then(|start| start.parse().ok());
        start.is_some_and(|start: i64| (range.start_ms..range.end_ms).contains(&start))
    }
}

/// The sort keys that begin with a prefix and a `#`: the next character ends them, and stands in no key there.
fn prefixed(prefix: &str) -> (String, String) {
    (format!("{prefix}#"), format!("{prefix}$"))
}
