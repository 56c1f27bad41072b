//! What only a bucket behind S3's protocol has: checksums, encryption, a bucket that may be missing.

use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, ServerSideEncryption};
use tempfile::TempDir;
use tidemark_archive::{ArchiveError, Bucket, Condition, ObjectStore};
use tidemark_ledger::Retry;
use tidemark_local::cli::Place as Kept;
use tidemark_local::{embedded, stack};
use tidemark_runtime::Clients;
use tidemark_tests::say;

use super::TEXT;
use crate::endpoint::Endpoint;
use crate::stores::{Check, checks};

/// The SHA-256 of something else.
const ANOTHER_SHA256: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
/// A key that only an emulator takes.
const KMS_KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555";

/// A bucket that nobody else uses.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) bucket: Bucket,
    client: Client,
    name: String,
    is_aws: bool,
}

pub(super) fn checks() -> Vec<Check<Place>> {
    checks![
        a_body_that_does_not_match_its_checksum_is_refused,
        a_part_that_does_not_match_its_checksum_is_refused,
        objects_are_encrypted_as_the_bucket_is_told,
        a_missing_bucket_is_named_with_its_variable,
        content_types_are_kept,
    ]
}

async fn a_body_that_does_not_match_its_checksum_is_refused(place: Place) {
    let key = "corrupt/object";
    let put = || place.client.put_object().bucket(&place.name).key(key).body(ByteStream::from_static(b"sent"));
    put().checksum_sha256(ANOTHER_SHA256).send().await.unwrap_err();
    assert_eq!(place.bucket.get(key).await.unwrap(), None);
    place.bucket.put(key, TEXT, "before".into()).await.unwrap();
    put().checksum_sha256(ANOTHER_SHA256).send().await.unwrap_err();
    put().content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await.unwrap_err();
    assert_eq!(place.bucket.get(key).await.unwrap().unwrap().body, "before");
}

async fn a_part_that_does_not_match_its_checksum_is_refused(place: Place) {
    let key = "corrupt/upload";
    let id = place.bucket.begin_upload(key, TEXT).await.unwrap();
    let part = place.client.upload_part().bucket(&place.name).key(key).upload_id(&id).part_number(1);
    let part = part.body(ByteStream::from_static(b"sent")).checksum_sha256(ANOTHER_SHA256);
    part.send().await.unwrap_err();
    place.bucket.abort_upload(key, &id).await.unwrap();
}

async fn encryption_of(place: &Place, key: &str) -> (Option<ServerSideEncryption>, Option<String>) {
    let head = place.client.head_object().bucket(&place.name).key(key).send().await.unwrap();
    (head.server_side_encryption, head.ssekms_key_id)
}

async fn write_in_each_way(bucket: &Bucket, prefix: &str) -> [String; 3] {
    let keys = ["put", "put-if", "upload"].map(|way| format!("{prefix}/{way}"));
    bucket.put(&keys[0], TEXT, "1".into()).await.unwrap();
    bucket.put_if(&keys[1], TEXT, "2".into(), &Condition::Absent).await.unwrap().unwrap();
    let id = bucket.begin_upload(&keys[2], TEXT).await.unwrap();
    let part = bucket.upload_part(&keys[2], &id, 1, "3".into()).await.unwrap();
    bucket.complete_upload(&keys[2], &id, &[part]).await.unwrap();
    keys
}

async fn objects_are_encrypted_as_the_bucket_is_told(place: Place) {
    for key in write_in_each_way(&place.bucket, "encrypted/s3").await {
        assert_eq!(encryption_of(&place, &key).await, (Some(ServerSideEncryption::Aes256), None), "{key}");
    }
    if place.is_aws {
        return;
    }
    let bucket = Bucket::new(place.client.clone(), place.name.clone(), Some(KMS_KEY.to_owned()));
    for key in write_in_each_way(&bucket, "encrypted/kms").await {
        let expected = (Some(ServerSideEncryption::AwsKms), Some(KMS_KEY.to_owned()));
        assert_eq!(encryption_of(&place, &key).await, expected, "{key}");
        assert_eq!(bucket.get(&key).await.unwrap().unwrap().body.len(), 1);
    }
}

