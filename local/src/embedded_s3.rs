//! The embedded S3: the files of `s3s_fs`, and what they lack that the archive relies on.
//!
//! - Writes happen one after the other, so that conditional ones are decided by what is there, and no reader meets
//!   an object's content beside another's attributes.
//! - A body that does not match its checksum is refused before it replaces anything.
//! - An upload's parts are checked when it is completed, and its object has their checksum. Parts are kept in
//!   memory: uploads end with the process.
//! - How an object was encrypted is remembered; nothing is encrypted.
//! - A bucket that is not there is said to be missing, and a key too long for a file's name to be too long.
//!
//! What nobody uses is not implemented and answers so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64_simd::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::TryStreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::RwLock;

/// As S3 has it: "Amazon S3 multipart upload limits".
const LEAST_PART: usize = 5 << 20;
/// What bucket and key may take in base64: `s3s_fs` makes both the name of a file, which ends at 255 bytes.
const LONGEST_NAME: usize = 225;
/// Names of the objects' metadata under which it is kept what `s3s_fs` does not keep.
const ENCRYPTION: &str = "embedded-encryption";
const KMS_KEY: &str = "embedded-kms-key";
const CHECKSUM_OF_PARTS: &str = "embedded-checksum-of-parts";

/// S3 in a folder.
pub(crate) struct EmbeddedS3 {
    folder: PathBuf,
    files: FileSystem,
    writes: RwLock<()>,
    uploads: Mutex<BTreeMap<String, Upload>>,
}

struct Upload {
    begun: CreateMultipartUploadInput,
    parts: BTreeMap<i32, UploadedPart>,
}

#[derive(Clone)]
struct UploadedPart {
    body: Bytes,
    etag: ETag,
    sha256: [u8; 32],
}

