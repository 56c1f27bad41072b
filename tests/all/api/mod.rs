//! The API function, asked over HTTP, on the embedded DynamoDB.

mod apps;
mod dashboard;
mod metrics;
mod sellers;
mod timeline;
