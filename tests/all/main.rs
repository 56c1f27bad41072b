//! Every test that needs more than one crate, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bad_input;
mod cargo_lambda;
mod days;
mod fuzz;
mod golden;
mod laws;
mod protocol;
mod retention;
mod store_errors;
mod streams_truth;
mod template;
mod truth;
mod units;
mod worked_example;
