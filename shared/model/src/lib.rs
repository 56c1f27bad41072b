//! What the records say and what the rows must read.
//!
//! The data flows one way: bytes ([`decode()`]) to [`Change`]s of entities, over what is [`Known`]
//! of them to [`Transition`]s ([`fold()`]), and through the [`views`] to deltas of [`Rows`].
//!
//! This crate is pure: no clock, environment, network, log or async runtime, and CI proves that
//! none is in its dependency tree. It cannot fail but by its input, and the same input gives the
//! same output.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod activity;
mod cloud_event;
pub mod debezium;
pub mod decimal;
pub mod decode;
pub mod entity;
pub mod erasure;
mod field;
mod fingerprint;
pub mod fold;
pub mod ingest;
pub mod kafka;
pub mod key;
pub mod metric;
pub mod number;
pub mod order;
pub mod parcel;
pub mod product;
pub mod raw;
pub mod rows;
pub mod set_aside;
pub mod sketch;
pub mod stream;
pub mod time;
pub mod views;

pub use decimal::Decimal;
pub use decode::{Batch, Position, Reject, decode};
pub use entity::{Change, Known, State, Transition, Version};
pub use fold::{Fold, fold};
pub use key::Key;
pub use rows::{Map, Measures, Rows};
pub use set_aside::{Origin, SetAside};
pub use stream::Settings;
