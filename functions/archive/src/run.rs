//! A daily run between its invocations: how far it has come, and who is at it. One object, written under
//! conditions, so that of two invocations one wins.
//!
//! An invocation holds the run until shortly after its own deadline: then Lambda has ended it. What it had begun
//! since the last time the run was saved is given up by its successor.

use serde::{Deserialize, Serialize};
use tidemark_archive::layout::RUN;
use tidemark_archive::manifest::{Consumed, Holds};
use tidemark_archive::{Condition, ObjectStore, Upload, Uploaded};
use tidemark_ledger::{Cut, Units};
use tidemark_model::Key;
use tidemark_model::time::to_name;

use crate::ArchiveFault;

/// A run that is not finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Its manifest's name.
    pub(crate) name: String,
    /// For when it was scheduled, in ms since 1970.
    pub(crate) at_ms: i64,
    /// The day it is of.
    pub(crate) date: String,
    /// When it began.
    pub(crate) started_ms: i64,
    /// The invocation that is at it.
    pub(crate) owner: String,
    /// Until when nobody else may be; 0 once that invocation has left it.
    pub(crate) held_until_ms: i64,
    /// Invocations so far.
    pub(crate) invocations: u32,
    /// What is to be done next.
    pub(crate) stage: Stage,
    /// How far the stage's scan has come, by segment.
    pub(crate) positions: Vec<Position>,
    /// The lanes' cursors from before the first scan, if entities are archived.
    pub(crate) cut: Option<Cut>,
    /// Files that are uploaded and not yet visible.
    pub(crate) files: Vec<Filed>,
    /// Uploads that are given up unless the invocation that began them saves what has become of them: keys and ids.
    pub(crate) open: Vec<(String, String)>,
    /// What was done so far.
    pub(crate) counts: Counts,
}

/// The parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    Begin,
    Rows,
    Entities,
    Plans,
    Publish,
}

/// How far a segment has been scanned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Position {
    /// From the beginning.
    Start,
    /// Up to a key.
    After(Key),
    /// To the end.
    End,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filed {
    pub(crate) uploaded: Uploaded,
    pub(crate) holds: Holds,
    pub(crate) view: Option<String>,
    pub(crate) rows: u64,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) entities: u64,
    pub(crate) expired: u64,
    pub(crate) unreadable: u64,
    pub(crate) plans: u64,
    pub(crate) swept: u64,
    pub(crate) units: Consumed,
}

impl Counts {
    pub(crate) fn spend(&mut self, units: Units) {
        self.units.read += units.read;
        self.units.write += units.write;
    }
}

/// Which run an invocation wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) at_ms: i64,
    pub(crate) date: String,
    pub(crate) segments: u32,
}

/// Who asks, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) owner: &'a str,
    pub(crate) now_ms: i64,
    pub(crate) until_ms: i64,
}

/// What a claim comes to.
pub(crate) enum Claim {
    /// The run is the claimant's.
    Held(Box<Held>),
    /// Another invocation is at one, or a newer one is to be finished first.
    Busy(Box<Run>),
    /// There is none.
    None,
}

/// A run in its owner's hands.
pub(crate) struct Held {
    pub(crate) run: Run,
    etag: String,
    /// As it was saved last.
    saved: Run,
}

/// Claims that lose a race in a row, before it is given up.
const CLAIMS: usize = 5;

/// What the run for a time in ms is called.
pub(crate) fn name(at_ms: i64) -> String {
    format!("daily-{}", to_name(at_ms))
}

