//! The routes, one file for each kind of thing.

mod apps;
mod categories;
mod customers;
mod dashboards;
mod description;
mod exports;
mod health;
mod history;
mod ingest;
mod known;
mod listed;
mod low_stock;
mod monitoring;
mod orders;
mod product_sales;
mod sales;
mod sellers;
mod series;
mod timelines;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::authenticate;
use crate::{Api, Problem};

pub use description::openapi;

/// The routes that need a caller.
fn guarded() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(monitoring::routes())
        .merge(sellers::routes())
        .merge(ingest::routes())
        .merge(timelines::routes())
        .merge(series::routes())
        .merge(dashboards::routes())
        .merge(apps::routes())
        .merge(categories::routes())
        .merge(low_stock::routes())
        .merge(sales::routes())
        .merge(product_sales::routes())
        .merge(customers::routes())
        .merge(orders::routes())
        .merge(history::routes())
        .merge(exports::routes())
}

/// The routes that anybody may ask for. They say so by `security(())`.
fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().merge(health::routes()).merge(description::routes())
}

/// The routes.
pub(crate) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    let guarded = Router::from(guarded()).layer(from_fn_with_state(Arc::clone(api), authenticate));
    guarded
        .merge(Router::from(open()))
        .fallback(|| async { Problem::not_found("there is no such route; see /openapi.json") })
}