impl EmbeddedS3 {
    /// S3 in a folder that exists.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub(crate) fn new(folder: PathBuf) -> std::io::Result<Self> {
        let files = FileSystem::new(&folder).map_err(|e| std::io::Error::other(format!("{e:?}")))?;
        Ok(Self { folder, files, writes: RwLock::default(), uploads: Mutex::default() })
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if self.folder.join(bucket).is_dir() { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    /// Where an object may be written.
    fn check_place(&self, bucket: &str, key: &str) -> S3Result<()> {
        let in_base64 = |text: &str| (4 * text.len()).div_ceil(3);
        if in_base64(bucket) + in_base64(key) > LONGEST_NAME {
            return Err(s3_error!(KeyTooLongError));
        }
        self.check_bucket(bucket)
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl S3 for EmbeddedS3 {
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.check_place(&req.input.bucket, &req.input.key)?;
        let input = &mut req.input;
        let sent = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            checksum_type: None,
        };
        let (body, checksum) =
            verified(input.body.take(), input.content_md5.as_deref(), sent, req.trailing_headers.take()).await?;
        input.checksum_crc32 = checksum.checksum_crc32;
        input.checksum_crc32c = checksum.checksum_crc32c;
        input.checksum_crc64nvme = checksum.checksum_crc64nvme;
        input.checksum_sha1 = checksum.checksum_sha1;
        input.checksum_sha256 = checksum.checksum_sha256;
        // Those that are given are kept; an algorithm without one would only ask for it.
        input.checksum_algorithm = None;
        input.content_length = i64::try_from(body.len()).ok();
        input.body = Some(blob(body));
        let metadata = input.metadata.get_or_insert_default();
        remember(metadata, input.server_side_encryption.as_ref(), input.ssekms_key_id.as_ref());
        let _alone = self.writes.write().await;
        self.files.put_object(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let mut answer = {
            let _no_write = self.writes.read().await;
            self.files.get_object(req).await?
        };
        let output = &mut answer.output;
        let remembered = Remembered::take(&mut output.metadata);
        output.server_side_encryption = remembered.encryption;
        output.ssekms_key_id = remembered.kms_key;
        if let (Some(checksum), None) = (remembered.checksum_of_parts, &output.content_range) {
            output.checksum_sha256 = Some(checksum);
            output.checksum_type = Some(ChecksumType::from_static(ChecksumType::COMPOSITE));
        }
        Ok(answer)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut answer = {
            let _no_write = self.writes.read().await;
            self.files.head_object(req).await?
        };
        let output = &mut answer.output;
        let remembered = Remembered::take(&mut output.metadata);
        output.server_side_encryption = remembered.encryption;
        output.ssekms_key_id = remembered.kms_key;
        if let Some(checksum) = remembered.checksum_of_parts {
            output.checksum_sha256 = Some(checksum);
            output.checksum_type = Some(ChecksumType::from_static(ChecksumType::COMPOSITE));
        }
        Ok(answer)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let begun = req.input;
        self.check_place(&begun.bucket, &begun.key)?;
        let id = format!("{:032x}", fastrand::u128(..));
        let output = CreateMultipartUploadOutput {
            bucket: Some(begun.bucket.clone()),
            key: Some(begun.key.clone()),
            upload_id: Some(id.clone()),
            ..CreateMultipartUploadOutput::default()
        };
        self.uploads().insert(id, Upload { begun, parts: BTreeMap::new() });
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "a part's number is from 1 to 10000"));
        }
        let sent = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        };
        let (body, checksum) = verified(input.body, input.content_md5.as_deref(), sent, req.trailing_headers).await?;
        let etag = ETag::Strong(format!("{:032x}", u128::from_be_bytes(Md5::checksum(&body))));
        let part = UploadedPart { etag: etag.clone(), sha256: Sha256::checksum(&body), body };
        let mut uploads = self.uploads();
        let upload = uploads.get_mut(&input.upload_id).filter(|upload| upload.is_of(&input.bucket, &input.key));
        upload.ok_or_else(|| s3_error!(NoSuchUpload))?.parts.insert(input.part_number, part);
        let output = UploadPartOutput {
            e_tag: Some(etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..UploadPartOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let _alone = self.writes.write().await;
        let (id, bucket, key) = (req.input.upload_id.clone(), req.input.bucket.clone(), req.input.key.clone());
        let object = {
            let uploads = self.uploads();
            let upload = uploads.get(&id).filter(|upload| upload.is_of(&bucket, &key));
            upload.ok_or_else(|| s3_error!(NoSuchUpload))?.object(&req.input)?
        };
        let put = self.files.put_object(req.map_input(|_| object)).await?.output;
        self.uploads().remove(&id);
        let output = CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag: put.e_tag,
            ..CompleteMultipartUploadOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        // One that is being completed is complete first.
        let _alone = self.writes.write().await;
        self.uploads().remove(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let _alone = self.writes.write().await;
        self.files.copy_object(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let _alone = self.writes.write().await;
        self.files.delete_object(req).await
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let _alone = self.writes.write().await;
        self.files.delete_objects(req).await
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let _no_write = self.writes.read().await;
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let _no_write = self.writes.read().await;
        self.files.list_objects_v2(req).await
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let _alone = self.writes.write().await;
        self.files.create_bucket(req).await
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let _alone = self.writes.write().await;
        self.files.delete_bucket(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }
}

impl Upload {
    fn is_of(&self, bucket: &str, key: &str) -> bool {
        self.begun.bucket == bucket && self.begun.key == key
    }

    /// The object of the parts that the completion names.
    fn object(&self, completion: &CompleteMultipartUploadInput) -> S3Result<PutObjectInput> {
        let named = completion.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
        let (mut body, mut checksums, mut before) = (Vec::new(), Sha256::new(), 0);
        for (at, part) in named.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            let uploaded = self.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            let checksum = BASE64.encode_to_string(uploaded.sha256);
            let is_another = part.e_tag.as_ref().is_none_or(|etag| *etag != uploaded.etag)
                || part.checksum_sha256.as_ref().is_some_and(|named| *named != checksum);
            if is_another {
                return Err(s3_error!(InvalidPart));
            }
            if number <= before {
                return Err(s3_error!(InvalidPartOrder));
            }
            if uploaded.body.len() < LEAST_PART && at + 1 < named.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            before = number;
            body.extend_from_slice(&uploaded.body);
            checksums.update(&uploaded.sha256);
        }
        if named.is_empty() {
            return Err(s3_error!(InvalidRequest, "an object has one part at least"));
        }
        let begun = self.begun.clone();
        let mut metadata = begun.metadata.unwrap_or_default();
        remember(&mut metadata, begun.server_side_encryption.as_ref(), begun.ssekms_key_id.as_ref());
        let checksum = format!("{}-{}", BASE64.encode_to_string(checksums.finalize()), named.len());
        metadata.insert(CHECKSUM_OF_PARTS.to_owned(), checksum);
        Ok(PutObjectInput {
            bucket: begun.bucket,
            key: begun.key,
            content_length: i64::try_from(body.len()).ok(),
            body: Some(blob(body.into())),
            cache_control: begun.cache_control,
            content_disposition: begun.content_disposition,
            content_encoding: begun.content_encoding,
            content_language: begun.content_language,
            content_type: begun.content_type,
            expires: begun.expires,
            metadata: Some(metadata),
            if_match: completion.if_match.clone(),
            if_none_match: completion.if_none_match.clone(),
            ..PutObjectInput::default()
        })
    }
}

/// What an object's metadata holds besides what its writer put there.
struct Remembered {
    encryption: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    checksum_of_parts: Option<String>,
}

impl Remembered {
    fn take(metadata: &mut Option<Metadata>) -> Self {
        let mut taken = |name| metadata.as_mut().and_then(|metadata| metadata.remove(name));
        Self {
            encryption: taken(ENCRYPTION).map(ServerSideEncryption::from),
            kms_key: taken(KMS_KEY),
            checksum_of_parts: taken(CHECKSUM_OF_PARTS),
        }
    }
}

fn remember(metadata: &mut Metadata, encryption: Option<&ServerSideEncryption>, kms_key: Option<&String>) {
    let encryption = encryption.map(|encryption| encryption.as_str().to_owned());
    for (name, value) in [(ENCRYPTION, encryption), (KMS_KEY, kms_key.cloned())] {
        if let Some(value) = value {
            metadata.insert(name.to_owned(), value);
        }
    }
}

/// A body that matches the checksums that were sent in its headers and trailers, and those.
async fn verified(
    body: Option<StreamingBlob>,
    md5: Option<&str>,
    mut sent: Checksum,
    trailers: Option<TrailingHeaders>,
) -> S3Result<(Bytes, Checksum)> {
    let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let chunks: Vec<Bytes> = body.try_collect().await.map_err(|e| s3_error!(IncompleteBody, "{e}"))?;
    let body = Bytes::from(chunks.concat());
    if let Some(trailers) = trailers.and_then(|trailers| trailers.take()) {
        let trailer = |name| trailers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        sent.checksum_crc32 = sent.checksum_crc32.or_else(|| trailer("x-amz-checksum-crc32"));
        sent.checksum_crc32c = sent.checksum_crc32c.or_else(|| trailer("x-amz-checksum-crc32c"));
        sent.checksum_crc64nvme = sent.checksum_crc64nvme.or_else(|| trailer("x-amz-checksum-crc64nvme"));
        sent.checksum_sha1 = sent.checksum_sha1.or_else(|| trailer("x-amz-checksum-sha1"));
        sent.checksum_sha256 = sent.checksum_sha256.or_else(|| trailer("x-amz-checksum-sha256"));
    }
    let mut hasher = ChecksumHasher {
        crc32: sent.checksum_crc32.as_ref().map(|_| Crc32::new()),
        crc32c: sent.checksum_crc32c.as_ref().map(|_| Crc32c::new()),
        sha1: sent.checksum_sha1.as_ref().map(|_| Sha1::new()),
        sha256: sent.checksum_sha256.as_ref().map(|_| Sha256::new()),
        crc64nvme: sent.checksum_crc64nvme.as_ref().map(|_| Crc64Nvme::new()),
    };
    hasher.update(&body);
    let matches = md5.is_none_or(|md5| md5 == BASE64.encode_to_string(Md5::checksum(&body)));
    if matches && hasher.finalize() == sent { Ok((body, sent)) } else { Err(s3_error!(BadDigest)) }
}

fn blob(body: Bytes) -> StreamingBlob {
    StreamingBlob::from(Body::from(body))
}
