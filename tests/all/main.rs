//! Every test that needs more than one crate, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod archive;
mod athena;
mod audit;
mod audit_limits;
mod bad_input;
mod bad_streams;
mod cargo_lambda;
mod commit_model;
mod cut;
mod days;
mod decoded;
mod duckdb;
mod endpoint;
mod erasure;
mod erasure_laws;
mod fuzz;
mod golden;
mod ingest;
mod laws;
mod objects;
mod producer;
mod protocol;
mod quarantine;
mod rankings;
mod regressions;
mod requests;
mod retention;
mod row_model;
mod simulation;
mod store_errors;
mod stores;
mod stream_laws;
mod streams_truth;
mod tag_sets;
mod template;
mod truth;
mod units;
mod worked_example;
