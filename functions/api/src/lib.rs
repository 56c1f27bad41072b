//! The API function: dashboard reads, ingestion and exports over HTTP.
//!
//! A request is authenticated, its parameters are read, a few Query and GetItem calls answer it, and the views
//! themselves write what the rows say. Nothing is ever scanned.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod aggregation;
mod answer;
mod auth;
mod caller;
mod cursor;
mod dashboard;
mod exposition;
mod extract;
mod ingest;
mod lambda;
mod layers;
mod measured;
mod options;
mod params;
mod problem;
pub mod producer;
mod range;
mod routes;
mod secret;
mod tags;
mod timeline;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Extensions, HeaderValue};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Ledger, Retentions};
use tidemark_model::Settings;
use tokio::time::Instant;

use self::auth::Auth;
use self::producer::{KafkaConfig, KafkaProducer, Producer};

pub use answer::{Answer, Fresh, Page};
pub use auth::{Lease, issue};
pub use caller::{Caller, Ingester, Operator, Reader, ShopReader};
pub use cursor::Cursors;
pub use extract::{Id, Now};
pub use lambda::run;
pub use layers::{BODY_BYTES, layered};
pub use options::{Options, OptionsError, TokenOptions};
pub use params::Params;
pub use problem::{FieldError, Problem};
pub use range::Range;
pub use routes::openapi;
pub use secret::{LEAST as SECRET_CHARACTERS, Secret};

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
    /// Who may come in, and how often.
    pub(crate) auth: Auth,
    /// Whose pages may ask from a browser.
    pub(crate) origins: Vec<HeaderValue>,
    /// Where lists go on.
    pub cursors: Cursors,
    /// Where requests go that are not to be counted at once, if there is Kafka.
    pub kafka: Option<Kafka>,
    retentions: Retentions,
    clock: Clock,
}

/// Kafka, as the function uses it.
pub struct Kafka {
    /// What sends.
    pub producer: Box<dyn Producer>,
    /// Where events go.
    pub events_topic: String,
    /// Where metrics go.
    pub metrics_topic: String,
}

/// Tells the time, in ms since 1970.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;

impl Kafka {
    fn new(config: KafkaConfig) -> Self {
        let (events_topic, metrics_topic) = (config.events_topic.clone(), config.metrics_topic.clone());
        Self { producer: Box::new(KafkaProducer::new(config)), events_topic, metrics_topic }
    }
}

impl Api {
    /// The function on a ledger.
    pub fn new(ledger: Ledger<DynamoStore>, settings: Settings, options: Options, clock: Clock) -> Self {
        Self {
            ledger,
            settings,
            auth: Auth::new(&options),
            origins: options.origins,
            keys: options.keys,
            cursors: Cursors::new(options.cursors),
            kafka: options.kafka.map(Kafka::new),
            retentions: Retentions::default(),
            clock,
        }
    }

    /// When a request happens: as whoever took it in says, or now.
    pub(crate) fn call(&self, extensions: &Extensions) -> Call {
        let now = || Call { now_ms: (self.clock)(), deadline: Some(Instant::now() + LONGEST) };
        extensions.get::<Call>().copied().unwrap_or_else(now)
    }
}

/// Every route, with everything around it.
pub fn router(api: Arc<Api>) -> Router {
    layered(api.clone(), routes::router(&api))
}
