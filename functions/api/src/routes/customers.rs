//! Customers and what they spent.

use std::sync::Arc;

use axum::extract::State;
use tidemark_model::views::customers::{self, Customer};

use super::listed;
use super::{Route, route};
use crate::{Answer, Api, Id, Now, Page, Params, Problem, ShopReader};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(top), route!(one)]
}

/// The customers who spent most, the highest first.
#[utoipa::path(
    get, path = "/analytics/customers", tag = "shop",
    params(("top" = Option<u32>, Query, minimum = 1, description = "10 if not given; at most `TOP_N` of the deployment")),
    responses((status = 200, body = Page<Customer>))
)]
async fn top(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::top(&api, &customers::VIEW, &customers::RANKING, params, call).await
}

/// One customer's orders.
#[utoipa::path(
    get, path = "/analytics/customers/{id}", tag = "shop", params(("id" = String, Path)),
    responses((status = 200, body = Customer))
)]
async fn one(
    State(api): State<Arc<Api>>,
    _caller: ShopReader,
    Id(id): Id,
    params: Params,
    Now(call): Now,
) -> Result<Answer, Problem> {
    listed::one(&api, &customers::VIEW, &id, params, call).await
}
