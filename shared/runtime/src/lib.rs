//! What every function needs around its work: configuration, clients, logs and metrics.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod call;
pub mod clients;
pub mod config;
pub mod https;
pub mod telemetry;
mod warm;

use std::time::{SystemTime, UNIX_EPOCH};

pub use call::call;
pub use clients::Clients;
pub use config::{Config, ConfigError};
pub use warm::warm;

/// The time, in ms since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
