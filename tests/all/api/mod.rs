//! The API function, asked over HTTP, on the embedded DynamoDB.

mod auth;
mod ingestion;
mod jwt;
mod keys;
mod limits;
mod sellers;
mod tenancy;
