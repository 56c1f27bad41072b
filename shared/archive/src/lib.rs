//! What Tidemark writes to S3, and how it looks there.

mod quarantine;
mod store;

pub use quarantine::{Quarantine, SetAside};
pub use store::{ArchiveError, Bucket, ObjectStore};
