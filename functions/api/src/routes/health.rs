//! Whether the function is there, and what it depends on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Route, route};
use crate::{Answer, Api, Fresh, Params, Problem};

/// How long a table may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Vec<Route> {
    vec![route!(health)]
}

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `ok`: anything else is a problem, with status 503.
    #[schema(example = "ok")]
    status: &'static str,
    /// The release that answers.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether the function answers; with `deep=1`, whether its tables do, too.
#[utoipa::path(
    get, path = "/health", tag = "operations", security(()),
    params(("deep" = Option<u8>, Query, description = "1 asks each table, too, which costs two reads.",
        minimum = 0, maximum = 1, example = 1)),
    responses((status = 200, description = "All is well.", body = Health))
)]
async fn health(State(api): State<Arc<Api>>, mut params: Params) -> Result<Answer, Problem> {
    let deep = params.number("deep", 0..=1);
    params.finish()?;
    if deep == Some(1) {
        let silent = api.ledger.store().silent(PATIENCE).await;
        if !silent.is_empty() {
            let detail = format!("no answer from the tables: {}", silent.join(", "));
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1));
        }
    }
    Answer::json(&Health { status: "ok", version: env!("CARGO_PKG_VERSION") }, Fresh::Never)
}
