//! What every function needs around its work: configuration, clients, logs and metrics.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod clients;
pub mod config;
pub mod telemetry;

pub use clients::Clients;
pub use config::{Config, ConfigError};
