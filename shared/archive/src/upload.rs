//! Files of any length, uploaded part by part and visible only when they are published.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::manifest::File;
use crate::{ArchiveError, ObjectStore, Part};

/// S3 takes parts from 5 MiB, and 10,000 of them: 50 GB of these. Every view's file has one in memory.
const PART_BYTES: usize = 5 << 20;

/// A file being uploaded.
pub struct Upload {
    key: String,
    id: String,
    parts: Vec<Part>,
    waiting: Vec<u8>,
    bytes: u64,
    digest: Sha256,
}

/// A file that is uploaded, and not yet visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Its key, once it is published.
    pub key: String,
    /// The upload's id.
    pub id: String,
    /// Its parts.
    pub parts: Vec<Part>,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

impl Upload {
    /// A new file under a key.
    ///
    /// # Errors
    /// If the bucket does not take it.
    pub async fn begin(objects: &impl ObjectStore, key: String, content_type: &str) -> Result<Self, ArchiveError> {
        let id = objects.begin_upload(&key, content_type).await?;
        Ok(Self { key, id, parts: Vec::new(), waiting: Vec::new(), bytes: 0, digest: Sha256::new() })
    }

    /// The file's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The upload's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds to the file.
    ///
    /// # Errors
    /// If a part cannot be uploaded.
    pub async fn write(&mut self, objects: &impl ObjectStore, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.waiting.extend_from_slice(bytes);
        while self.waiting.len() >= PART_BYTES {
            let later = self.waiting.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.waiting, later);
            self.send(objects, part).await?;
        }
        Ok(())
    }

    /// Uploads what is left.
    ///
    /// # Errors
    /// If it cannot be uploaded.
    pub async fn end(mut self, objects: &impl ObjectStore) -> Result<Uploaded, ArchiveError> {
        if !self.waiting.is_empty() || self.parts.is_empty() {
            let part = std::mem::take(&mut self.waiting);
            self.send(objects, part).await?;
        }
        let sha256 = hex(&self.digest.finalize());
        Ok(Uploaded { key: self.key, id: self.id, parts: self.parts, bytes: self.bytes, sha256 })
    }

    async fn send(&mut self, objects: &impl ObjectStore, part: Vec<u8>) -> Result<(), ArchiveError> {
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        self.parts.push(objects.upload_part(&self.key, &self.id, number, Bytes::from(part)).await?);
        Ok(())
    }
}

impl Uploaded {
    /// Makes the file visible, replacing what was under its key. May be repeated.
    ///
    /// # Errors
    /// If the bucket does not complete it.
    pub async fn publish(&self, objects: &impl ObjectStore) -> Result<(), ArchiveError> {
        objects.complete_upload(&self.key, &self.id, &self.parts).await
    }
}

/// Reads a file through and compares it with its manifest.
///
/// # Errors
/// If it cannot be read, or is another than the manifest says.
pub async fn verify(objects: &impl ObjectStore, file: &File) -> Result<(), ArchiveError> {
    let replaced = || ArchiveError::Replaced { key: file.key.clone() };
    // First: beyond the end of a shorter file nothing can be read.
    if objects.size(&file.key).await? != Some(file.bytes) {
        return Err(replaced());
    }
    let (mut digest, mut at) = (Sha256::new(), 0);
    while at < file.bytes {
        let end = file.bytes.min(at + PART_BYTES as u64);
        digest.update(objects.get_range(&file.key, at..end).await?);
        at = end;
    }
    if hex(&digest.finalize()) == file.sha256 { Ok(()) } else { Err(replaced()) }
}

/// The SHA-256 of a whole object, as manifests show it.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
