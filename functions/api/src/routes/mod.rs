//! The routes, one file for each kind of thing.

mod description;
mod health;
mod listed;
mod monitoring;
mod sellers;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::authenticate;
use crate::{Api, Problem};

pub use description::openapi;

/// The routes that need a caller.
fn guarded() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().merge(monitoring::routes()).merge(sellers::routes())
}

/// The routes that anybody may ask for. They say so by `security(())`.
fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().merge(health::routes()).merge(description::routes())
}

/// The routes.
pub(crate) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    let guarded = Router::from(guarded()).layer(from_fn_with_state(Arc::clone(api), authenticate));
    let other_method = || async {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method; see the header Allow")
    };
    guarded
        .merge(Router::from(open()))
        .method_not_allowed_fallback(other_method)
        .fallback(|| async { Problem::not_found("there is no such route; see /openapi.json") })
}
