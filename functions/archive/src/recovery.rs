//! What it takes to restore the tables to one cut: the plans that were committed while rows and entities were
//! scanned, and where the lanes stand at its end.

use serde::Serialize;
use tidemark_archive::manifest::Holds;
use tidemark_archive::{ArchiveError, ObjectStore, Upload, layout};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Logged};
use tokio::sync::Mutex;

use crate::run::{Filed, Held};
use crate::{Archive, ArchiveFault};

/// A file of JSON, and how many values are in it.
struct Lines {
    upload: Upload,
    values: u64,
}

impl<O: ObjectStore + Clone + 'static> Archive<DynamoStore, O> {
    /// Ends the cut. The files are begun anew if this is repeated.
    pub(crate) async fn write_recovery(&self, held: &mut Held, call: Call) -> Result<(), ArchiveFault> {
        let Some(cut) = held.run.cut.clone() else { return Ok(()) };
        let folder = layout::recovery(&held.run.date);
        let mut begin = async |name: &str, content_type| {
            let upload = Upload::begin(&self.objects, format!("{folder}{name}"), content_type).await?;
            held.run.opens(&upload);
            Ok::<_, ArchiveError>(Lines { upload, values: 0 })
        };
        let plans = begin("plans.jsonl", "application/jsonl").await?;
        let mut lanes = begin("lanes.json", "application/json").await?;
        held.save(&self.objects).await?;

        let plans = Mutex::new(plans);
        let sink = |page: Vec<Logged>| async {
            let mut plans = plans.lock().await;
            for logged in page {
                plans.add(&self.objects, &logged, b"\n").await?;
            }
            Ok::<_, ArchiveFault>(())
        };
        let end = self.ledger.end_cut(&cut, call, sink).await?;
        lanes.add(&self.objects, &end, b"").await?;
        lanes.values = end.len() as u64;
        let plans = plans.into_inner();
        held.run.counts.plans = plans.values;
        for (lines, holds) in [(plans, Holds::Plans), (lanes, Holds::Lanes)] {
            let rows = lines.values;
            let uploaded = lines.upload.end(&self.objects).await?;
            held.run.files.push(Filed { uploaded, holds, view: None, rows });
        }
        held.run.open.clear();
        Ok(())
    }
}

impl Lines {
    async fn add(
        &mut self,
        objects: &impl ObjectStore,
        value: &impl Serialize,
        end: &[u8],
    ) -> Result<(), ArchiveError> {
        let encode = |source| ArchiveError::Encode { key: self.upload.key().to_owned(), source };
        let mut line = serde_json::to_vec(value).map_err(encode)?;
        line.extend_from_slice(end);
        self.values += 1;
        self.upload.write(objects, &line).await
    }
}
