//! The whole system on one machine: embedded DynamoDB and S3 behind their wire protocols, the
//! real functions, and streams that are fed to them as Kafka invocations.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod audit;
pub mod cli;
pub mod commands;
pub mod delivery;
pub mod deployment;
pub mod document;
pub mod embedded;
mod embedded_s3;
pub mod erase;
pub mod feed;
pub mod keys;
pub mod play;
pub mod quarantine;
pub mod restore;
pub mod serve;
pub mod show;
pub mod stack;
pub mod tables;
