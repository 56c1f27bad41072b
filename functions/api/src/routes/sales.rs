//! Sales by day.

use std::sync::Arc;

use axum::extract::State;
use tidemark_ledger::dynamo::Span;
use tidemark_model::views::daily_sales::{self, DailySales};

use super::listed::documents;
use super::{Route, route};
use crate::{Answer, Api, Fresh, Now, Page, Params, Problem, ShopReader};

/// Days that are shown where `from` is not given.
const DAYS: i64 = 30;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(daily)]
}

/// The days on which orders were made, from one to another, both among them; at most 366.
#[utoipa::path(
    get, path = "/analytics/sales/daily", tag = "shop",
    params(
        ("from" = Option<String>, Query, format = Date, description = "30 days up to `to` if not given"),
        ("to" = Option<String>, Query, format = Date, description = "today if not given"),
    ),
    responses((status = 200, body = Page<DailySales>))
)]
async fn daily(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    let days = params.days(DAYS, &api.settings.zone);
    params.finish()?;
    let (from, to) = days.dates();
    let most = usize::try_from(days.count()).unwrap_or_default();
    let span = Span::between((daily_sales::row(&from), daily_sales::row(&to)), most);
    let (rows, _) = api.ledger.send(|| api.ledger.store().span(&span), call).await?.value;
    // A day that is over still changes with its orders.
    Answer::json(&Page { items: documents(&daily_sales::VIEW, rows, call)?, next: None }, Fresh::Live)
}
