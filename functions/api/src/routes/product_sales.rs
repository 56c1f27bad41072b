//! Products by what was ordered of them.

use std::sync::Arc;

use axum::extract::State;
use tidemark_model::views::product_sales::{self, ProductSales};

use super::listed;
use super::{Route, route};
use crate::{Answer, Api, Id, Now, Page, Params, Problem, ShopReader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(top), route!(one)]
}

/// The products with the highest revenue, the highest first.
#[utoipa::path(
    get, path = "/analytics/sales/products", tag = "shop",
    params(("top" = Option<u32>, Query, minimum = 1, description = "10 if not given; at most `TOP_N` of the deployment")),
    responses((status = 200, body = Page<ProductSales>))
)]
async fn top(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::top(&api, &product_sales::VIEW, &product_sales::RANKING, params, call).await
}

/// One product's sales.
#[utoipa::path(
    get, path = "/analytics/sales/products/{id}", tag = "shop", params(("id" = String, Path)),
    responses((status = 200, body = ProductSales))
)]
async fn one(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    Id(id): Id,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::one(&api, &product_sales::VIEW, &id, params, call).await
}
