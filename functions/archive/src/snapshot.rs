//! The snapshot of a day as one JSON document, `{timestamp, sellerMetrics, categoryMetrics, lowStockMetrics}`: made
//! from the files of views, so that it says what they say, piece by piece.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_archive::documents::view;
use tidemark_archive::manifest::{File, Holds};
use tidemark_archive::parquet::{ArchivedRow, RowReader, pieces};
use tidemark_archive::{ArchiveError, ObjectStore, Upload, layout};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Metered};
use tidemark_model::views::{Tables, View};
use tidemark_model::{Key, Measures, State};
use tokio::sync::mpsc;

use crate::run::{Counts, Held, Run};
use crate::{Archive, ArchiveFault};

/// A list being written, with commas between its pieces.
struct List<'a, O> {
    objects: &'a O,
    upload: &'a mut Upload,
    is_first: bool,
}

/// What the low-stock view's document says.
#[derive(Deserialize)]
struct LowStock {
    count: Box<RawValue>,
    products: Box<RawValue>,
}

impl<O: ObjectStore + Clone + 'static> Archive<DynamoStore, O> {
    pub(crate) async fn write_snapshot(
        &self,
        held: &mut Held,
        counts: &mut Counts,
        call: Call,
    ) -> Result<File, ArchiveFault> {
        let key = layout::snapshot(&held.run.date, held.run.at_ms);
        let mut upload = Upload::begin(&self.objects, key, "application/json").await?;
        held.run.opens(&upload);
        held.save(&self.objects).await?;
        self.write_members(&held.run, &mut upload, counts, call).await?;
        self.end_document(upload, Holds::Snapshot).await
    }

    async fn write_members(
        &self,
        run: &Run,
        upload: &mut Upload,
        counts: &mut Counts,
        call: Call,
    ) -> Result<(), ArchiveFault> {
        let objects = &self.objects;
        upload.write(objects, format!(r#"{{"timestamp":{},"sellerMetrics":["#, run.at_ms).as_bytes()).await?;
        self.write_rows_of(run, "sellers", upload).await?;
        upload.write(objects, br#"],"categoryMetrics":["#).await?;
        self.write_rows_of(run, "categories", upload).await?;
        upload.write(objects, br#"],"lowStockMetrics":{"count":"#).await?;
        self.write_low_stock(run, upload, counts, call).await?;
        upload.write(objects, b"]}}").await?;
        Ok(())
    }

    /// Writes a view's rows as members of a list.
    async fn write_rows_of(&self, run: &Run, name: &str, upload: &mut Upload) -> Result<(), ArchiveFault> {
        let mut list = List { objects: &self.objects, upload, is_first: true };
        let Some(view) = view(name) else { return Ok(()) };
        let mut pieces = self.archived(run, view);
        while let Some(rows) = pieces.recv().await {
            let rows = rows?.into_iter().map(|row| (row.key, row.measures)).collect();
            let document = (view.document)(&Tables { rows, listed: Vec::new() });
            list.add(document.map_err(|source| encode(list.upload, source))?.get()).await?;
        }
        Ok(())
    }

    /// The count as the row had it; the products as they are listed now, page by page.
    async fn write_low_stock(
        &self,
        run: &Run,
        upload: &mut Upload,
        counts: &mut Counts,
        call: Call,
    ) -> Result<(), ArchiveFault> {
        let Some((view, board)) = view("lowStock").and_then(|view| Some((view, view.board?))) else { return Ok(()) };
        let mut rows = Vec::new();
        let mut pieces = self.archived(run, view);
        while let Some(piece) = pieces.recv().await {
            rows.extend(piece?.into_iter().map(|row| (row.key, row.measures)));
        }
        let read = |rows: Vec<(Key, Measures)>, listed: Vec<State>| {
            serde_json::from_str::<LowStock>((view.document)(&Tables { rows, listed })?.get())
        };
        let count = read(rows, Vec::new()).map_err(|source| encode(upload, source))?.count;
        upload.write(&self.objects, count.get().as_bytes()).await?;
        upload.write(&self.objects, br#","products":["#).await?;
        let mut list = List { objects: &self.objects, upload, is_first: true };
        let mut after = None;
        loop {
            let request = || self.ledger.store().listed(board.name, after.as_ref(), None);
            let Metered { value: (listed, next), units } = self.ledger.send(request, call).await?;
            counts.spend(units);
            let products = read(Vec::new(), listed).map_err(|source| encode(list.upload, source))?.products;
            list.add(products.get()).await?;
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// A view's rows, read back from the run's files.
    fn archived(&self, run: &Run, view: &'static View) -> mpsc::Receiver<Result<Vec<ArchivedRow>, ArchiveError>> {
        let files = run.files.iter().filter(|file| file.view.as_deref() == Some(view.name));
        let files = files.map(|file| (file.uploaded.key.clone(), file.uploaded.bytes)).collect();
        pieces(&self.objects, files, move |file| RowReader::new(view, file))
    }
}

impl<O: ObjectStore> List<'_, O> {
    /// Adds the members of a JSON list.
    async fn add(&mut self, list: &str) -> Result<(), ArchiveFault> {
        let members = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or_default();
        if members.is_empty() {
            return Ok(());
        }
        if !std::mem::take(&mut self.is_first) {
            self.upload.write(self.objects, b",").await?;
        }
        Ok(self.upload.write(self.objects, members.as_bytes()).await?)
    }
}

fn encode(upload: &Upload, source: serde_json::Error) -> ArchiveFault {
    ArchiveError::Encode { key: upload.key().to_owned(), source }.into()
}
