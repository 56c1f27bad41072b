//! The API function, asked over HTTP, on the embedded DynamoDB.

mod ingestion;
mod sellers;
