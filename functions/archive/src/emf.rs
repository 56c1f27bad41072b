//! Metrics of jobs, as EMF lines. Their units have names of their own: they would hide what batches cost.

use serde_json::json;
use tidemark_archive::manifest::Manifest;
use tidemark_ledger::Audit;
use tidemark_runtime::telemetry::{Metric, Unit, emf};

use crate::Upkeep;

/// When and by whom a job was done.
#[derive(Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) started_ms: i64,
    pub(crate) ended_ms: i64,
}

impl Stamp<'_> {
    fn line(self, metrics: &[Metric]) -> String {
        emf(self.namespace, "archive", self.ended_ms, metrics, json!({"requestId": self.request_id}))
    }

    /// Of a run that is finished: `ArchiveRuns` is what an operator is to be called for if it stays away.
    pub(crate) fn daily(self, manifest: &Manifest) -> String {
        self.line(&[
            ("ArchiveRuns", Unit::Count, 1.0),
            ("ArchiveInvocations", Unit::Count, f64::from(manifest.invocations)),
            ("ArchiveRows", Unit::Count, manifest.rows as f64),
            ("ArchiveEntities", Unit::Count, manifest.entities as f64),
            ("ArchiveExpired", Unit::Count, manifest.expired as f64),
            ("ArchiveUnreadable", Unit::Count, manifest.unreadable as f64),
            ("ArchiveFiles", Unit::Count, manifest.files.len() as f64),
            ("ArchiveBytes", Unit::Bytes, manifest.bytes() as f64),
            ("ArchivePlans", Unit::Count, manifest.plans as f64),
            ("ArchiveReadUnits", Unit::Count, manifest.units.read),
            ("ArchiveWriteUnits", Unit::Count, manifest.units.write),
            ("PlansSwept", Unit::Count, manifest.plans_swept as f64),
            ("ArchiveMs", Unit::Milliseconds, (self.ended_ms - self.started_ms) as f64),
        ])
    }

    pub(crate) fn report(self, manifest: &Manifest) -> String {
        self.line(&[
            ("ReportFiles", Unit::Count, manifest.files.len() as f64),
            ("ReportBytes", Unit::Bytes, manifest.bytes() as f64),
            ("ReportReadUnits", Unit::Count, manifest.units.read),
            ("ReportMs", Unit::Milliseconds, (self.ended_ms - self.started_ms) as f64),
        ])
    }

    pub(crate) fn upkeep(self, done: &Upkeep) -> String {
        self.line(&[
            ("PlansSwept", Unit::Count, done.finished as f64),
            ("FloorsSet", Unit::Count, done.floors as f64),
            ("RowsRanked", Unit::Count, done.ranked as f64),
        ])
    }

    /// `AuditDrift` is what an operator is to be called for.
    pub(crate) fn audit(self, audit: &Audit) -> String {
        let total = audit.total();
        let count = |n: usize| n as f64;
        self.line(&[
            ("AuditRows", Unit::Count, count(total.rows)),
            ("AuditDrift", Unit::Count, count(audit.remaining())),
            ("AuditRepaired", Unit::Count, count(total.repaired)),
            ("AuditUndecided", Unit::Count, count(total.undecided)),
            ("AuditSkipped", Unit::Count, count(total.skipped)),
            ("AuditForgotten", Unit::Count, count(total.forgotten)),
            ("AuditUnfinished", Unit::Count, f64::from(u8::from(audit.unfinished))),
            ("AuditReadUnits", Unit::Count, audit.read_units),
            ("AuditWriteUnits", Unit::Count, audit.write_units),
        ])
    }
}
