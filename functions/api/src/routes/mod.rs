//! The routes, one file for each kind of thing.

mod apps;
mod dashboards;
mod ingest;
mod known;
mod listed;
mod sellers;
mod series;
mod timelines;

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
        .merge(ingest::routes())
        .merge(timelines::routes())
        .merge(series::routes())
        .merge(dashboards::routes())
        .merge(apps::routes())
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
