//! The snapshot of a day as one JSON document, `{timestamp, sellerMetrics, categoryMetrics, lowStockMetrics}`: made
//! from the files of views, so that it says what they say, piece by piece.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_archive::documents::view;
use tidemark_archive::manifest::{File, Holds};
use tidemark_archive::parquet::{ParquetError, Remote, RowReader};
use tidemark_archive::{ArchiveError, ObjectStore, Upload, layout};
use tidemark_ledger::dynamo::DynamoStore;
use tidemark_ledger::{Call, Metered, off_thread};
use tidemark_model::views::{Tables, View};
use tidemark_model::{Key, Measures, State};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::run::{Counts, Run};
use crate::{Archive, ArchiveFault};

/// Rows that are made JSON at once.
const PIECE: usize = 1_000;

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
        run: &Run,
        counts: &mut Counts,
        call: Call,
    ) -> Result<File, ArchiveFault> {
        let key = layout::snapshot(&run.date, run.at_ms);
        let mut upload = Upload::begin(&self.objects, key, "application/json").await?;
        let written = self.write_members(run, &mut upload, counts, call).await;
        if let Err(error) = written {
            self.objects.abort_upload(upload.key(), upload.id()).await?;
            return Err(error);
        }
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
        let mut pieces = self.pieces(run, view);
        while let Some(rows) = pieces.recv().await {
            let document = (view.document)(&Tables { rows: rows?, listed: Vec::new() });
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
        let mut pieces = self.pieces(run, view);
        while let Some(piece) = pieces.recv().await {
            rows.extend(piece?);
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
            let request = || self.ledger.store().listed(board.name, after.as_ref());
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

    /// A view's rows, read back from the run's files on another thread.
    fn pieces(&self, run: &Run, view: &'static View) -> mpsc::Receiver<Result<Vec<(Key, Measures)>, ArchiveFault>> {
        let files = run.files.iter().filter(|file| file.view.as_deref() == Some(view.name));
        let files: Vec<(String, u64)> = files.map(|f| (f.uploaded.key.clone(), f.uploaded.bytes)).collect();
        let (objects, runtime) = (self.objects.clone(), Handle::current());
        let (send, receive) = mpsc::channel(2);
        tokio::spawn(off_thread(move || {
            for (key, bytes) in files {
                let fault = |source: ParquetError| ArchiveError::Table { key: key.clone(), source }.into();
                let reader = RowReader::new(view, Remote::new(objects.clone(), key.clone(), bytes, runtime.clone()));
                let sent = match reader {
                    Ok(reader) => send_pieces(reader, &send, fault),
                    Err(error) => send.blocking_send(Err(fault(error))).is_ok(),
                };
                if !sent {
                    return;
                }
            }
        }));
        receive
    }
}

/// Sends rows as they are read; whether there is more to do.
fn send_pieces(
    mut reader: RowReader,
    send: &mpsc::Sender<Result<Vec<(Key, Measures)>, ArchiveFault>>,
    fault: impl Fn(ParquetError) -> ArchiveFault,
) -> bool {
    loop {
        let rows = reader.by_ref().take(PIECE).map(|row| row.map(|row| (row.key, row.measures)));
        let piece: Result<Vec<_>, _> = rows.collect();
        let ends = piece.as_ref().is_ok_and(|rows| rows.len() < PIECE);
        let failed = piece.is_err();
        if send.blocking_send(piece.map_err(&fault)).is_err() || failed {
            return false;
        }
        if ends {
            return true;
        }
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
