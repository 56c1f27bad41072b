//! The bucket in memory: the contract of [`ObjectStore`], condition by condition.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidemark_archive::{ArchiveError, Condition, Listed, Object, ObjectStore, Part};
use xxhash_rust::xxh3::xxh3_128;

/// As S3 has it: "Amazon S3 multipart upload limits".
const LEAST_PART: usize = 5 << 20;
/// As S3 has it: "ListObjectsV2".
const PAGE: usize = 1_000;

/// Objects in memory, and the uploads that were begun.
#[derive(Clone, Default)]
pub struct MemoryObjects(pub Arc<Mutex<BTreeMap<String, Vec<u8>>>>, Arc<Mutex<BTreeMap<String, Upload>>>);

/// An upload; one that is closed was completed with its parts, or aborted and has none.
#[derive(Default)]
struct Upload {
    parts: BTreeMap<i32, (Part, Bytes)>,
    closed: bool,
}

impl Upload {
    /// The object of these parts, unless one of them is another, or too small.
    fn object(&self, parts: &[Part]) -> Option<Vec<u8>> {
        let mut object = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let (uploaded, body) = self.parts.get(&part.number)?;
            let ascends = at == 0 || parts[at - 1].number < part.number;
            let enough = body.len() >= LEAST_PART || at + 1 == parts.len();
            if uploaded != part || !ascends || !enough {
                return None;
            }
            object.extend_from_slice(body);
        }
        (!parts.is_empty()).then_some(object)
    }
}

impl ObjectStore for MemoryObjects {
    async fn put(&self, key: &str, _content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        self.0.lock().unwrap().insert(key.to_owned(), body);
        Ok(())
    }

    async fn put_if(
        &self,
        key: &str,
        _content_type: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> Result<Option<String>, ArchiveError> {
        let mut objects = self.0.lock().unwrap();
        let holds = match (objects.get(key), condition) {
            (there, Condition::Absent) => there.is_none(),
            (there, Condition::Unchanged(etag)) => there.is_some_and(|there| digest(there) == *etag),
        };
        let written = holds.then(|| digest(&body));
        if holds {
            objects.insert(key.to_owned(), body);
        }
        Ok(written)
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, ArchiveError> {
        let objects = self.0.lock().unwrap();
        Ok(objects.get(key).map(|body| Object { etag: digest(body), body: body.clone().into() }))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ArchiveError> {
        Ok(self.0.lock().unwrap().get(key).map(|body| body.len() as u64))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let objects = self.0.lock().unwrap();
        let body = objects.get(key).ok_or_else(|| no_object(key))?;
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        match body.get(start..end.min(body.len())) {
            Some(found) if !found.is_empty() => Ok(found.to_vec().into()),
            _ => Err(refused(key, "s3:GetObject", "InvalidRange")),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, ArchiveError> {
        let objects = self.0.lock().unwrap();
        let under = objects.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|a| key.as_str() > a));
        Ok(under.take(PAGE).map(|(key, body)| Listed { key: key.clone(), bytes: body.len() as u64 }).collect())
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    async fn begin_upload(&self, key: &str, _content_type: &str) -> Result<String, ArchiveError> {
        let mut uploads = self.1.lock().unwrap();
        // No id is part of another: a state that names one is searched for it.
        let id = format!("{:06}-{key}", uploads.len() + 1);
        uploads.insert(id.clone(), Upload::default());
        Ok(id)
    }

    async fn upload_part(&self, key: &str, upload: &str, number: i32, body: Bytes) -> Result<Part, ArchiveError> {
        let mut uploads = self.1.lock().unwrap();
        let begun = uploads.get_mut(upload).filter(|upload| !upload.closed).ok_or_else(|| no_upload(key, upload))?;
        let part = Part { number, etag: digest(&body), sha256: digest(&body) };
        begun.parts.insert(number, (part.clone(), body));
        Ok(part)
    }

    async fn complete_upload(&self, key: &str, upload: &str, parts: &[Part]) -> Result<(), ArchiveError> {
        let (mut objects, mut uploads) = (self.0.lock().unwrap(), self.1.lock().unwrap());
        let begun = uploads.get_mut(upload).ok_or_else(|| no_upload(key, upload))?;
        let object = begun.object(parts);
        if begun.closed {
            let is_there = object.is_some() && objects.get(key) == object.as_ref();
            return if is_there { Ok(()) } else { Err(no_upload(key, upload)) };
        }
        objects.insert(key.to_owned(), object.ok_or_else(|| refused(key, "s3:PutObject", "InvalidPart"))?);
        begun.closed = true;
        Ok(())
    }

    async fn abort_upload(&self, _key: &str, upload: &str) -> Result<(), ArchiveError> {
        if let Some(begun) = self.1.lock().unwrap().get_mut(upload).filter(|upload| !upload.closed) {
            *begun = Upload { closed: true, ..Upload::default() };
        }
        Ok(())
    }
}

/// As S3's ETags, it tells contents apart.
fn digest(body: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(body))
}

fn no_object(key: &str) -> ArchiveError {
    ArchiveError::NoObject { bucket: "memory".to_owned(), key: key.to_owned() }
}

fn no_upload(key: &str, upload: &str) -> ArchiveError {
    ArchiveError::NoUpload { bucket: "memory".to_owned(), key: key.to_owned(), upload: upload.to_owned() }
}

fn refused(key: &str, action: &'static str, reason: &str) -> ArchiveError {
    ArchiveError::Refused { bucket: "memory".to_owned(), object: key.to_owned(), action, source: reason.into() }
}
