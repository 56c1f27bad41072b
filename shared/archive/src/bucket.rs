//! The store of objects that is an S3 bucket.
//!
//! Every object and every part is sent with its SHA-256, which S3 verifies and keeps; a whole object is verified
//! against it when it is read. An object of several parts has the SHA-256 of its parts' checksums. (Amazon S3 user
//! guide, "Checking object integrity in Amazon S3".)

use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
};
use base64_simd::STANDARD as BASE64;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{ArchiveError, Condition, Listed, Object, ObjectStore, Part};

const GET: &str = "s3:GetObject";
const PUT: &str = "s3:PutObject";
const DELETE: &str = "s3:DeleteObject";
const LIST: &str = "s3:ListBucket";
const ABORT: &str = "s3:AbortMultipartUpload";

/// Answers that may break off before a read is given up.
const BROKEN: usize = 3;

/// Codes of a write whose condition did not hold: the second if another write was under way, the third if there is
/// no object whose ETag could be compared.
const CONDITION_FAILED: &[&str] = &["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"];

/// An S3 bucket. Retries are the client's.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
    kms_key: Option<String>,
}

impl Bucket {
    /// A bucket that exists. Objects are encrypted with a KMS key if there is one, else with S3's own.
    pub fn new(client: Client, name: String, kms_key: Option<String>) -> Self {
        Self { client, name, kms_key }
    }

    fn encryption(&self) -> ServerSideEncryption {
        if self.kms_key.is_some() { ServerSideEncryption::AwsKms } else { ServerSideEncryption::Aes256 }
    }

    async fn write(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
        condition: Option<&Condition>,
    ) -> Result<Option<String>, ArchiveError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.kms_key.clone())
            .body(ByteStream::from(body));
        let request = match condition {
            None => request,
            Some(Condition::Absent) => request.if_none_match("*"),
            Some(Condition::Unchanged(etag)) => request.if_match(etag),
        };
        match request.send().await {
            Ok(answer) => Ok(Some(answer.e_tag.unwrap_or_default())),
            Err(e) if condition.is_some() && code(&e).is_some_and(|code| CONDITION_FAILED.contains(&code)) => Ok(None),
            Err(e) => Err(self.failed(PUT, key, e)),
        }
    }

    /// The checksum of the object that is there.
    async fn checksum(&self, key: &str) -> Result<Option<String>, ArchiveError> {
        let request = self.client.head_object().bucket(&self.name).key(key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await {
            Ok(answer) => Ok(answer.checksum_sha256),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(None),
            Err(e) => Err(self.failed(GET, key, e)),
        }
    }

    /// Reads an object; `None` if there is none. The client repeats requests, but not an answer that breaks off.
    async fn read(&self, key: &str, request: GetObjectFluentBuilder) -> Result<Option<Object>, ArchiveError> {
        let mut broken = 0;
        loop {
            let answer = match request.clone().send().await {
                Ok(answer) => answer,
                Err(e) if code(&e) == Some("NoSuchKey") => return Ok(None),
                Err(e) => return Err(self.failed(GET, key, e)),
            };
            match answer.body.collect().await {
                Ok(body) => {
                    return Ok(Some(Object { body: body.into_bytes(), etag: answer.e_tag.unwrap_or_default() }));
                }
                Err(e) if broken == BROKEN => return Err(self.unanswered(GET, key, DisplayErrorContext(e))),
                Err(_) => broken += 1,
            }
        }
    }

    fn failed<E>(&self, action: &'static str, object: &str, error: SdkError<E, HttpResponse>) -> ArchiveError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match code(&error) {
            Some("NoSuchBucket") => ArchiveError::NoBucket { bucket: self.name.clone() },
            Some("NoSuchKey") => ArchiveError::NoObject { bucket: self.name.clone(), key: object.to_owned() },
            _ if error.raw_response().is_some_and(|answer| answer.status().is_client_error()) => {
                ArchiveError::Refused {
                    bucket: self.name.clone(),
                    object: object.to_owned(),
                    action,
                    source: DisplayErrorContext(error).to_string().into(),
                }
            }
            _ => self.unanswered(action, object, DisplayErrorContext(error)),
        }
    }

    fn unanswered<E: std::error::Error>(
        &self,
        action: &'static str,
        object: &str,
        error: DisplayErrorContext<E>,
    ) -> ArchiveError {
        ArchiveError::Unanswered {
            bucket: self.name.clone(),
            object: object.to_owned(),
            action,
            source: error.to_string().into(),
        }
    }

    fn no_upload(&self, key: &str, upload: &str) -> ArchiveError {
        ArchiveError::NoUpload { bucket: self.name.clone(), key: key.to_owned(), upload: upload.to_owned() }
    }
}

