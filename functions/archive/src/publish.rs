//! The end of a run: its files become visible, the documents are made from them, and the manifest comes last.
//!
//! Everything here may be repeated: a run that dies here is published anew, as a whole.

use tidemark_archive::manifest::{File, Holds, Manifest};
use tidemark_archive::{ObjectStore, Upload, keys, layout, sha256};
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_model::time::utc;
use tidemark_model::views::VIEWS;
use tidemark_runtime::now_ms;

use crate::run::{Filed, Held, Run};
use crate::{Archive, ArchiveFault};

const JSON: &str = "application/json";

impl<O: ObjectStore + Clone + 'static> Archive<DynamoStore, O> {
    /// Hands over to readers what the run has uploaded.
    pub(crate) async fn publish(&self, held: &mut Held, call: Call) -> Result<Manifest, ArchiveFault> {
        for file in &held.run.files {
            file.uploaded.publish(&self.objects).await?;
        }
        self.delete_replaced(&held.run).await?;
        let mut counts = held.run.counts;
        let snapshot = self.write_snapshot(held, &mut counts, call).await?;
        let run = &held.run;
        let mut files: Vec<File> = run.files.iter().map(Filed::file).collect();
        files.push(snapshot);
        // A row that cannot be read was counted when it was scanned.
        let (reports, _left_out) = self.write_reports(run.at_ms, &mut counts, call).await?;
        files.extend(reports);
        files.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let manifest = Manifest {
            run: run.name.clone(),
            job: "daily".to_owned(),
            scheduled: utc(run.at_ms),
            date: run.date.clone(),
            started: utc(run.started_ms),
            finished: utc(now_ms()),
            invocations: run.invocations,
            rows: counts.rows,
            expired: counts.expired,
            unreadable: counts.unreadable,
            entities: counts.entities,
            plans: counts.plans,
            plans_swept: counts.swept,
            units: counts.units,
            files,
        };
        self.write_manifest(&manifest).await?;
        self.objects.delete(layout::RUN).await?;
        Ok(manifest)
    }

    /// Writes a manifest, by which its run is finished for readers.
    pub(crate) async fn write_manifest(&self, manifest: &Manifest) -> Result<(), ArchiveFault> {
        let body = serde_json::to_vec_pretty(manifest).map_err(ArchiveFault::Run)?;
        Ok(self.objects.put(&layout::manifest(&manifest.run), JSON, body).await?)
    }

    /// Deletes the files of the day's earlier runs that this one has not replaced.
    async fn delete_replaced(&self, run: &Run) -> Result<(), ArchiveFault> {
        let views = VIEWS.iter().map(|view| layout::rows(view.name, &run.date));
        for folder in views.chain([layout::entities(&run.date), layout::recovery(&run.date)]) {
            for key in keys(&self.objects, &folder).await? {
                if !run.files.iter().any(|file| file.uploaded.key == key) {
                    self.objects.delete(&key).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes a document at once.
    pub(crate) async fn write_document(&self, key: String, holds: Holds, body: Vec<u8>) -> Result<File, ArchiveFault> {
        let (bytes, sha256) = (body.len() as u64, sha256(&body));
        self.objects.put(&key, JSON, body).await?;
        Ok(File { key, holds, view: None, rows: 0, bytes, sha256 })
    }

    /// Ends a document that was uploaded part by part.
    pub(crate) async fn end_document(&self, upload: Upload, holds: Holds) -> Result<File, ArchiveFault> {
        let uploaded = upload.end(&self.objects).await?;
        uploaded.publish(&self.objects).await?;
        Ok(Filed { uploaded, holds, view: None, rows: 0 }.file())
    }
}

impl Filed {
    /// The file as a manifest shows it.
    fn file(&self) -> File {
        let uploaded = &self.uploaded;
        File {
            key: uploaded.key.clone(),
            holds: self.holds,
            view: self.view.clone(),
            rows: self.rows,
            bytes: uploaded.bytes,
            sha256: uploaded.sha256.clone(),
        }
    }
}
