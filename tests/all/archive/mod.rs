//! The archive function on the embedded DynamoDB, and what is restored from what it writes.

mod again;
mod daily;
mod faults;
mod restored;
mod visible;

use std::collections::BTreeMap;

use archive::{Archive, Caller, Daily, Options};
use clap::Parser;
use tidemark_archive::manifest::{Holds, Manifest};
use tidemark_archive::parquet::{ArchivedRow, RowReader, StateReader};
use tidemark_archive::{ObjectStore, documents, sha256};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Ledger, Segment, Store};
use tidemark_local::cli;
use tidemark_local::stack::Stack;
use tidemark_model::time::{DAY_MS, utc};
use tidemark_model::views::{VIEWS, view_of};
use tidemark_model::{Key, Known};
use tidemark_tests::memory::MemoryObjects;
use tidemark_tests::{NOW_MS, call, handle, options};

use crate::audit::everything;

/// For when the runs are scheduled: 2025-01-02T02:00.
const AT_MS: i64 = NOW_MS + DAY_MS / 12;
const DATE: &str = "2025-01-02";

/// Running stores with a little of every stream.
async fn stack() -> Stack {
    let stack = Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap();
    handle(&stack.aggregate, everything()).await;
    stack
}

/// The function on a stack's tables and any objects.
fn archive<O: ObjectStore>(stack: &Stack, objects: O) -> Archive<DynamoStore, O> {
    archive_with(stack, objects, Options::default())
}

fn archive_with<O: ObjectStore>(stack: &Stack, objects: O, how: Options) -> Archive<DynamoStore, O> {
    let store = stack.aggregate.ledger.store().clone();
    Archive { ledger: Ledger::new(store, options(7)), objects, options: how }
}

/// The manifest of a run that must finish at once.
async fn run<O: ObjectStore + Clone + 'static>(archive: &Archive<DynamoStore, O>, at_ms: i64, call: Call) -> Manifest {
    done(archive.daily(at_ms, Caller("invocation"), call).await.unwrap())
}

fn done(daily: Daily) -> Manifest {
    match daily {
        Daily::Done(manifest) => *manifest,
        other => panic!("{other:?}"),
    }
}

/// What is, or should be, in an archive: rows by their views, and entities; in the order of their keys.
#[derive(Debug, Default, PartialEq)]
struct Content {
    rows: BTreeMap<&'static str, Vec<ArchivedRow>>,
    entities: Vec<(Key, Known)>,
}

impl Content {
    fn sorted(mut self) -> Self {
        self.rows.values_mut().for_each(|rows| rows.sort_by(|a, b| a.key.cmp(&b.key)));
        self.entities.sort_by(|(a, _), (b, _)| a.cmp(b));
        self
    }
}

/// What a manifest's files hold; each is there as the manifest says.
async fn content(objects: &impl ObjectStore, manifest: &Manifest) -> Content {
    let mut content = Content::default();
    assert!(manifest.files.is_sorted_by(|a, b| a.key < b.key), "{manifest:?}");
    for file in &manifest.files {
        let body = objects.get(&file.key).await.unwrap().unwrap_or_else(|| panic!("no {}", file.key)).body;
        assert_eq!((body.len() as u64, &sha256(&body)), (file.bytes, &file.sha256), "{}", file.key);
        let found = match file.holds {
            Holds::Rows => {
                let view = documents::view(file.view.as_deref().unwrap()).unwrap();
                assert_eq!(file.key.split('/').take(3).collect::<Vec<_>>()[..2], ["parquet", view.name]);
                let rows: Vec<ArchivedRow> = RowReader::new(view, body).unwrap().map(Result::unwrap).collect();
                let of_view = content.rows.entry(view.name).or_default();
                of_view.extend(rows.iter().cloned());
                rows.len()
            }
            Holds::Entities => {
                let entities: Vec<(Key, Known)> = StateReader::new(body).unwrap().map(Result::unwrap).collect();
                content.entities.extend(entities.iter().cloned());
                entities.len()
            }
            Holds::Plans => body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
            Holds::Lanes => serde_json::from_slice::<tidemark_ledger::Cursors>(&body).unwrap().len(),
            Holds::Snapshot | Holds::Report => 0,
        };
        assert_eq!(found as u64, file.rows, "{}", file.key);
    }
    let rows: usize = content.rows.values().map(Vec::len).sum();
    assert_eq!((rows as u64, content.entities.len() as u64), (manifest.rows, manifest.entities));
    content.sorted()
}

/// What the tables hold at a time, but for rows that cannot be read.
async fn tables(stack: &Stack, now_ms: i64) -> Content {
    let (store, mut content) = (stack.aggregate.ledger.store(), Content::default());
    let mut after = None;
    loop {
        let (rows, next) = store.rows(Segment::WHOLE, after.as_ref()).await.unwrap().value;
        for (key, row) in rows {
            let (Some(view), Ok(row)) = (view_of(&key), row) else { continue };
            if row.measures.is_kept(now_ms) {
                let marks = row.marks.iter().map(|(lane, seq)| (lane.as_str().into(), *seq)).collect();
                content.rows.entry(view.name).or_default().push(ArchivedRow { key, measures: row.measures, marks });
            }
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let (entities, next) = store.states(Segment::WHOLE, after.as_ref()).await.unwrap().value;
        let is_kept = |known: &Known| known.state.expires().is_none_or(|expires| expires > now_ms);
        content.entities.extend(entities.into_iter().filter(|(_, known)| is_kept(known)));
        after = next;
        if after.is_none() {
            return content.sorted();
        }
    }
}

/// Everything is as one run leaves it: the manifest's files, no others of that day, and no run under way.
async fn check_finished(objects: &MemoryObjects, manifest: &Manifest, expected: &Content, what: &str) {
    assert_eq!(&content(objects, manifest).await, expected, "{what}");
    assert_eq!((manifest.job.as_str(), manifest.date.as_str()), ("daily", DATE), "{what}");
    assert_eq!(manifest.scheduled, utc(AT_MS), "{what}");
    let mut expected: Vec<String> = manifest.files.iter().map(|file| file.key.clone()).collect();
    expected.push(layout_manifest(manifest));
    expected.sort();
    assert_eq!(keys(objects), expected, "{what}");
    let kept = objects.0.lock().unwrap()[&layout_manifest(manifest)].clone();
    assert_eq!(&serde_json::from_slice::<Manifest>(&kept).unwrap(), manifest, "{what}");
}

fn layout_manifest(manifest: &Manifest) -> String {
    tidemark_archive::layout::manifest(&manifest.run)
}

fn keys(objects: &MemoryObjects) -> Vec<String> {
    objects.0.lock().unwrap().keys().cloned().collect()
}

/// Whether every view and the entities are in it: else a comparison shows little.
fn check_rich(content: &Content) {
    assert_eq!(content.rows.len(), VIEWS.len(), "{:?}", content.rows.keys());
    assert!(content.entities.len() > 50);
}

/// More of some streams.
async fn more(stack: &Stack) {
    let products: Vec<String> =
        (0..9).map(|n| tidemark_tests::product(n, "Updated", 1_000 + n, "s9", "c9", "3.75", n)).collect();
    handle(&stack.aggregate, tidemark_tests::invocation("product.created", 0, 50, &products)).await;
}

fn at(now_ms: i64) -> Call {
    Call { now_ms, ..call() }
}
