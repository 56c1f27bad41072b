//! Sellers and their metrics.

use std::sync::Arc;

use axum::extract::State;
use tidemark_model::views::seller::{self, SellerMetrics};

use super::listed;
use super::{Route, route};
use crate::{Answer, Api, Id, Now, Page, Params, Problem, ShopReader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(list), route!(one)]
}

/// All sellers with their current totals, in the order of their ids.
#[utoipa::path(
    get, path = "/analytics/sellers", tag = "shop",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 1000), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "A page of sellers.", body = Page<SellerMetrics>))
)]
async fn list(
    State(api): State<Arc<Api>>,
    ShopReader(caller): ShopReader,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::page(&api, &seller::VIEW, &caller, params, call).await
}

/// One seller's current totals.
#[utoipa::path(
    get, path = "/analytics/sellers/{id}", tag = "shop",
    params(("id" = String, Path, description = "The seller's id.", example = "seller-22")),
    responses((status = 200, description = "The seller's current totals.", body = SellerMetrics))
)]
async fn one(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    Id(id): Id,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::one(&api, &seller::VIEW, &id, params, call).await
}
