//! A daily run: all rows, and all entities, into Parquet files; then, at one stroke for each file, what readers see.
//!
//! Memory holds a page of each segment and a row group of each file, whatever the tables' size. A run that nears its
//! deadline ends its files, saves how far it has come and leaves the rest to a following invocation: of its own
//! schedule or of another one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tidemark_archive::manifest::{Holds, Manifest};
use tidemark_archive::parquet::{push_row, push_state, row_table, state_table};
use tidemark_archive::{ArchiveError, ObjectStore, layout};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Row, Store, StoreError};
use tidemark_model::Key;
use tidemark_model::views::{VIEWS, view_of};
use tokio::time::Instant;

use crate::history::has_history;
use crate::output::Output;
use crate::run::{Claim, Claimant, Counts, Held, Stage, Wanted, claim};
use crate::scan::{Scan, pages};
use crate::upkeep::LONGEST_INVOCATION_MS;
use crate::{Archive, ArchiveFault};

/// Time that is kept for ending files and saving the run: a minute, or a quarter of a short invocation.
const RESERVE: Duration = Duration::from_secs(60);
/// A run is held for a little longer than its invocation lasts: its last requests may still be on their way.
const HELD_AFTER_MS: i64 = 30_000;

/// Who runs it: an invocation's id, by which a repetition of it is known.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a>(pub &'a str);

/// What an invocation came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Daily {
    /// The run is finished.
    Done(Box<Manifest>),
    /// The time was up: a following invocation goes on.
    Continues {
        /// The run.
        run: String,
        /// Invocations so far.
        invocations: u32,
        /// Rows and entities so far.
        items: u64,
    },
    /// Another invocation is at it, or at another day's, or a newer run is not finished: this one did nothing.
    Busy {
        /// That run.
        run: String,
        /// Until when that invocation may be at it, in ms since 1970; 0 if nobody is at a newer run just now.
        until_ms: i64,
    },
}

