//! The API function, asked over HTTP, on the embedded DynamoDB.

mod apps;
mod auth;
mod dashboard;
mod ingestion;
mod jwt;
mod keys;
mod limits;
mod metrics;
mod sellers;
mod tenancy;
mod timeline;
