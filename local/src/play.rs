//! Playing streams: the deliveries, through the real function, with progress.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregate::{Aggregate, AggregateError, Rejected, Report};
use cpu_time::ProcessTime;
use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use tidemark_archive::ObjectStore;
use tidemark_ledger::{Call, Store};

use crate::delivery::Delivery;
use crate::feed::{self, Log, Record};

/// What playing did and cost.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Records in the streams, each once.
    pub events: usize,
    /// Records delivered, redeliveries included.
    pub delivered: usize,
    /// Invocations.
    pub invocations: usize,
    /// Deliveries that changed nothing new.
    pub duplicates: usize,
    /// Records past their retention.
    pub late: usize,
    /// Transitions planned again because another lane was first.
    pub conflicts: usize,
    /// Read request units consumed.
    pub read_units: f64,
    /// Write request units consumed.
    pub write_units: f64,
    /// The records set aside, each once, in the order of topic, partition and offset.
    pub rejects: BTreeSet<Rejected>,
    /// Wall-clock time.
    pub elapsed: Duration,
    /// CPU time of the whole process, stores included.
    pub cpu: Duration,
}

/// An invocation that failed for good.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The function refused it.
    #[error("invocation failed")]
    Invocation(#[from] AggregateError),
    /// It could not be made.
    #[error("invocation could not be made")]
    Payload(#[from] serde_json::Error),
    /// It panicked.
    #[error("invocation panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Plays logs through the function, a wave of deliveries after the other.
///
/// # Errors
/// The first failure.
pub async fn play<S, O>(
    aggregate: &Arc<Aggregate<S, O>>,
    logs: &[Log],
    waves: Vec<Vec<Delivery>>,
) -> Result<Played, PlayError>
where
    S: Store + 'static,
    O: ObjectStore + 'static,
{
    let total: usize = waves.iter().flatten().flatten().map(|slice| slice.records.len()).sum();
    let progress = progress(total);
    let (started, cpu) = (Instant::now(), ProcessTime::now());
    let now_ms = feed::clock_ms(logs);
    let mut played = Played { events: logs.iter().map(|log| log.records.len()).sum(), ..Played::default() };
    for wave in waves {
        let invocations = wave.iter().map(|delivery| invoke(aggregate, logs, delivery, now_ms, &progress));
        for report in try_join_all(invocations).await? {
            played.add(report);
        }
    }
    progress.finish_and_clear();
    played.elapsed = started.elapsed();
    played.cpu = cpu.elapsed();
    Ok(played)
}

async fn invoke<S, O>(
    aggregate: &Arc<Aggregate<S, O>>,
    logs: &[Log],
    delivery: &Delivery,
    now_ms: i64,
    progress: &ProgressBar,
) -> Result<Report, PlayError>
where
    S: Store + 'static,
    O: ObjectStore + 'static,
{
    let slices: Vec<&[Record]> =
        delivery.iter().filter_map(|slice| logs.get(slice.log)?.records.get(slice.records.clone())).collect();
    let payload = feed::payload(&slices)?;
    let aggregate = Arc::clone(aggregate);
    let call = Call { now_ms, deadline: None };
    let (report, outcome) = tokio::spawn(async move { aggregate.handle(payload, call).await }).await?;
    outcome?;
    progress.inc(report.records as u64);
    Ok(report)
}

fn progress(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} records  {per_sec}  {eta} left");
    ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Played {
    fn add(&mut self, report: Report) {
        self.invocations += 1;
        self.delivered += report.records;
        self.duplicates += report.duplicates;
        self.late += report.late;
        self.conflicts += report.conflicts;
        self.read_units += report.read_units;
        self.write_units += report.write_units;
        self.rejects.extend(report.rejects);
    }
}
