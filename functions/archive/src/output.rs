//! Tables on their way into the bucket: rows in, parts of a file out.

use tidemark_archive::manifest::Holds;
use tidemark_archive::parquet::{ParquetError, TableWriter};
use tidemark_archive::{ArchiveError, ObjectStore, Upload};
use tidemark_ledger::off_thread;

use crate::ArchiveFault;
use crate::run::Filed;

/// A table and the upload of its file.
pub(crate) struct Output {
    /// Taken away only while it is encoded.
    table: Option<TableWriter>,
    upload: Upload,
    holds: Holds,
    view: Option<&'static str>,
}

impl Output {
    pub(crate) async fn begin(
        objects: &impl ObjectStore,
        key: String,
        table: TableWriter,
        holds: Holds,
        view: Option<&'static str>,
    ) -> Result<Self, ArchiveFault> {
        let upload = Upload::begin(objects, key, "application/vnd.apache.parquet").await?;
        Ok(Self { table: Some(table), upload, holds, view })
    }

    /// The upload of its file.
    pub(crate) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// The table, for more rows.
    pub(crate) fn table(&mut self) -> Option<&mut TableWriter> {
        self.table.as_mut()
    }

    /// Encodes and uploads what is in memory, if that is enough.
    pub(crate) async fn flush_if_full(&mut self, objects: &impl ObjectStore) -> Result<(), ArchiveFault> {
        let Some(mut table) = self.table.take_if(|table| table.is_full()) else { return Ok(()) };
        let (table, bytes) = off_thread(move || {
            let bytes = table.flush();
            (table, bytes)
        })
        .await
        .ok_or(ArchiveFault::Stopping)?;
        self.table = Some(table);
        let bytes = bytes.map_err(|source| self.fault(source))?;
        Ok(self.upload.write(objects, &bytes).await?)
    }

    /// Ends the file. One without rows is given up.
    pub(crate) async fn close(mut self, objects: &impl ObjectStore) -> Result<Option<Filed>, ArchiveFault> {
        let rows = self.table.as_ref().map_or(0, TableWriter::rows);
        let Some(table) = self.table.take().filter(|table| table.rows() > 0) else {
            objects.abort_upload(self.upload.key(), self.upload.id()).await?;
            return Ok(None);
        };
        let bytes = off_thread(move || table.finish()).await.ok_or(ArchiveFault::Stopping)?;
        let bytes = bytes.map_err(|source| self.fault(source))?;
        self.upload.write(objects, &bytes).await?;
        let uploaded = self.upload.end(objects).await?;
        Ok(Some(Filed { uploaded, holds: self.holds, view: self.view.map(str::to_owned), rows }))
    }

    fn fault(&self, source: ParquetError) -> ArchiveFault {
        ArchiveError::Table { key: self.upload.key().to_owned(), source }.into()
    }
}
