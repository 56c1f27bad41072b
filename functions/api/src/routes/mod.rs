//! The routes, one file for each kind of thing.

mod categories;
mod customers;
mod exports;
mod history;
mod listed;
mod low_stock;
mod orders;
mod product_sales;
mod sales;
mod sellers;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::{Info, OpenApi, Paths};
use utoipa_axum::router::OpenApiRouter;

use crate::auth::authenticate;
use crate::{Api, Problem};

/// The routes, and what they say of themselves.
fn analytics() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(OpenApi::new(Info::new("Tidemark", env!("CARGO_PKG_VERSION")), Paths::new()))
        .merge(sellers::routes())
        .merge(categories::routes())
        .merge(low_stock::routes())
        .merge(sales::routes())
        .merge(product_sales::routes())
        .merge(customers::routes())
        .merge(orders::routes())
        .merge(history::routes())
        .merge(exports::routes())
}

/// The routes.
pub(crate) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    let (analytics, _) = analytics().split_for_parts();
    analytics
        .layer(from_fn_with_state(Arc::clone(api), authenticate))
        .fallback(|| async { Problem::not_found("there is no such route; see /openapi.json") })
}

/// The API, described by its own code.
pub fn openapi() -> OpenApi {
    analytics().into_openapi()
}
