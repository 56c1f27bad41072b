//! The bucket, as narrow as it is used.

use std::future::Future;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;

/// An object that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bucket did not take it.
    #[error(
        "object {key} could not be written to bucket {bucket}; check that it exists and the role allows s3:PutObject"
    )]
    Put {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
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
}

/// Where objects are kept.
pub trait ObjectStore: Send + Sync {
    /// Writes a whole object, replacing what was under its key. May be repeated.
    fn put(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<(), ArchiveError>> + Send;
}

/// An S3 bucket. Retries are the client's.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// A bucket that exists.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl ObjectStore for Bucket {
    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(body));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(ArchiveError::Put {
                bucket: self.name.clone(),
                key: key.to_owned(),
                source: DisplayErrorContext(e).to_string().into(),
            }),
        }
    }
}
