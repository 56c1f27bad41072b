//! What Tidemark writes to S3, and how it looks there.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod bucket;
pub mod documents;
mod error;
pub mod layout;
pub mod manifest;
pub mod parquet;
mod quarantine;
mod quarantined;
mod store;
mod upload;

pub use bucket::Bucket;
pub use error::ArchiveError;
pub use quarantine::{Quarantine, SetAside};
pub use quarantined::{Quarantined, Wanted};
pub use store::{Condition, Listed, Object, ObjectStore, Part, keys};
pub use upload::{Upload, Uploaded, sha256, verify};
