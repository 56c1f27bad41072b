//! Parquet without Arrow: tables of texts, whole numbers, decimals, times and maps, written one row group at a
//! time, so that memory holds one group whatever the file's size.

mod columns;
mod pieces;
mod read;
mod rows;
mod states;

use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
pub use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use columns::Columns;
pub use pieces::pieces;
pub use read::Remote;
pub use rows::{ArchivedRow, RowReader, push_row, row_columns, row_table};
pub use states::{STATE_COLUMNS, StateReader, push_state, state_table};

/// Digits of every decimal, all in all: what a DynamoDB number holds.
pub const DECIMAL_DIGITS: u32 = 38;

/// A group is written when it is estimated to take this much memory, in bytes: about 10,000 short rows. Every view may have
/// one.
const GROUP_BYTES: usize = 4 << 20;

/// A table being written: what is finished of its file is handed out, group by group.
pub struct TableWriter {
    writer: SerializedFileWriter<Vec<u8>>,
    group: Columns,
}

impl TableWriter {
    /// A file of a schema in Parquet's own notation, whose leaves are the columns.
    fn new(schema: &str, group: Columns) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(concat!("tidemark version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = Arc::new(parse_message_type(schema)?);
        Ok(Self { writer: SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?, group })
    }

    /// The columns, for one more row.
    fn row(&mut self) -> &mut Columns {
        self.group.begin_row();
        &mut self.group
    }

    /// Whether [`TableWriter::flush`] is due.
    pub fn is_full(&self) -> bool {
        self.group.bytes() >= GROUP_BYTES
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.group.rows()
    }

    /// Writes the group; the file's bytes since the last time.
    ///
    /// # Errors
    /// If the values cannot be encoded.
    pub fn flush(&mut self) -> Result<Vec<u8>, ParquetError> {
        if self.group.bytes() > 0 {
            let mut group = self.writer.next_row_group()?;
            self.group.write_to(&mut group)?;
            group.close()?;
        }
        self.writer.flush()?;
        // Positions are counted by the writer: what it has written may be taken away.
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// Writes what is left, and the file's end.
    ///
    /// # Errors
    /// If the values cannot be encoded.
    pub fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        let mut bytes = self.flush()?;
        self.writer.finish()?;
        bytes.append(self.writer.inner_mut());
        Ok(bytes)
    }
}
