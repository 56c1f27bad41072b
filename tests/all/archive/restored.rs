//! Tables restored from an archive: as of its cut, and exact when the stream goes on.

use std::sync::Arc;

use aggregate::Aggregate;
use archive::Options;
use indicatif::ProgressBar;
use serde_json::json;
use tidemark_archive::manifest::{Holds, Manifest};
use tidemark_archive::{ObjectStore, Quarantine};
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Call, Ledger, Options as LedgerOptions, Store};
use tidemark_local::delivery::{chaotic, orderly};
use tidemark_local::feed::{self, Log};
use tidemark_local::play::play;
use tidemark_local::restore::{Restored, manifest, restore};
use tidemark_local::stack::Stack;
use tidemark_model::stream::STREAMS;
use tidemark_model::{Key, Known, Measures, Settings, views};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{TAKEN_MS, metric, with};
use tidemark_tests::watched::Watched;
use tidemark_tests::{aggregate, call, catalogue, fixture_lines, handle, invocation, options, product};

use super::{AT_MS, archive, archive_with, run, stack};
use crate::audit::looking;
use crate::{streams_truth, truth};

async fn put_back<S: Store, O: ObjectStore + Clone + 'static>(
    store: S,
    objects: &O,
    manifest: &Manifest,
    call: Call,
) -> Result<Restored, String> {
    let ledger = Ledger::new(store, options(7));
    let restored = restore(&ledger, objects, manifest, &ProgressBar::hidden(), call).await;
    restored.map_err(|error| tidemark_runtime::telemetry::chain(error.as_ref()))
}

/// Fresh tables beside a stack's.
async fn fresh(stack: &Stack, name: &str) -> DynamoStore {
    let names = Tables { state: format!("{name}-state"), views: format!("{name}-views") };
    for (resource, table) in [("StateTable", &names.state), ("ViewsTable", &names.views)] {
        tidemark_local::tables::create(&stack.clients.dynamodb, resource, table).await.unwrap();
    }
    DynamoStore::new(stack.clients.dynamodb.clone(), names)
}

/// The rows that say something: what has come to nothing is not restored.
fn told(tables: &views::Tables) -> Vec<&(Key, Measures)> {
    tables.rows.iter().filter(|(_, row)| !row.is_empty()).collect()
}

