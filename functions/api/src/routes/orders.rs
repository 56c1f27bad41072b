//! Orders by their status, and all of them.

use std::sync::Arc;

use axum::extract::State;
use tidemark_model::number::Number;
use tidemark_model::views::order_status;
use tidemark_model::views::summary::{self, Summary};

use super::listed::document;
use super::{Route, route};
use crate::{Answer, Api, Fresh, Now, Params, Problem, ShopReader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(status), route!(all)]
}

/// How many orders there are of each status.
#[utoipa::path(
    get, path = "/analytics/orders/status", tag = "shop",
    responses(
        (status = 200, body = std::collections::BTreeMap<String, Number>)
    )
)]
async fn status(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    params.finish()?;
    let rows = api.ledger.send(|| api.ledger.store().partition(order_status::VIEW.kind), call).await?.value;
    Answer::json(&document(&order_status::VIEW, rows, call)?, Fresh::Live)
}

/// How many orders there are, for how much, by how many customers, of how many products.
#[utoipa::path(
    get, path = "/analytics/orders/summary", tag = "shop",
    responses((status = 200, body = Summary))
)]
async fn all(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    params.finish()?;
    let key = summary::ROW;
    let row = api.ledger.send(|| api.ledger.store().row(&key), call).await?.value;
    let rows = row.map(|row| (key, row)).into_iter().collect();
    Answer::json(&document(&summary::VIEW, rows, call)?, Fresh::Live)
}
