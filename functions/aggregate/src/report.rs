//! What an invocation did, for logs, metrics and callers.

use serde::Serialize;
use serde_json::json;
use tidemark_ledger::Receipt;
use tidemark_model::Batch;
use tidemark_runtime::telemetry::{Unit, emf};

/// The sums over an invocation's partitions: units and changes of all, records of those that were
/// committed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Records in the invocation.
    pub records: usize,
    /// Records that changed nothing new.
    pub duplicates: usize,
    /// Records past the retention of their entity or window, and windows that a late change left out.
    pub late: usize,
    /// Well-formed records that said nothing, such as tombstones.
    pub empty: usize,
    /// Changes that claimed another state before them than the stored one, which won.
    pub contradictions: usize,
    /// Metric points of tag sets beyond the limit, counted as overflow.
    pub overflow: usize,
    /// Entities changed.
    pub entities: usize,
    /// Rows changed.
    pub rows: usize,
    /// Transitions planned again because another lane was first.
    pub conflicts: usize,
    /// Pending plans of earlier invocations finished first.
    pub redone: usize,
    /// Read request units consumed.
    pub read_units: f64,
    /// Write request units consumed.
    pub write_units: f64,
    /// The newest Kafka timestamp, in ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_ms: Option<i64>,
    /// The records set aside.
    pub rejects: Vec<Rejected>,
    /// Partitions that failed because offsets started again or two lanes have one id.
    #[serde(skip)]
    pub epoch_errors: usize,
}

/// A record set aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rejected {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Why.
    pub reason: String,
}

impl Report {
    /// What was done and spent, for a partition that failed, too.
    pub(crate) fn add_spent(&mut self, receipt: &Receipt) {
        self.entities += receipt.entities;
        self.rows += receipt.rows;
        self.conflicts += receipt.conflicts;
        self.redone += receipt.redone;
        self.read_units += receipt.read_units;
        self.write_units += receipt.write_units;
    }

    /// The records of a partition that was committed.
    pub(crate) fn add_committed(&mut self, batch: &Batch, receipt: &Receipt) {
        self.records += batch.positions.len();
        self.duplicates += receipt.duplicates;
        self.late += batch.late + receipt.late;
        self.empty += batch.empty;
        self.contradictions += receipt.contradictions;
        self.overflow += receipt.overflow;
        self.newest_ms = self.newest_ms.max(batch.newest_ms());
        self.rejects.extend(batch.rejects.iter().map(|reject| Rejected {
            topic: batch.topic.clone(),
            partition: batch.partition,
            offset: reject.offset,
            reason: reject.reason.clone(),
        }));
    }

    /// The metrics of one invocation as an EMF line.
    pub(crate) fn emf(&self, namespace: &str, request_id: &str, started_ms: i64, ended_ms: i64) -> String {
        let count = |n: usize| n as f64;
        let mut metrics = vec![
            ("EpochErrors", Unit::Count, count(self.epoch_errors)),
            ("Records", Unit::Count, count(self.records)),
            ("Rejects", Unit::Count, count(self.rejects.len())),
            ("Duplicates", Unit::Count, count(self.duplicates)),
            ("Late", Unit::Count, count(self.late)),
            ("Empty", Unit::Count, count(self.empty)),
            ("Contradictions", Unit::Count, count(self.contradictions)),
            ("OverflowPoints", Unit::Count, count(self.overflow)),
            ("Conflicts", Unit::Count, count(self.conflicts)),
            ("RedonePlans", Unit::Count, count(self.redone)),
            ("ReadUnits", Unit::Count, self.read_units),
            ("WriteUnits", Unit::Count, self.write_units),
            ("BatchLatencyMs", Unit::Milliseconds, (ended_ms - started_ms) as f64),
        ];
        if let Some(newest) = self.newest_ms {
            metrics.push(("NewestRecordAgeMs", Unit::Milliseconds, (ended_ms - newest).max(0) as f64));
        }
        emf(namespace, "aggregate", ended_ms, &metrics, json!({"requestId": request_id}))
    }
}
