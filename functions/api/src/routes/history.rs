//! What sellers and categories were, day by day.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::Closing;
use tidemark_model::time::{DAY_MS, utc};
use tidemark_model::views::category::{self, CategoryMetrics};
use tidemark_model::views::seller::{self, SellerMetrics};
use tidemark_model::views::{CURRENT, View};
use tidemark_model::{Key, Measures};
use utoipa::ToSchema;

use super::{Route, route};
use crate::{Answer, Api, Fresh, Id, Now, Page, Params, Problem, ShopReader};

/// Days that are shown where `from` is not given.
const DAYS: i64 = 30;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(of_seller), route!(of_category)]
}

/// Totals at the end of a day, or those of now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OnDay<T> {
    /// The day, as ISO 8601 writes it.
    date: String,
    /// When it was closed: what had been counted by then is in it. Absent where the day is today.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
    #[serde(flatten)]
    totals: T,
}

/// A seller's totals at the end of each day, as the archive has them, and those of now as the last.
///
/// A day is closed by the snapshot that is taken on the next. A day without a snapshot is not there, nor one on which
/// there was nothing to say.
#[utoipa::path(
    get, path = "/analytics/sellers/{id}/history", tag = "shop",
    params(
        ("id" = String, Path),
        ("from" = Option<String>, Query, format = Date, description = "30 days up to `to` if not given"),
        ("to" = Option<String>, Query, format = Date, description = "today if not given"),
    ),
    responses(
        (status = 200, body = Page<OnDay<SellerMetrics>>)
    )
)]
async fn of_seller(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    Id(id): Id,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    history(&api, &seller::VIEW, SellerMetrics::read, &id, params, call).await
}

/// A category's totals at the end of each day, as the archive has them, and those of now as the last.
///
/// A day is closed by the snapshot that is taken on the next. A day without a snapshot is not there, nor one on which
/// there was nothing to say.
#[utoipa::path(
    get, path = "/analytics/categories/{name}/history", tag = "shop",
    params(
        ("name" = String, Path),
        ("from" = Option<String>, Query, format = Date, description = "30 days up to `to` if not given"),
        ("to" = Option<String>, Query, format = Date, description = "today if not given"),
    ),
    responses(
        (status = 200, body = Page<OnDay<CategoryMetrics>>)
    )
)]
async fn of_category(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    Id(name): Id,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    history(&api, &category::VIEW, CategoryMetrics::read, &name, params, call).await
}

async fn history<T: Serialize>(
    api: &Api,
    view: &View,
    read: fn(&Key, &Measures) -> Option<T>,
    id: &str,
    mut params: Params,
    call: Call,
) -> Result<Answer, Problem> {
    let zone = &api.settings.zone;
    let days = params.days(DAYS, zone);
    params.finish()?;
    let key = Key::of(view.kind, id, CURRENT);
    if key.pk.len() > Key::PK_BYTES {
        return Err(Problem::not_found(format!("there is nothing of this id among {}", view.name)));
    }
    let (from, to) = days.dates();
    let store = api.ledger.store();
    // No zone's day begins more than a day from where that of UTC does.
    let (first_ms, last_ms) = ((days.first - 1) * DAY_MS, (days.last + 1) * DAY_MS);
    let closings = api.ledger.send(|| store.closings(&key, first_ms, last_ms), call).await?.value;
    let is_asked = |closing: &Closing| from <= closing.date && closing.date <= to && closing.expires_ms > call.now_ms;
    let closed = closings.into_iter().filter(|(closing, _)| is_asked(closing)).filter_map(|(closing, row)| {
        let totals = read(&key, &row)?;
        Some(OnDay { date: closing.date.into(), closed_at: Some(utc(closing.closed_ms)), totals })
    });
    let mut items: Vec<OnDay<T>> = closed.collect();
    let today = zone.day(call.now_ms).date;
    if from <= today && today <= to {
        let row = api.ledger.send(|| store.row(&key), call).await?.value;
        let totals = row.filter(|row| row.is_kept(call.now_ms)).and_then(|row| read(&key, &row));
        items.extend(totals.map(|totals| OnDay { date: today.into(), closed_at: None, totals }));
    }
    Answer::json(&Page { items, next: None }, Fresh::Live)
}
