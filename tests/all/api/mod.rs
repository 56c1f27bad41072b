//! The API function, asked over HTTP, on the embedded DynamoDB.

mod apps;
mod auth;
mod contract;
mod dashboard;
mod health;
mod ingestion;
mod jwt;
mod keys;
mod limits;
mod metrics;
mod monitoring;
mod openapi;
mod prometheus;
mod sellers;
mod tenancy;
mod timeline;
