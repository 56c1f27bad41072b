//! The API function: dashboard reads, ingestion and exports over HTTP.
//!
//! A request is authenticated, its parameters are read, a few Query and GetItem calls answer it, and the views
//! themselves write what the rows say. Nothing is ever scanned.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod answer;
mod auth;
mod caller;
mod cursor;
mod export;
mod extract;
mod lambda;
mod layers;
mod options;
mod params;
mod problem;
mod range;
mod routes;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Extensions;
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Ledger};
use tidemark_model::Settings;
use tokio::time::Instant;

pub use answer::{Answer, Fresh, Page};
pub use auth::issue;
pub use caller::{Caller, Ingester, Reader, ShopReader};
pub use cursor::Cursors;
pub use extract::{Id, Now};
pub use lambda::run;
pub use options::{Options, OptionsError};
pub use params::Params;
pub use problem::{FieldError, Problem};
pub use range::{Days, Range};
pub use routes::openapi;
pub use secret::Secret;

/// How long a request may take that has no deadline of its own.
const LONGEST: Duration = Duration::from_secs(25);

/// The function.
pub struct Api {
    /// Where rows are read and requests are committed.
    pub ledger: Ledger<DynamoStore>,
    /// How what is sent is read.
    pub settings: Settings,
    /// What hashes API keys.
    pub keys: Secret,
    /// Where lists go on.
    pub cursors: Cursors,
    clock: Clock,
}

/// Tells the time, in ms since 1970.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

impl Api {
    /// The function on a ledger.
    pub fn new(ledger: Ledger<DynamoStore>, settings: Settings, options: Options, clock: Clock) -> Self {
        Self { ledger, settings, keys: options.keys, cursors: Cursors::new(options.cursors), clock }
    }

    /// When a request happens: as whoever took it in says, or now.
    pub(crate) fn call(&self, extensions: &Extensions) -> Call {
        let now = || Call { now_ms: (self.clock)(), deadline: Some(Instant::now() + LONGEST) };
        extensions.get::<Call>().copied().unwrap_or_else(now)
    }
}

/// Every route, with everything around it.
pub fn router(api: Arc<Api>) -> Router {
    routes::router(&api).layer(axum::middleware::from_fn_with_state(Arc::clone(&api), layers::around)).with_state(api)
}
