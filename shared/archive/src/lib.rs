//! What Tidemark writes to S3, and how it looks there.

mod bucket;
mod error;
mod quarantine;
mod quarantined;
mod store;

pub use bucket::Bucket;
pub use error::ArchiveError;
pub use quarantine::{Quarantine, SetAside};
pub use quarantined::{Quarantined, Wanted};
pub use store::{Condition, Listed, Object, ObjectStore, Part};