/// Claims the run that is wanted, or else the one that is not finished.
pub(crate) async fn claim(
    objects: &impl ObjectStore,
    wanted: Option<&Wanted>,
    by: Claimant<'_>,
) -> Result<Claim, ArchiveFault> {
    for _ in 0..CLAIMS {
        let (condition, mut run) = match (objects.get(RUN).await?, wanted) {
            (None, None) => return Ok(Claim::None),
            (None, Some(wanted)) => (Condition::Absent, Run::new(wanted, by.now_ms)),
            (Some(object), wanted) => {
                let run: Run = serde_json::from_slice(&object.body).map_err(ArchiveFault::Run)?;
                // A day that comes late gives way: its rows would be those of now.
                let is_newer = wanted.is_some_and(|wanted| wanted.at_ms < run.at_ms);
                if is_newer || (run.held_until_ms > by.now_ms && run.owner != by.owner) {
                    return Ok(Claim::Busy(Box::new(run)));
                }
                let run = match wanted.filter(|wanted| wanted.at_ms != run.at_ms) {
                    Some(wanted) => {
                        tracing::warn!(run = run.name, "run was never finished, and another takes its place");
                        let files = run.files.into_iter().map(|file| (file.uploaded.key, file.uploaded.id));
                        Run { open: run.open.into_iter().chain(files).collect(), ..Run::new(wanted, by.now_ms) }
                    }
                    None => run,
                };
                (Condition::Unchanged(object.etag), run)
            }
        };
        by.owner.clone_into(&mut run.owner);
        run.held_until_ms = by.until_ms;
        run.invocations += 1;
        if let Some(etag) = put(objects, &run, &condition).await? {
            // Not before the run is the claimant's: another may have won it, and go on with what is uploaded.
            abort(objects, &std::mem::take(&mut run.open)).await;
            return Ok(Claim::Held(Box::new(Held { saved: run.clone(), run, etag })));
        }
    }
    Err(ArchiveFault::Contended)
}

impl Run {
    fn new(wanted: &Wanted, now_ms: i64) -> Self {
        Self {
            name: name(wanted.at_ms),
            at_ms: wanted.at_ms,
            date: wanted.date.clone(),
            started_ms: now_ms,
            owner: String::new(),
            held_until_ms: 0,
            invocations: 0,
            stage: Stage::Begin,
            positions: Position::starts(wanted.segments),
            cut: None,
            files: Vec::new(),
            open: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Notes an upload that has begun.
    pub(crate) fn opens(&mut self, upload: &Upload) {
        self.open.push((upload.key().to_owned(), upload.id().to_owned()));
    }

    /// Goes on to a stage that scans in as many segments.
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.positions.fill(Position::Start);
    }
}

impl Position {
    fn starts(segments: u32) -> Vec<Self> {
        (0..segments).map(|_| Self::Start).collect()
    }
}

impl Held {
    /// Saves the run.
    pub(crate) async fn save(&mut self, objects: &impl ObjectStore) -> Result<(), ArchiveFault> {
        let etag = put(objects, &self.run, &Condition::Unchanged(self.etag.clone())).await?;
        self.etag = etag.ok_or_else(|| ArchiveFault::Lost { run: self.run.name.clone() })?;
        self.saved = self.run.clone();
        Ok(())
    }

    /// Leaves the run as it was saved last, for whoever comes next; what was begun since is given up.
    pub(crate) async fn leave(mut self, objects: &impl ObjectStore) -> Result<(), ArchiveFault> {
        let begun = std::mem::take(&mut self.run.open);
        self.run = self.saved.clone();
        if !begun.is_empty() {
            self.run.open = begun;
        }
        self.run.held_until_ms = 0;
        // First: the last save may have been done although it failed, and then they are the run's files.
        self.save(objects).await?;
        abort(objects, &self.run.open).await;
        Ok(())
    }
}

/// Writes the run; its ETag, or `None` if somebody else has written it.
async fn put(objects: &impl ObjectStore, run: &Run, condition: &Condition) -> Result<Option<String>, ArchiveFault> {
    let body = serde_json::to_vec(run).map_err(ArchiveFault::Run)?;
    if let Some(etag) = objects.put_if(RUN, "application/json", body.clone(), condition).await? {
        return Ok(Some(etag));
    }
    // The request may have been sent twice, because its answer was lost.
    Ok(objects.get(RUN).await?.filter(|object| object.body == body).map(|object| object.etag))
}

/// Gives uploads up, as far as that is possible: what remains is the bucket's lifecycle's.
async fn abort(objects: &impl ObjectStore, uploads: &[(String, String)]) {
    for (key, id) in uploads {
        if let Err(error) = objects.abort_upload(key, id).await {
            tracing::warn!(key, %error, "upload could not be aborted; the bucket's lifecycle ends it");
        }
    }
}
