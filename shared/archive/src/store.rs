//! Objects under keys, as narrow as they are used: each operation is one request.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ArchiveError;

/// Where objects are kept. Whoever reads sees what was written before.
pub trait ObjectStore: Send + Sync {
    /// Writes a whole object, replacing what was under its key. May be repeated.
    fn put(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<(), ArchiveError>> + Send;

    /// Writes a whole object if a condition holds; its ETag, or `None` if it was refused.
    ///
    /// A request whose answer was lost is repeated, and is then refused although it was done: whoever must know
    /// whose write it was reads what is there.
    fn put_if(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> impl Future<Output = Result<Option<String>, ArchiveError>> + Send;

    /// Reads a whole object; `None` if there is none.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Object>, ArchiveError>> + Send;

    /// The bytes of an object; `None` if there is none, or no bucket: the answer does not say which.
    fn size(&self, key: &str) -> impl Future<Output = Result<Option<u64>, ArchiveError>> + Send;

    /// Reads a part of an object: fewer bytes if it ends within the range.
    fn get_range(&self, key: &str, range: Range<u64>) -> impl Future<Output = Result<Bytes, ArchiveError>> + Send;

    /// A page of what is under a prefix, in the order of the keys' bytes, after a key if one is given. No page but
    /// the one after the last is empty.
    fn list(&self, prefix: &str, after: Option<&str>)
    -> impl Future<Output = Result<Vec<Listed>, ArchiveError>> + Send;

    /// Deletes an object, if there is one.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), ArchiveError>> + Send;

    /// Begins an upload in parts, invisible until it is completed; its id.
    fn begin_upload(&self, key: &str, content_type: &str) -> impl Future<Output = Result<String, ArchiveError>> + Send;

    /// Uploads a part, numbered from 1 to 10,000, replacing what was under its number. All but the last must have
    /// 5 MiB at least. (Amazon S3 user guide, "Amazon S3 multipart upload limits".)
    fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        body: Bytes,
    ) -> impl Future<Output = Result<Part, ArchiveError>> + Send;

    /// Makes an object of the parts, in the order of their numbers, replacing what was under its key. May be
    /// repeated: an upload that is gone although its object is there with just these parts is complete.
    fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        parts: &[Part],
    ) -> impl Future<Output = Result<(), ArchiveError>> + Send;

    /// Gives an upload up. May be repeated.
    fn abort_upload(&self, key: &str, upload: &str) -> impl Future<Output = Result<(), ArchiveError>> + Send;
}

/// The keys of all objects under a prefix.
///
/// # Errors
/// If they cannot be listed.
pub async fn keys(objects: &impl ObjectStore, prefix: &str) -> Result<BTreeSet<String>, ArchiveError> {
    let mut keys = BTreeSet::new();
    loop {
        let page = objects.list(prefix, keys.last().map(String::as_str)).await?;
        if page.is_empty() {
            return Ok(keys);
        }
        keys.extend(page.into_iter().map(|listed| listed.key));
    }
}

/// When an object may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// If there is none under the key.
    Absent,
    /// If the one under the key has this ETag still.
    Unchanged(String),
}

/// A whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub body: Bytes,
    /// Its ETag, for [`Condition::Unchanged`].
    pub etag: String,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// An uploaded part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub number: i32,
    /// Its ETag.
    pub etag: String,
    /// The SHA-256 of its content, in base64.
    pub sha256: String,
}