/// All streams that there is a truth of, and points of metrics.
fn logs() -> Vec<Log> {
    let points: Vec<Vec<u8>> = (0..600)
        .map(|n| with(&metric("app", n % 50, json!({"host": n % 3})), json!({"timestamp": TAKEN_MS + n})))
        .map(|point| point.to_string().into_bytes())
        .collect();
    let mut logs = truth::logs(&fixture_lines("products_contract.ndjson.gz"), 2);
    logs.extend(streams_truth::logs("orders", &fixture_lines("cdc_deployed.ndjson.gz")));
    logs.extend(streams_truth::logs("activity", &fixture_lines("track.ndjson.gz")));
    let metrics = STREAMS.iter().find(|stream| stream.name == "metrics").unwrap();
    logs.extend(feed::logs_of(metrics, points.iter().map(Vec::as_slice), 2));
    logs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_made_beside_commits_restores_to_the_truth() {
    let stack = Stack::start(&clap::Parser::parse_from(["tidemark"])).await.unwrap();
    let logs = Arc::new(logs());
    let call = Call { now_ms: feed::clock_ms(&logs), deadline: None };
    let plays = tokio::spawn({
        let (function, logs) = (Arc::clone(&stack.aggregate), Arc::clone(&logs));
        async move { play(&function, &logs, chaotic(&logs, 150, 6, 1)).await.map(|played| played.events).unwrap() }
    });
    let mut archives = Vec::new();
    while !plays.is_finished() {
        let objects = MemoryObjects::default();
        archives.push((run(&archive(&stack, objects.clone()), AT_MS, call).await, objects));
    }
    plays.await.unwrap();
    assert!(archives.iter().any(|(manifest, _)| manifest.plans > 0), "nothing was committed beside a run");
    let expected = stack.aggregate.ledger.store().read_tables(call.now_ms).await.unwrap();
    for at in [0, archives.len() / 2, archives.len() - 1] {
        let (manifest, objects) = &archives[at];
        let what = format!("archive {at} of {}, with {} plans", archives.len(), manifest.plans);
        let store = fresh(&stack, &format!("restored-{at}")).await;
        let first = put_back(store.clone(), objects, manifest, call).await.unwrap();
        let ledger = Ledger::new(store.clone(), LedgerOptions::default());
        let audit = ledger.audit(&looking(), call).await.unwrap();
        assert!(audit.drift.is_empty() && !audit.unfinished, "{what}: {:?}", audit.drift);
        let before = store.read_tables(call.now_ms).await.unwrap();
        assert_eq!(put_back(store.clone(), objects, manifest, call).await, Ok(first), "{what}");
        assert_eq!(store.read_tables(call.now_ms).await.unwrap().rows, before.rows, "{what}: again");

        let function = Aggregate::new(ledger, Quarantine::new(MemoryObjects::default(), 0), Settings::default());
        play(&Arc::new(function), &logs, orderly(&logs, 700, 4)).await.unwrap();
        let found = store.read_tables(call.now_ms).await.unwrap();
        truth::check(&truth::figures(&catalogue(&found)), &truth::truth(), &what);
        streams_truth::check_orders(&found, &what);
        streams_truth::check_tracked(&found, &what);
        assert_eq!(told(&found), told(&expected), "{what}");
        assert_eq!(found.listed, expected.listed, "{what}");
    }
}

/// A stack's archive.
async fn archived(how: Options) -> (Stack, MemoryObjects, Manifest) {
    let (stack, objects) = (stack().await, MemoryObjects::default());
    let manifest = run(&archive_with(&stack, objects.clone(), how), AT_MS, call()).await;
    (stack, objects, manifest)
}

type Held = (Vec<(Key, Measures, bool)>, Vec<(Key, Known)>, usize);

/// What a store holds.
fn held(store: &MemoryStore) -> Held {
    let items = store.items();
    let rows = items.rows.iter().map(|(key, row)| (key.clone(), row.measures.clone(), row.rank.is_some()));
    let entities = items.entities.iter().map(|(key, entity)| (key.clone(), entity.known.clone()));
    (rows.collect(), entities.collect(), items.cursors.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_dies_at_a_request_is_repeated() {
    let (_stack, objects, manifest) = archived(Options::default()).await;
    let whole = MemoryStore::default();
    let restored = put_back(whole.clone(), &objects, &manifest, call()).await.unwrap();
    assert_eq!((restored.lanes, restored.plans), (5, 0));
    for fault in Fault::ALL {
        for at in (0..).step_by(7) {
            let store = MemoryStore::default();
            let faulty = Faulty::new(store.clone(), fault, at);
            let outcome = put_back(faulty.clone(), &objects, &manifest, call()).await;
            let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            assert_eq!(outcome.is_err(), crashes && faulty.sent() > at, "{fault:?} at {at}: {outcome:?}");
            put_back(store.clone(), &objects, &manifest, call()).await.unwrap();
            assert_eq!(held(&store), held(&whole), "{fault:?} at {at}");
            if faulty.sent() <= at {
                break;
            }
        }
    }
    for at in 0.. {
        let (store, faulty) = (MemoryStore::default(), Watched::new(&objects).with(Fault::CrashBefore, at));
        let outcome = put_back(store.clone(), &faulty, &manifest, call()).await;
        assert_eq!(outcome.is_err(), faulty.sent() > at, "{at}: {outcome:?}");
        put_back(store.clone(), &objects, &manifest, call()).await.unwrap();
        assert_eq!(held(&store), held(&whole), "object request {at}");
        if faulty.sent() <= at {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_hold_something_else_are_left_as_they_are() {
    let (stack, objects, manifest) = archived(Options::default()).await;
    let store = MemoryStore::default();
    let event = product(1, "Created", 1, "s", "c", "1", 1);
    let function = aggregate(store.clone(), MemoryObjects::default(), 1);
    handle(&function, invocation("product.created", 3, 0, &[event])).await;
    let before = held(&store);
    let refused = put_back(store.clone(), &objects, &manifest, call()).await.unwrap_err();
    assert!(refused.contains("lane"), "{refused}");
    assert_eq!(held(&store), before);
    // The tables it was made of have gone on.
    super::more(&stack).await;
    let live = stack.aggregate.ledger.store();
    let before = live.read_tables(0).await.unwrap();
    put_back(live.clone(), &objects, &manifest, call()).await.unwrap_err();
    assert_eq!(live.read_tables(0).await.unwrap().rows, before.rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_replaced_lost_or_damaged_is_refused_before_anything_is_written() {
    let (stack, objects, manifest) = archived(Options::default()).await;
    for holds in [Holds::Rows, Holds::Entities, Holds::Plans, Holds::Lanes] {
        let file = manifest.files.iter().find(|file| file.holds == holds).unwrap();
        let body = objects.0.lock().unwrap()[&file.key].clone();
        let mut damaged = body.clone();
        damaged.push(b'\n');
        for other in [Some(damaged), None] {
            match other {
                Some(other) => drop(objects.0.lock().unwrap().insert(file.key.clone(), other)),
                None => drop(objects.0.lock().unwrap().remove(&file.key)),
            }
            let store = MemoryStore::default();
            let refused = put_back(store.clone(), &objects, &manifest, call()).await.unwrap_err();
            assert!(refused.contains(&file.key), "{refused}");
            assert_eq!(held(&store), held(&MemoryStore::default()));
        }
        objects.0.lock().unwrap().insert(file.key.clone(), body);
    }
    super::more(&stack).await;
    let later = run(&archive(&stack, objects.clone()), AT_MS + 1_000, call()).await;
    let store = MemoryStore::default();
    let refused = put_back(store.clone(), &objects, &manifest, call()).await.unwrap_err();
    assert!(refused.contains("a later run of that day may have replaced it"), "{refused}");
    put_back(store, &objects, &later, call()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_without_entities_says_that_it_restores_nothing() {
    let (_stack, objects, manifest) = archived(Options { entities: false, ..Options::default() }).await;
    let holds = |holds| manifest.files.iter().any(|file| file.holds == holds);
    assert!(holds(Holds::Rows) && ![Holds::Entities, Holds::Plans, Holds::Lanes].into_iter().any(holds));
    let store = MemoryStore::default();
    let refused = put_back(store.clone(), &objects, &manifest, call()).await.unwrap_err();
    assert_eq!(refused, "run daily-20250102_020000 holds no entities: ARCHIVE_ENTITIES was false");
    assert_eq!(held(&store), held(&MemoryStore::default()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_run_is_restored_unless_one_is_named() {
    let objects = MemoryObjects::default();
    let none = manifest(&objects, None).await.unwrap_err().to_string();
    assert_eq!(none, "there is no manifest of a daily run; name another bucket");
    for second in 0..1_005 {
        let run = format!("daily-20250102_{second:06}");
        let body = serde_json::to_vec(&Manifest { run: run.clone(), ..Manifest::default() }).unwrap();
        objects.put(&tidemark_archive::layout::manifest(&run), "", body).await.unwrap();
    }
    objects.put("manifests/report-20260102_020000.json", "", b"{}".to_vec()).await.unwrap();
    assert_eq!(manifest(&objects, None).await.unwrap().run, "daily-20250102_001004");
    assert_eq!(manifest(&objects, Some("daily-20250102_000003")).await.unwrap().run, "daily-20250102_000003");
    let missing = manifest(&objects, Some("daily-x")).await.unwrap_err().to_string();
    assert_eq!(missing, "there is no manifest manifests/daily-x.json");
}