impl ObjectStore for Bucket {
    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        self.write(key, content_type, body, None).await.map(|_| ())
    }

    async fn put_if(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> Result<Option<String>, ArchiveError> {
        self.write(key, content_type, body, Some(condition)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, ArchiveError> {
        let request = self.client.get_object().bucket(&self.name).key(key).checksum_mode(ChecksumMode::Enabled);
        self.read(key, request).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ArchiveError> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(answer) => Ok(Some(answer.content_length.unwrap_or_default().unsigned_abs())),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(None),
            Err(e) => Err(self.failed(GET, key, e)),
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        let Some(last) = range.end.checked_sub(1).filter(|last| range.start <= *last) else {
            return Ok(Bytes::new());
        };
        let request =
            self.client.get_object().bucket(&self.name).key(key).range(format!("bytes={}-{last}", range.start));
        let object = self.read(key, request).await?;
        object
            .map(|object| object.body)
            .ok_or_else(|| ArchiveError::NoObject { bucket: self.name.clone(), key: key.to_owned() })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, ArchiveError> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let request = request.set_start_after(after.map(ToOwned::to_owned));
        let answer = request.send().await.map_err(|e| self.failed(LIST, prefix, e))?;
        let listed = answer.contents.unwrap_or_default().into_iter().map(|object| Listed {
            key: object.key.unwrap_or_default(),
            bytes: object.size.unwrap_or_default().unsigned_abs(),
        });
        Ok(listed.collect())
    }

    async fn delete(&self, key: &str) -> Result<(), ArchiveError> {
        match self.client.delete_object().bucket(&self.name).key(key).send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.failed(DELETE, key, e)),
        }
    }

    async fn begin_upload(&self, key: &str, content_type: &str) -> Result<String, ArchiveError> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.kms_key.clone());
        let answer = request.send().await.map_err(|e| self.failed(PUT, key, e))?;
        Ok(answer.upload_id.unwrap_or_default())
    }

    async fn upload_part(&self, key: &str, upload: &str, number: i32, body: Bytes) -> Result<Part, ArchiveError> {
        let sha256 = BASE64.encode_to_string(Sha256::digest(&body));
        let request = self
            .client
            .upload_part()
            .bucket(&self.name)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .checksum_sha256(&sha256)
            .body(ByteStream::from(body));
        match request.send().await {
            Ok(answer) => Ok(Part { number, etag: answer.e_tag.unwrap_or_default(), sha256 }),
            Err(e) if code(&e) == Some("NoSuchUpload") => Err(self.no_upload(key, upload)),
            Err(e) => Err(self.failed(PUT, key, e)),
        }
    }

    async fn complete_upload(&self, key: &str, upload: &str, parts: &[Part]) -> Result<(), ArchiveError> {
        let completed = parts.iter().map(|part| {
            CompletedPart::builder().part_number(part.number).e_tag(&part.etag).checksum_sha256(&part.sha256).build()
        });
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) if code(&e) == Some("NoSuchUpload") => {
                let there = self.checksum(key).await?;
                if there == Some(checksum_of(parts)) { Ok(()) } else { Err(self.no_upload(key, upload)) }
            }
            Err(e) => Err(self.failed(PUT, key, e)),
        }
    }

    async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), ArchiveError> {
        match self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(upload).send().await {
            Ok(_) => Ok(()),
            Err(e) if code(&e) == Some("NoSuchUpload") => Ok(()),
            Err(e) => Err(self.failed(ABORT, key, e)),
        }
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// What S3 gives as the checksum of an object of these parts.
fn checksum_of(parts: &[Part]) -> String {
    let mut all = Sha256::new();
    for part in parts {
        // What is no base64 is no checksum of S3's either, and then nothing is equal.
        all.update(BASE64.decode_to_vec(&part.sha256).unwrap_or_default());
    }
    format!("{}-{}", BASE64.encode_to_string(all.finalize()), parts.len())
}
