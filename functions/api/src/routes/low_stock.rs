//! Products that are running out.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use tidemark_ledger::dynamo::Place;
use tidemark_model::number::Number;
use tidemark_model::views::Tables;
use tidemark_model::views::low_stock::{self, LowProduct, LowStock};
use utoipa::ToSchema;

use super::{Route, route};
use crate::{Answer, Api, Fresh, Now, Params, Problem, ShopReader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(list)]
}

/// A page of the list, and how many are on all its pages.
#[derive(Debug, Serialize, ToSchema)]
struct LowStockPage<'a> {
    /// Products that are running out.
    count: Number,
    /// What is on this page.
    items: Vec<LowProduct<'a>>,
    /// What to give as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How many active products are running out, and which, the scarcest first. Equally scarce ones come in the
/// store's order.
#[utoipa::path(
    get, path = "/analytics/low-stock", tag = "shop",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 1000), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = LowStockPage))
)]
async fn list(
    State(api): State<Arc<Api>>,
    ShopReader(caller): ShopReader,
    mut params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    let limit = params.limit();
    params.finish()?;
    let after: Option<Place> = api.cursors.open(&caller, &params)?;
    let store = api.ledger.store();
    let key = low_stock::ROW;
    let row = api.ledger.send(|| store.row(&key), call).await?.value;
    let read = || store.listed(low_stock::BOARD.name, after.as_ref(), Some(limit));
    let (listed, next) = api.ledger.send(read, call).await?.value;
    let tables = Tables { rows: row.map(|row| (key, row)).into_iter().collect(), listed };
    let LowStock { count, products: items } = LowStock::read(&tables);
    let next = next.and_then(|place| api.cursors.seal(&caller, &params, &place));
    Answer::json(&LowStockPage { count, items, next }, Fresh::Live)
}
