//! The contract of uploads in parts.

use bytes::Bytes;
use tidemark_archive::{ArchiveError, ObjectStore, Part};

use super::TEXT;
use crate::stores::{Check, checks};

/// The least size of a part that is not the last.
const MIB_5: usize = 5 << 20;

pub(super) fn checks<O: ObjectStore + Clone + 'static>() -> Vec<Check<O>> {
    checks![
        parts_are_one_object_once_they_are_complete,
        a_part_sent_again_replaces_the_one_before,
        an_upload_completed_twice_is_complete,
        an_upload_given_up_is_gone,
        parts_that_are_not_the_uploaded_ones_are_refused,
        a_part_too_small_is_refused_unless_it_is_the_last,
        an_empty_part_alone_is_an_empty_object,
    ]
}

fn part(byte: u8, size: usize) -> Bytes {
    vec![byte; size].into()
}

async fn upload<O: ObjectStore>(objects: &O, key: &str, upload: &str, bodies: &[Bytes]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(bodies) {
        parts.push(objects.upload_part(key, upload, number, body.clone()).await.unwrap());
    }
    parts
}

async fn is<O: ObjectStore>(objects: &O, key: &str, bodies: &[Bytes]) {
    let there = objects.get(key).await.unwrap().unwrap().body;
    assert!(there == bodies.concat(), "{} bytes, which are others", there.len());
    assert_eq!(objects.size(key).await.unwrap(), Some(there.len() as u64));
}

fn is_no_upload<T: std::fmt::Debug>(answer: Result<T, ArchiveError>, id: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, ArchiveError::NoUpload { upload, .. } if upload == id), "{error:?}");
}

async fn parts_are_one_object_once_they_are_complete<O: ObjectStore>(objects: O) {
    let key = "upload/whole part=1.bin";
    let bodies = [part(1, MIB_5), part(2, MIB_5 + 1), part(3, 7)];
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let parts = upload(&objects, key, &id, &bodies).await;
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(objects.get(key).await.unwrap(), None);
    assert_eq!(objects.list("upload/whole", None).await.unwrap(), []);
    // What is known of an upload is kept as JSON between invocations.
    let parts: Vec<Part> = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
    objects.complete_upload(key, &id, &parts).await.unwrap();
    is(&objects, key, &bodies).await;
    let at = MIB_5 as u64;
    assert_eq!(objects.get_range(key, at - 1..at + 1).await.unwrap(), [1, 2].as_slice());
    assert_eq!(objects.list("upload/whole", None).await.unwrap().len(), 1);
}

async fn a_part_sent_again_replaces_the_one_before<O: ObjectStore>(objects: O) {
    let key = "upload/again";
    objects.put(key, TEXT, "before".into()).await.unwrap();
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let replaced = upload(&objects, key, &id, &[part(1, MIB_5), part(2, 5)]).await;
    let bodies = [part(3, MIB_5), part(4, 6)];
    let parts = upload(&objects, key, &id, &bodies).await;
    assert_ne!(replaced, parts);
    assert_eq!(objects.get(key).await.unwrap().unwrap().body, "before");
    objects.complete_upload(key, &id, &parts).await.unwrap();
    is(&objects, key, &bodies).await;
}

async fn an_upload_completed_twice_is_complete<O: ObjectStore>(objects: O) {
    let key = "upload/twice";
    let bodies = [part(1, MIB_5), part(2, 9)];
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let parts = upload(&objects, key, &id, &bodies).await;
    for _ in 0..3 {
        objects.complete_upload(key, &id, &parts).await.unwrap();
        is(&objects, key, &bodies).await;
    }
    // Whose object was replaced since is not complete.
    let other = objects.begin_upload(key, TEXT).await.unwrap();
    let others = upload(&objects, key, &other, &[part(3, 3)]).await;
    objects.complete_upload(key, &other, &others).await.unwrap();
    objects.complete_upload(key, &other, &others).await.unwrap();
    is(&objects, key, &[part(3, 3)]).await;
    objects.abort_upload(key, &other).await.unwrap();
    is(&objects, key, &[part(3, 3)]).await;
}

async fn an_upload_given_up_is_gone<O: ObjectStore>(objects: O) {
    let key = "upload/given-up";
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let parts = upload(&objects, key, &id, &[part(1, 10)]).await;
    for _ in 0..2 {
        objects.abort_upload(key, &id).await.unwrap();
    }
    is_no_upload(objects.upload_part(key, &id, 2, part(2, 10)).await, &id);
    is_no_upload(objects.complete_upload(key, &id, &parts).await, &id);
    objects.put(key, TEXT, "another".into()).await.unwrap();
    is_no_upload(objects.complete_upload(key, &id, &parts).await, &id);
    assert_eq!(objects.get(key).await.unwrap().unwrap().body, "another");
}

async fn parts_that_are_not_the_uploaded_ones_are_refused<O: ObjectStore>(objects: O) {
    let key = "upload/others";
    let bodies = [part(1, MIB_5), part(2, 4)];
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let parts = upload(&objects, key, &id, &bodies).await;
    let missing = Part { number: 3, ..parts[1].clone() };
    let another = Part { etag: parts[1].etag.clone(), ..parts[0].clone() };
    for named in [vec![parts[0].clone(), missing], vec![another, parts[1].clone()]] {
        let error = objects.complete_upload(key, &id, &named).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Refused { action: "s3:PutObject", .. }), "{error:?}");
        assert_eq!(objects.get(key).await.unwrap(), None);
    }
    objects.complete_upload(key, &id, &parts).await.unwrap();
    is(&objects, key, &bodies).await;
}

async fn a_part_too_small_is_refused_unless_it_is_the_last<O: ObjectStore>(objects: O) {
    let key = "upload/small";
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let parts = upload(&objects, key, &id, &[part(1, MIB_5 - 1), part(2, 1)]).await;
    let error = objects.complete_upload(key, &id, &parts).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Refused { .. }), "{error:?}");
    assert_eq!(objects.get(key).await.unwrap(), None);
    objects.abort_upload(key, &id).await.unwrap();
}

async fn an_empty_part_alone_is_an_empty_object<O: ObjectStore>(objects: O) {
    let key = "upload/empty";
    let id = objects.begin_upload(key, TEXT).await.unwrap();
    let parts = upload(&objects, key, &id, &[Bytes::new()]).await;
    objects.complete_upload(key, &id, &parts).await.unwrap();
    is(&objects, key, &[]).await;
}
