//! Categories and their metrics.

use std::sync::Arc;

use axum::extract::State;
use tidemark_model::views::category::{self, CategoryMetrics};

use super::listed;
use super::{Route, route};
use crate::{Answer, Api, Id, Now, Page, Params, Problem, ShopReader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(list), route!(one)]
}

/// All categories with their current totals, in the order of their names.
#[utoipa::path(
    get, path = "/analytics/categories", tag = "shop",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 1000), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<CategoryMetrics>))
)]
async fn list(
    State(api): State<Arc<Api>>,
    ShopReader(caller): ShopReader,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::page(&api, &category::VIEW, &caller, params, call).await
}

/// One category's current totals.
#[utoipa::path(
    get, path = "/analytics/categories/{name}", tag = "shop", params(("name" = String, Path)),
    responses((status = 200, body = CategoryMetrics))
)]
async fn one(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    Id(id): Id,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::one(&api, &category::VIEW, &id, params, call).await
}
