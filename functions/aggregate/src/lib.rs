//! The aggregate function: Kafka batches in, exact rows out.
//!
//! It translates: an invocation's bytes to batches (model), bad records to the quarantine
//! (archive), batches to commits (ledger). Poison never fails an invocation; broken
//! infrastructure fails all of it, and the batch comes again. Partial batch responses are not
//! used: the commit protocol makes redelivery free of effects.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod lambda;
mod raw_body;
mod report;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tidemark_archive::{ArchiveError, ObjectStore, Quarantine};
use tidemark_ledger::{Call, Ledger, LedgerError, Metered, Receipt, Retentions, Store, off_thread};
use tidemark_model::kafka::InvocationError;
use tidemark_model::{Batch, Settings, decode};
use tidemark_runtime::telemetry::chain;
use tokio::time::timeout_at;

pub use lambda::run;
pub use report::{Rejected, Report};

/// The function, on any store.
pub struct Aggregate<S, O> {
    /// Where batches are committed.
    pub ledger: Ledger<S>,
    /// Where bad records go.
    pub quarantine: Quarantine<O>,
    /// How records are decoded; the time is each invocation's, and apps may have retentions of their
    /// own.
    pub settings: Settings,
    retentions: Retentions,
}

/// An invocation that failed: all of its records will come again.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The payload is not a Kafka invocation.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// The retention settings could not be read.
    #[error("retention settings could not be read")]
    Settings(#[from] LedgerError),
    /// The process is shutting down.
    #[error("process is shutting down; the records will come again")]
    Stopping,
    /// Bad records could not be set aside, so nothing of their partition was committed.
    #[error("bad records of {topic}-{partition} could not be set aside")]
    Quarantine {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// A partition's records could not be committed.
    #[error("records of {topic}-{partition} could not be committed")]
    Commit {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        #[source]
        source: LedgerError,
    },
}

impl AggregateError {
    /// Whether an operator must raise the source epoch.
    pub fn needs_epoch(&self) -> bool {
        matches!(
            self,
            Self::Commit { source: LedgerError::TopicRecreated { .. } | LedgerError::LaneCollision { .. }, .. }
        )
    }
}

impl<S, O> Aggregate<S, O> {
    /// The function.
    pub fn new(ledger: Ledger<S>, quarantine: Quarantine<O>, settings: Settings) -> Self {
        Self { ledger, quarantine, settings, retentions: Retentions::default() }
    }
}

impl<S: Store, O: ObjectStore> Aggregate<S, O> {
    /// Handles one invocation's payload: every partition in it is a lane, committed beside the
    /// others; one that fails does not undo them. What was done is reported in any case.
    ///
    /// # Errors
    /// One of the failures, if any; all failures are logged.
    pub async fn handle(&self, payload: Bytes, call: Call) -> (Report, Result<(), AggregateError>) {
        let mut report = Report::default();
        let settings = match self.retentions.settings(&self.ledger, &self.settings, call).await {
            Ok(Metered { value, units }) => {
                report.read_units += units.read;
                value
            }
            Err(error) => return (report, Err(error.into())),
        };
        let batches = match off_thread(move || decode(&payload, &settings)).await {
            Some(Ok(batches)) => batches,
            Some(Err(error)) => return (report, Err(error.into())),
            None => return (report, Err(AggregateError::Stopping)),
        };
        let mut failure = None;
        for (batch, receipt, outcome) in join_all(batches.into_iter().map(|batch| self.commit(batch, call))).await {
            report.add_spent(&receipt);
            match outcome {
                Ok(()) => report.add_committed(&batch, &receipt),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "partition failed; its records will come again");
                    report.epoch_errors += usize::from(error.needs_epoch());
                    failure.get_or_insert(error);
                }
            }
        }
        (report, failure.map_or(Ok(()), Err))
    }

    /// Reads ahead what the first invocation would begin with.
    ///
    /// # Errors
    /// If it could not be read, which the first invocation will find out for itself.
    pub async fn prepare(&self, call: Call) -> Result<(), LedgerError> {
        self.retentions.settings(&self.ledger, &self.settings, call).await.map(drop)
    }

    async fn commit(&self, batch: Batch, call: Call) -> (Arc<Batch>, Receipt, Result<(), AggregateError>) {
        let batch = Arc::new(batch);
        if let Err(error) = self.set_aside(&batch, call).await {
            return (batch, Receipt::default(), Err(error));
        }
        let (receipt, outcome) = self.ledger.commit(&batch, call).await;
        if outcome.is_ok() {
            log_commit(&batch, &receipt);
        }
        let outcome = outcome.map_err(|source| AggregateError::Commit {
            topic: batch.topic.clone(),
            partition: batch.partition,
            source,
        });
        (batch, receipt, outcome)
    }

    async fn set_aside(&self, batch: &Batch, call: Call) -> Result<(), AggregateError> {
        let writing = self.quarantine.set_aside(batch);
        let outcome = match call.deadline {
            Some(deadline) => timeout_at(deadline, writing).await.map_err(|_| AggregateError::Commit {
                topic: batch.topic.clone(),
                partition: batch.partition,
                source: LedgerError::Deadline,
            })?,
            None => writing.await,
        };
        let set_aside = outcome.map_err(|source| AggregateError::Quarantine {
            topic: batch.topic.clone(),
            partition: batch.partition,
            source,
        })?;
        if let Some(set_aside) = set_aside {
            tracing::warn!(
                topic = batch.topic,
                partition = batch.partition,
                records = set_aside.records,
                key = set_aside.key,
                reason = batch.rejects.first().map(|reject| reject.reason.as_str()),
                "records set aside"
            );
        }
        Ok(())
    }
}

fn log_commit(batch: &Batch, receipt: &Receipt) {
    tracing::info!(
        lane = receipt.lane,
        topic = batch.topic,
        partition = batch.partition,
        records = batch.positions.len(),
        last_offset = batch.last_offset(),
        rejects = batch.rejects.len(),
        duplicates = receipt.duplicates,
        late = batch.late,
        empty = batch.empty,
        contradictions = receipt.contradictions,
        overflow = receipt.overflow,
        plans = receipt.plans,
        entities = receipt.entities,
        rows = receipt.rows,
        conflicts = receipt.conflicts,
        redone = receipt.redone,
        requests = receipt.requests,
        retries = receipt.retries,
        read_units = receipt.read_units,
        write_units = receipt.write_units,
        "batch committed"
    );
}
