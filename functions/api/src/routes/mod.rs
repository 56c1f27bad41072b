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
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use utoipa::openapi::HttpMethod;
use utoipa_axum::PathItemExt;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::auth::authenticate;
use crate::{Api, Problem};

pub use description::openapi;

/// A route: how it is answered, and what OpenAPI says of it, which costs a cold start nothing.
struct Route {
    path: String,
    answered: MethodRouter<Arc<Api>>,
    described: fn() -> UtoipaMethodRouter<Arc<Api>>,
}

impl Route {
    fn new<P: utoipa::Path, T: 'static>(
        handler: impl Handler<T, Arc<Api>>,
        described: fn() -> UtoipaMethodRouter<Arc<Api>>,
    ) -> Self {
        let on = |router: MethodRouter<_>, method: HttpMethod| router.on(method.to_method_filter(), handler.clone());
        Self { path: P::path(), answered: P::methods().into_iter().fold(MethodRouter::new(), on), described }
    }
}

/// The route of a handler, as its `#[utoipa::path]` says.
macro_rules! route {
    ($handler:ident) => {
        utoipa_axum::paste! {
            Route::new::<[<__path_ $handler>], _>($handler, || utoipa_axum::routes!($handler))
        }
    };
}
use route;

/// The routes that need a caller.
fn guarded() -> impl Iterator<Item = Route> {
    [
        monitoring::routes(),
        sellers::routes(),
        ingest::routes(),
        timelines::routes(),
        series::routes(),
        dashboards::routes(),
        apps::routes(),
        categories::routes(),
        low_stock::routes(),
        sales::routes(),
        product_sales::routes(),
        customers::routes(),
        orders::routes(),
        history::routes(),
        exports::routes(),
    ]
    .into_iter()
    .flatten()
}

/// The routes that anybody may ask for. They say so by `security(())`.
fn open() -> impl Iterator<Item = Route> {
    [health::routes(), description::routes()].into_iter().flatten()
}

/// The routes.
pub(crate) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    let add = |router: Router<_>, route: Route| router.route(&route.path, route.answered);
    let guarded = guarded().fold(Router::new(), add).layer(from_fn_with_state(Arc::clone(api), authenticate));
    open().fold(guarded, add).fallback(|| async { Problem::not_found("there is no such route; see /openapi.json") })
}
