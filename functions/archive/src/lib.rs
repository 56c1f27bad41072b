//! The archive function: what schedules ask for. Daily snapshots and Parquet, reports, upkeep, audits.
//!
//! It translates: rows and entities (ledger) to files (archive). What it writes to the tables, it writes through
//! the ledger alone.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod daily;
mod emf;
mod history;
mod job;
mod lambda;
mod output;
mod pace;
mod publish;
mod recovery;
mod report;
mod run;
mod scan;
mod snapshot;
mod upkeep;

use tidemark_archive::ArchiveError;
use tidemark_ledger::{Ledger, LedgerError};
use tidemark_model::time::{DAY_MS, Zone};

pub use daily::{Caller, Daily};
pub use job::{Job, JobError};
pub use lambda::run;
pub use upkeep::{Upkeep, audit, upkeep};

/// The function, on any store.
pub struct Archive<S, O> {
    /// The tables.
    pub ledger: Ledger<S>,
    /// The bucket.
    pub objects: O,
    /// How runs are done.
    pub options: Options,
}

/// How runs are done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose days snapshots are of.
    pub zone: Zone,
    /// Whether entities are archived, too, with what it takes to restore the tables from them.
    pub entities: bool,
    /// Parts of a table that are scanned beside each other.
    pub segments: u32,
    /// Read units a second that scans may consume.
    pub read_units: f64,
    /// Places of the lists in reports.
    pub top: usize,
    /// For how many ms closing totals are kept in the state table, if they are.
    pub history_ms: Option<i64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            zone: Zone::default(),
            entities: true,
            segments: 4,
            read_units: 3_000.0,
            top: 100,
            history_ms: Some(30 * DAY_MS),
        }
    }
}

/// A run that failed: its schedule tries again, and goes on where it was saved last.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// The tables.
    #[error("tables could not be read")]
    Ledger(#[from] LedgerError),
    /// The bucket.
    #[error(transparent)]
    Objects(#[from] ArchiveError),
    /// The object that says how far the run has come.
    #[error("object runs/daily.json is not the state of a run; delete it to begin anew")]
    Run(#[source] serde_json::Error),
    /// Another invocation has taken the run over.
    #[error("another invocation has taken over run {run}")]
    Lost {
        /// The run's name.
        run: String,
    },
    /// Another day's run is not finished, and an invocation is at it.
    #[error("an invocation is at run {run}; invoke again when it has ended, if this is not tried again by then")]
    Busy {
        /// That run.
        run: String,
    },
    /// Other invocations were faster, again and again.
    #[error("other invocations claim the run at the same time, again and again")]
    Contended,
    /// The process is shutting down.
    #[error("process is shutting down; the run goes on where it was saved")]
    Stopping,
}
