//! What Tidemark writes to S3, and how it looks there.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod documents;
pub mod layout;
pub mod manifest;
pub mod parquet;
mod quarantine;
mod store;
mod upload;

pub use quarantine::{Quarantine, SetAside};
pub use store::{ArchiveError, Bucket, ObjectStore};
pub use upload::{Upload, Uploaded, sha256};