impl<O: ObjectStore + Clone + 'static> Archive<DynamoStore, O> {
    /// Writes the snapshot of the day of a time in ms; the same time again replaces it.
    ///
    /// # Errors
    /// The first failure; the run stays where it was saved last.
    pub async fn daily(&self, at_ms: i64, caller: Caller<'_>, call: Call) -> Result<Daily, ArchiveFault> {
        let date = self.options.zone.day(at_ms).date.to_string();
        let wanted = Wanted { at_ms, date, segments: self.options.segments };
        match claim(&self.objects, Some(&wanted), claimant(caller, call)).await? {
            Claim::Held(held) => self.work_or_leave(*held, call).await,
            Claim::Busy(run) => {
                tracing::warn!(run = run.name, until_ms = run.held_until_ms, "another invocation is at a daily run");
                Ok(Daily::Busy { run: run.name, until_ms: run.held_until_ms })
            }
            Claim::None => Err(ArchiveFault::Contended),
        }
    }

    /// Goes on with a daily run that is not finished, if there is one that nobody is at.
    ///
    /// # Errors
    /// The first failure; the run stays where it was saved last.
    pub async fn resume(&self, caller: Caller<'_>, call: Call) -> Result<Option<Daily>, ArchiveFault> {
        match claim(&self.objects, None, claimant(caller, call)).await? {
            Claim::Held(held) => self.work_or_leave(*held, call).await.map(Some),
            Claim::Busy(_) | Claim::None => Ok(None),
        }
    }

    async fn work_or_leave(&self, mut held: Held, call: Call) -> Result<Daily, ArchiveFault> {
        let outcome = self.work(&mut held, call).await;
        if matches!(outcome, Ok(Daily::Done(_))) {
            return outcome;
        }
        if let Err(error) = held.leave(&self.objects).await {
            tracing::warn!(%error, "run could not be left; it is held until its time is up");
        }
        outcome
    }

    async fn work(&self, held: &mut Held, call: Call) -> Result<Daily, ArchiveFault> {
        let stop = call.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            deadline - RESERVE.min(left / 4)
        });
        loop {
            let is_done = match held.run.stage {
                Stage::Begin => {
                    self.begin(held, call).await?;
                    true
                }
                Stage::Rows => self.write_rows(held, call, stop).await?,
                Stage::Entities => self.write_entities(held, call, stop).await?,
                Stage::Plans => {
                    self.write_recovery(held, call).await?;
                    true
                }
                Stage::Publish => return Ok(Daily::Done(Box::new(self.publish(held, call).await?))),
            };
            if is_done {
                held.run.enter(match held.run.stage {
                    Stage::Begin => Stage::Rows,
                    Stage::Rows if held.run.cut.is_some() => Stage::Entities,
                    Stage::Entities => Stage::Plans,
                    _ => Stage::Publish,
                });
            }
            held.save(&self.objects).await?;
            if stop.is_some_and(|stop| Instant::now() >= stop) {
                let run = &held.run;
                let items = run.counts.rows + run.counts.entities;
                tracing::info!(run = run.name, items, "time is up; a following invocation goes on");
                return Ok(Daily::Continues { run: run.name.clone(), invocations: run.invocations, items });
            }
        }
    }

    /// Finishes what was left pending, and notes where the lanes are.
    async fn begin(&self, held: &mut Held, call: Call) -> Result<(), ArchiveFault> {
        let swept = self.ledger.sweep(call.now_ms - LONGEST_INVOCATION_MS, call).await?;
        held.run.counts.swept = swept.finished as u64;
        if self.options.entities {
            held.run.cut = Some(self.ledger.begin_cut(call).await?);
        }
        Ok(())
    }

    /// Scans the rows; whether to the end.
    async fn write_rows(&self, held: &mut Held, call: Call, stop: Option<Instant>) -> Result<bool, ArchiveFault> {
        let number = held.run.invocations;
        let mut outputs = BTreeMap::new();
        for view in VIEWS {
            let key = part(&layout::rows(view.name, &held.run.date), number);
            let table = row_table(view).map_err(|source| ArchiveError::Table { key: key.clone(), source })?;
            let output = Output::begin(&self.objects, key, table, Holds::Rows, Some(view.name)).await?;
            held.run.opens(output.upload());
            outputs.insert(view.name, output);
        }
        held.save(&self.objects).await?;

        let closing = self.closing(&held.run);
        let (store, mut counts) = (self.ledger.store(), held.run.counts);
        let mut scan = Scan::new(held, self.options.read_units, stop);
        let mut pages =
            pages(
                &self.ledger,
                &scan,
                call,
                move |segment, after| async move { store.rows(segment, after.as_ref()).await },
            );
        while let Some(page) = scan.next(&mut pages).await {
            let page = page?;
            counts.spend(page.units);
            let mut closed = Vec::new();
            for (key, row) in &page.found {
                let Some(row) = kept(key, row, call.now_ms, &mut counts) else { continue };
                let Some(view) = view_of(key) else {
                    counts.unreadable += 1;
                    tracing::error!(pk = %key.pk, sk = %key.sk, "row belongs to no view of this release");
                    continue;
                };
                if let Some(table) = outputs.get_mut(view.name).and_then(Output::table) {
                    let marks = row.marks.iter().map(|(lane, seq)| (lane.as_str(), *seq));
                    push_row(table, view, key, &row.measures, marks);
                    counts.rows += 1;
                    if has_history(view) && !row.measures.is_empty() {
                        closed.push((key.clone(), row.measures.clone()));
                    }
                }
            }
            for output in outputs.values_mut() {
                output.flush_if_full(&self.objects).await?;
            }
            if let Some(closing) = &closing {
                let units = self.close(closing, &closed, call).await?;
                counts.spend(units);
                scan.pay(units).await;
            }
            if scan.has_come(page.number, page.next) {
                break;
            }
        }
        drop(pages);
        for output in outputs.into_values() {
            held.run.files.extend(output.close(&self.objects).await?);
        }
        Ok(scan.end(&mut held.run, counts))
    }

    /// Scans the entities; whether to the end.
    async fn write_entities(&self, held: &mut Held, call: Call, stop: Option<Instant>) -> Result<bool, ArchiveFault> {
        let key = part(&layout::entities(&held.run.date), held.run.invocations);
        let fault = |source| ArchiveError::Table { key: key.clone(), source };
        let table = state_table().map_err(fault)?;
        let mut output = Output::begin(&self.objects, key.clone(), table, Holds::Entities, None).await?;
        held.run.opens(output.upload());
        held.save(&self.objects).await?;

        let (store, mut counts) = (self.ledger.store(), held.run.counts);
        let mut scan = Scan::new(held, self.options.read_units, stop);
        let mut pages = pages(&self.ledger, &scan, call, move |segment, after| async move {
            store.states(segment, after.as_ref()).await
        });
        while let Some(page) = scan.next(&mut pages).await {
            let page = page?;
            counts.spend(page.units);
            for (key, known) in &page.found {
                if known.state.expires().is_some_and(|expires| expires <= call.now_ms) {
                    counts.expired += 1;
                } else if let Some(table) = output.table() {
                    let encoded = push_state(table, key, known);
                    encoded.map_err(|source| ArchiveError::Encode { key: key.pk.to_string(), source })?;
                    counts.entities += 1;
                }
            }
            output.flush_if_full(&self.objects).await?;
            if scan.has_come(page.number, page.next) {
                break;
            }
        }
        drop(pages);
        held.run.files.extend(output.close(&self.objects).await?);
        Ok(scan.end(&mut held.run, counts))
    }
}

/// A row that belongs into the archive.
fn kept<'a>(key: &Key, row: &'a Result<Row, StoreError>, now_ms: i64, counts: &mut Counts) -> Option<&'a Row> {
    match row {
        Ok(row) if row.measures.is_kept(now_ms) => Some(row),
        Ok(_) => {
            counts.expired += 1;
            None
        }
        Err(error) => {
            counts.unreadable += 1;
            tracing::error!(pk = %key.pk, sk = %key.sk, %error, "row cannot be read, and is left out");
            None
        }
    }
}

fn claimant<'a>(caller: Caller<'a>, call: Call) -> Claimant<'a> {
    let left = call.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let left_ms = left.map_or(LONGEST_INVOCATION_MS, |left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
    Claimant { owner: caller.0, now_ms: call.now_ms, until_ms: call.now_ms + left_ms + HELD_AFTER_MS }
}

/// The key of a part, by the invocation that wrote it.
fn part(folder: &str, number: u32) -> String {
    format!("{folder}part-{number:05}.parquet")
}
