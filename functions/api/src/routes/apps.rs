//! Apps and their events of all time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use compact_str::CompactString;
use serde::Serialize;
use tidemark_ledger::dynamo::{Apps, Span};
use tidemark_model::number::Number;
use tidemark_model::views::event_totals::{of_type, rows_of};
use tidemark_model::{Decimal, Key, Measures};
use utoipa::ToSchema;

use super::{Route, route};
use crate::{Answer, Api, Caller, Fresh, Now, Page, Params, Problem, Reader};

/// Types that one page shows at most.
const MOST_TYPES: usize = 1_000;
/// Apps that one page shows at most to a caller who is bound to apps: each is a request.
const MOST_ASKED: usize = 25;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(apps)]
}

/// An app's events of all time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AppTotals {
    /// The app, or the service.
    #[schema(value_type = String)]
    app_id: CompactString,
    /// Events of these types.
    events: Number,
    /// Events by type.
    #[schema(value_type = BTreeMap<String, Number>)]
    types: BTreeMap<CompactString, Number>,
}

/// The apps that the caller may see, with their events of all time, in the order of their ids.
///
/// Apps that sent metrics alone are missing from what a caller of all apps sees. One of more than 1,000 types goes on
/// on the next page.
#[utoipa::path(
    get, path = "/analytics/apps", tag = "apps",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 1000), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<AppTotals>))
)]
async fn apps(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    let limit = params.limit();
    params.finish()?;
    let mut place: Option<String> = api.cursors.open(&caller, &params)?;
    let (mut items, mut next) = (Vec::new(), None);
    for (asked, (app, span)) in spans(&caller, place.as_deref()).into_iter().enumerate() {
        if items.len() >= limit || asked == MOST_ASKED {
            next = place;
            break;
        }
        let after = place.as_deref().filter(|after| *after > span.from.as_str());
        let (rows, more) = api.ledger.send(|| api.ledger.store().page(&span, after), call).await?.value;
        let (mut found, goes_on) = grouped(&rows, more, limit - items.len());
        // Of an app that the caller is bound to, it is said that it has sent nothing.
        if let (Some(app), true, None) = (app, found.is_empty(), after) {
            found.push(AppTotals { app_id: app.into(), events: Number(Decimal::ZERO), types: BTreeMap::new() });
        }
        items.append(&mut found);
        if goes_on.is_some() {
            next = goes_on;
            break;
        }
        place = Some(span.to);
    }
    let next = next.and_then(|place| api.cursors.seal(&caller, &params, &place));
    Answer::json(&Page { items, next }, Fresh::Live)
}

/// Where the totals are that a caller may see, after a sort key: of all apps at once, or of each by its id.
fn spans(caller: &Caller, after: Option<&str>) -> Vec<(Option<String>, Span)> {
    let span = |app: Option<&str>| (app.map(str::to_owned), Span::between(rows_of(app), MOST_TYPES));
    let mut spans = match caller.apps() {
        Apps::All => vec![span(None)],
        Apps::Of(apps) => apps.iter().map(|app| span(Some(app))).collect(),
    };
    spans.retain(|(_, span)| after.is_none_or(|after| after < span.to.as_str()));
    spans.sort_by(|(_, a), (_, b)| a.from.cmp(&b.from));
    spans
}

/// Rows as apps, at most so many; and the sort key to go on after, if there are more.
fn grouped(rows: &[(Key, Measures)], more: Option<String>, most: usize) -> (Vec<AppTotals>, Option<String>) {
    let mut apps: Vec<(AppTotals, &Key)> = Vec::new();
    for (key, row) in rows {
        let Some([app_id, kind]) = of_type(key) else { continue };
        if apps.last().is_none_or(|(app, _)| app.app_id != app_id) {
            apps.push((AppTotals { app_id, events: Number(Decimal::ZERO), types: BTreeMap::new() }, key));
        }
        let Some((app, last)) = apps.last_mut() else { continue };
        *last = key;
        if !row.is_empty() {
            let events = row.get("events");
            app.events.0 = app.events.0.plus(events);
            app.types.insert(kind, Number(events));
        }
    }
    // The last one may go on where the page ends.
    let whole = if more.is_some() && apps.len() > 1 { apps.len() - 1 } else { apps.len() };
    let shown = whole.min(most);
    let goes_on = match apps.get(shown.saturating_sub(1)) {
        Some((_, last)) if shown < apps.len() => Some(last.sk.to_string()),
        _ => more,
    };
    apps.truncate(shown);
    (apps.into_iter().map(|(app, _)| app).collect(), goes_on)
}
