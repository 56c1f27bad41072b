//! What readers see while a run replaces another: whole files, and the manifest last.

use std::sync::{Arc, Mutex};

use tidemark_archive::layout;
use tidemark_archive::manifest::Manifest;
use tidemark_archive::verify;
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::watched::{Did, Watched};
use tidemark_tests::{NOW_MS, call};

use super::{AT_MS, Content, archive, check_finished, keys, more, run, stack, tables};

fn has_manifest(did: &Did) -> bool {
    matches!(did, Did::Put { key, .. } if key.starts_with(layout::MANIFESTS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_become_visible_whole_and_the_manifest_last() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let looks = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&looks);
    let watched = Watched::new(&objects).looking(move |did, visible| {
        *seen.lock().unwrap() += 1;
        // Parquet ends with its magic number, JSON with its bracket, and lines with their ends.
        for (key, body) in visible {
            let is_whole = match key.rsplit('.').next().unwrap() {
                "parquet" => body.starts_with(b"PAR1") && body.ends_with(b"PAR1"),
                "jsonl" => body.is_empty() || body.ends_with(b"\n"),
                _ => body.ends_with(b"}"),
            };
            assert!(is_whole, "{key} after {did:?}");
        }
        let manifest = visible.iter().find(|(key, _)| key.starts_with(layout::MANIFESTS));
        if let Some((_, manifest)) = manifest {
            let manifest: Manifest = serde_json::from_slice(manifest).unwrap();
            let is_there = |key: &String| visible.contains_key(key);
            assert!(manifest.files.iter().all(|file| is_there(&file.key)), "after {did:?}");
        }
        match did {
            Did::Completed { .. } | Did::Deleted { .. } | Did::Began { .. } | Did::Uploaded | Did::Aborted { .. } => {}
            Did::Put { key, .. } => {
                let is_small = ["runs/", "analytics/", "manifests/"].iter().any(|folder| key.starts_with(folder));
                assert!(is_small, "{key} was put");
            }
            Did::Nothing => unreachable!(),
        }
    });
    let manifest = run(&archive(&stack, watched.clone()), AT_MS, call()).await;
    check_finished(&objects, &manifest, &tables(&stack, NOW_MS).await, "watched").await;
    assert!(*looks.lock().unwrap() > 40);
    let did = watched.did();
    let last = did.iter().position(has_manifest).unwrap();
    assert_eq!(&did[last + 1..], [Did::Deleted { key: layout::RUN.to_owned() }]);
    let completed = |did: &Did| matches!(did, Did::Completed { .. });
    let uploaded = |did: &Did| matches!(did, Did::Uploaded);
    let first = did.iter().position(completed).unwrap();
    let lane = did.iter().rposition(|did| matches!(did, Did::Began { id } if id.contains("recovery/"))).unwrap();
    assert!(lane < first, "nothing is visible before all was read");
    assert!(did[first..].iter().filter(|did| uploaded(did)).count() == 1, "but for the snapshot");
    assert_eq!(watched.open(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_time_again_replaces_what_was_written() {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let watched = Watched::new(&objects);
    let function = archive(&stack, watched.clone());
    let first = run(&function, AT_MS, call()).await;
    let before = objects.0.lock().unwrap().clone();
    let written = keys(&objects);
    more(&stack).await;
    let second = run(&function, AT_MS, call()).await;
    check_finished(&objects, &second, &tables(&stack, NOW_MS).await, "again").await;
    assert_eq!(keys(&objects), written, "the same keys");
    let after = objects.0.lock().unwrap().clone();
    let changed = |key: &str| before[key] != after[key];
    assert!(changed("parquet/sellers/dt=2025-01-02/part-00001.parquet"));
    assert!(changed("entities/dt=2025-01-02/part-00001.parquet"));
    assert!(first.files != second.files && watched.open().is_empty());
    let file = first.files.iter().find(|file| file.key.starts_with("parquet/sellers/")).unwrap();
    let replaced = verify(&objects, file).await.unwrap_err().to_string();
    assert!(replaced.contains("is another than its manifest says"), "{replaced}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_time_of_the_day_replaces_the_day_and_another_day_stands_beside_it() {
    const HOUR: i64 = 3_600_000;
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let function = archive(&stack, objects.clone());
    run(&function, AT_MS - 24 * HOUR, call()).await;
    let yesterdays = keys(&objects);
    run(&function, AT_MS - HOUR, call()).await;
    let earlier = keys(&objects);
    // A longer run had written parts that this one does not.
    let stale = |folder: String| format!("{folder}part-00002.parquet");
    let stale: Vec<String> =
        [layout::rows("sellers", super::DATE), layout::entities(super::DATE)].map(stale).into_iter().collect();
    for key in &stale {
        objects.0.lock().unwrap().insert(key.clone(), b"stale".to_vec());
    }
    more(&stack).await;
    let manifest = run(&function, AT_MS, call()).await;
    assert_eq!(super::content(&objects, &manifest).await, tables(&stack, NOW_MS).await);
    let keys = keys(&objects);
    assert!(yesterdays.iter().all(|key| keys.contains(key)));
    assert!(stale.iter().all(|key| !keys.contains(key)), "{keys:?}");
    let partition = |keys: &[String]| -> Vec<String> {
        keys.iter().filter(|key| key.contains("dt=2025-01-02/")).cloned().collect()
    };
    assert_eq!(partition(&keys), partition(&earlier));
    let content: Content = super::content(&objects, &manifest).await;
    assert!(content.rows["sellers"].iter().any(|row| row.key.pk == "SELLER#s9"));
}
