//! What can go wrong with an object.

use parquet::errors::ParquetError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request to the bucket that failed, or content that is none.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bucket is not there.
    #[error("there is no bucket {bucket}, which the variable BUCKET names")]
    NoBucket {
        /// The bucket's name.
        bucket: String,
    },
    /// The object is not there.
    #[error("there is no object {key} in bucket {bucket}")]
    NoObject {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// The upload is not there: it was aborted, it is too old, or it was completed with other parts.
    #[error("there is no upload {upload} of object {key} to bucket {bucket}; begin another")]
    NoUpload {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
        /// The upload's id.
        upload: String,
    },
    /// The service refuses the request for good: a missing permission, content that does not match its checksum.
    #[error("{action} on {object} in bucket {bucket} was refused; check that the role allows it")]
    Refused {
        /// The bucket's name.
        bucket: String,
        /// The object's key, or the prefix of a listing.
        object: String,
        /// The action that the role must allow.
        action: &'static str,
        /// The answer.
        #[source]
        source: BoxError,
    },
    /// No answer came, it broke off, or the service failed: the request may or may not have been done.
    #[error("{action} on {object} in bucket {bucket} was not answered")]
    Unanswered {
        /// The bucket's name.
        bucket: String,
        /// The object's key, or the prefix of a listing.
        object: String,
        /// The action that the role must allow.
        action: &'static str,
        /// What happened instead.
        #[source]
        source: BoxError,
    },
    /// Its content is not what it should be.
    #[error("object {key} cannot be read; it may be a newer release's")]
    Decode {
        /// The object's key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Its content could not be encoded.
    #[error("object {key} could not be encoded")]
    Encode {
        /// The object's key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file is another than its manifest says.
    #[error(
        "file {key} is another than its manifest says; a later run of that day may have replaced it: go by that one"
    )]
    Replaced {
        /// The object's key.
        key: String,
    },
    /// A table of Parquet could not be written or read.
    #[error("table {key} could not be written or read")]
    Table {
        /// The object's key.
        key: String,
        /// Why.
        #[source]
        source: ParquetError,
    },
}
