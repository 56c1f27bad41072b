//! The API function, asked over HTTP, on the embedded DynamoDB.

mod contract;
mod health;
mod monitoring;
mod openapi;
mod prometheus;
mod sellers;