async fn a_missing_bucket_is_named_with_its_variable(place: Place) {
    fn is_missing<T: std::fmt::Debug>(answer: Result<T, ArchiveError>, name: &str) {
        let error = answer.unwrap_err();
        assert!(matches!(&error, ArchiveError::NoBucket { bucket } if bucket == name), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("BUCKET"), "{message}");
    }
    let name = format!("{}-missing", place.name);
    let bucket = Bucket::new(place.client, name.clone(), None);
    is_missing(bucket.put("key", TEXT, "1".into()).await, &name);
    is_missing(bucket.put_if("key", TEXT, "1".into(), &Condition::Absent).await, &name);
    is_missing(bucket.get("key").await, &name);
    is_missing(bucket.get_range("key", 0..1).await, &name);
    is_missing(bucket.list("", None).await, &name);
    is_missing(bucket.delete("key").await, &name);
    is_missing(bucket.begin_upload("key", TEXT).await, &name);
    assert_eq!(bucket.size("key").await.unwrap(), None);
}

async fn content_types_are_kept(place: Place) {
    for key in write_in_each_way(&place.bucket, "content-type").await {
        let head = place.client.head_object().bucket(&place.name).key(&key).send().await.unwrap();
        assert_eq!(head.content_type.as_deref(), Some(TEXT), "{key}");
    }
}

/// Runs something on a fresh bucket, which is deleted whatever comes of it.
pub(super) async fn with_fresh_bucket<F>(endpoint: &Endpoint, run: impl FnOnce(Place) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut kept: Option<TempDir> = None;
    let start = async || {
        let (url, folder) = embedded::start_s3(&Kept::Memory, 0, stack::BUCKET).await.unwrap();
        kept = folder;
        url
    };
    let config = endpoint.config(start).await;
    let client = Clients::new(&config, &config, &Retry::default()).s3;
    let name = format!("tidemark-test-{:016x}", fastrand::u64(..));
    create(&client, &name).await;
    let bucket = Bucket::new(client.clone(), name.clone(), None);
    let place = Place { bucket, client, name, is_aws: matches!(endpoint, Endpoint::Aws) };
    let outcome = tokio::spawn(run(place.clone())).await;
    delete(&place).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn create(client: &Client, name: &str) {
    let region = client.config().region().map(|region| region.to_string());
    // The first region is not to be named.
    let elsewhere = region.filter(|region| region != "us-east-1").map(|region| {
        let constraint = BucketLocationConstraint::from(region.as_str());
        CreateBucketConfiguration::builder().location_constraint(constraint).build()
    });
    client.create_bucket().bucket(name).set_create_bucket_configuration(elsewhere).send().await.unwrap();
}

/// What cannot be deleted is named, since it may cost money.
async fn delete(place: &Place) {
    while let Ok(page) = place.bucket.list("", None).await {
        if page.is_empty() {
            break;
        }
        for object in page {
            place.bucket.delete(&object.key).await.unwrap();
        }
    }
    if let Err(error) = place.client.delete_bucket().bucket(&place.name).send().await {
        say(&format!("objects: bucket {} was not deleted: {error:?}", place.name));
    }
}

/// The embedded S3 in a folder of the test's own, and a client that does not try twice.
async fn embedded_in(folder: &TempDir) -> Bucket {
    let (url, _) = embedded::start_s3(&Kept::Folder(folder.path().to_owned()), 0, stack::BUCKET).await.unwrap();
    let config = stack::sdk_config(Some(&url), true).await;
    let once = Retry { max_attempts: 1, initial: Duration::ZERO, ..Retry::default() };
    Bucket::new(Clients::new(&config, &config, &once).s3, stack::BUCKET.to_owned(), None)
}

#[tokio::test]
async fn an_object_that_changed_behind_the_bucket_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = embedded_in(&folder).await;
    bucket.put("day/object", TEXT, "written".into()).await.unwrap();
    let file = folder.path().join("s3").join(stack::BUCKET).join("day/object");
    std::fs::write(file, "changed").unwrap();
    let error = bucket.get("day/object").await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Unanswered { action: "s3:GetObject", .. }), "{error:?}");
}

#[tokio::test]
async fn the_embedded_bucket_refuses_a_key_that_no_file_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = embedded_in(&folder).await;
    let long = |length: usize| "day/".repeat(length / 4);
    let key = format!("{}x", long(156));
    bucket.put(&key, TEXT, "1".into()).await.unwrap();
    assert_eq!(bucket.get(&key).await.unwrap().unwrap().body, "1");
    let key = format!("{}x", long(164));
    for answer in [bucket.put(&key, TEXT, "1".into()).await, bucket.begin_upload(&key, TEXT).await.map(drop)] {
        let error = answer.unwrap_err();
        assert!(matches!(&error, ArchiveError::Refused { object, .. } if *object == key), "{error:?}");
    }
}
