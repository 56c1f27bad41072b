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
use tidemark_ledger::{Call, Ledger, LedgerError, Receipt, Store, off_thread};
use tidemark_model::kafka::InvocationError;
use tidemark_model::{Batch, Settings, decode};
use tokio::time::timeout_at;

pub use lambda::run;
pub use report::{Rejected, Report};

/// The function, on any store.
pub struct Aggregate<S, O> {
    /// Where batches are committed.
    pub ledger: Ledger<S>,
    /// Where bad records go.
    pub quarantine: Quarantine<O>,
    /// How records are decoded; the time is each invocation's.
    pub settings: Settings,
}

/// An invocation that failed: all of its records will come again.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The payload is not a Kafka invocation.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
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

impl<S: Store, O: ObjectStore> Aggregate<S, O> {
    /// Handles one invocation's payload: every partition in it is a lane, committed beside the
    /// others; one that fails does not undo them. What was done is reported in any case.
    ///
    /// # Errors
    /// One of the failures, if any; all failures are logged.
    pub async fn handle(&self, payload: Bytes, call: Call) -> (Report, Result<(), AggregateError>) {
        let settings = Settings { now_ms: call.now_ms, ..self.settings.clone() };
        let mut report = Report::default();
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

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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
