//! The five reports, by queries of the rows that they show: never a scan.

use tidemark_archive::documents::{REPORTS, ReportKind};
use tidemark_archive::manifest::{File, Holds, Manifest};
use tidemark_archive::{ArchiveError, ObjectStore, layout};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, LedgerError, StoreError};
use tidemark_model::time::{to_name, utc};
use tidemark_model::views::Tables;
use tidemark_runtime::now_ms;
use tidemark_runtime::telemetry::chain;

use crate::run::Counts;
use crate::{Archive, ArchiveFault};

impl<O: ObjectStore + Clone + 'static> Archive<DynamoStore, O> {
    /// Writes the reports of a time in ms; the same time again replaces them.
    ///
    /// # Errors
    /// The first failure; a row that cannot be read, after the reports without it are written.
    pub async fn report(&self, at_ms: i64, call: Call) -> Result<Manifest, ArchiveFault> {
        let mut counts = Counts::default();
        let (mut files, left_out) = self.write_reports(at_ms, &mut counts, call).await?;
        if let Some(fault) = left_out {
            return Err(fault);
        }
        files.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let manifest = Manifest {
            run: format!("report-{}", to_name(at_ms)),
            job: "report".to_owned(),
            scheduled: utc(at_ms),
            date: self.options.zone.day(at_ms).date.to_string(),
            started: utc(call.now_ms),
            finished: utc(now_ms()),
            invocations: 1,
            units: counts.units,
            files,
            ..Manifest::default()
        };
        self.write_manifest(&manifest).await?;
        Ok(manifest)
    }

    /// Writes the reports but those of which a row cannot be read, and says why such are left out.
    pub(crate) async fn write_reports(
        &self,
        at_ms: i64,
        counts: &mut Counts,
        call: Call,
    ) -> Result<(Vec<File>, Option<ArchiveFault>), ArchiveFault> {
        let (mut files, mut left_out) = (Vec::with_capacity(REPORTS.len()), None);
        for kind in &REPORTS {
            let tables = match self.rows_of(kind, counts, call).await {
                Ok(tables) => tables,
                Err(error @ LedgerError::Store { source: StoreError::Unreadable { .. }, .. }) => {
                    tracing::error!(report = kind.report_type, error = %chain(&error), "report is left out");
                    left_out = Some(error.into());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let key = layout::report(kind.folder, at_ms);
            let body = kind.document(call.now_ms, &tables);
            let body = body.map_err(|source| ArchiveError::Encode { key: key.clone(), source })?;
            files.push(self.write_document(key, Holds::Report, body).await?);
        }
        Ok((files, left_out))
    }

    /// What a report shows: the top of its ranking, or all rows of its view, which then have one partition key.
    async fn rows_of(&self, kind: &ReportKind, counts: &mut Counts, call: Call) -> Result<Tables, LedgerError> {
        let Some(view) = kind.view() else { return Ok(Tables::default()) };
        let store = self.ledger.store();
        let rows = match &view.ranking {
            Some(ranking) => self.ledger.send(|| store.top(ranking, self.options.top), call).await?,
            None => self.ledger.send(|| store.partition(view.kind), call).await?,
        };
        counts.spend(rows.units);
        let mut rows = rows.value;
        rows.retain(|(_, row)| row.is_kept(call.now_ms));
        Ok(Tables { rows, listed: Vec::new() })
    }
}
