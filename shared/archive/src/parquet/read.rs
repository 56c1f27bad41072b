//! Reading Parquet files back, one row group at a time, wherever they are.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::buf::Reader;
use bytes::{Buf, Bytes, BytesMut};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use tidemark_model::Decimal;
use tokio::runtime::Handle;

use crate::ObjectStore;

/// The records of a file.
pub(super) struct Records(RowIter<'static>);

impl Records {
    pub(super) fn new(file: impl ChunkReader + 'static) -> Result<Self, ParquetError> {
        let reader: Box<dyn FileReader> = Box::new(SerializedFileReader::new(file)?);
        Ok(Self(RowIter::from_file_into(reader)))
    }

    pub(super) fn next(&mut self) -> Option<Result<Row, ParquetError>> {
        self.0.next()
    }
}

/// An object, read in blocks as they are needed. Only from a blocking thread of a runtime.
pub struct Remote<O> {
    objects: O,
    key: String,
    bytes: u64,
    runtime: Handle,
    /// The blocks that were read last, by their numbers.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

/// A few blocks hold all columns of a row group.
const BLOCK_BYTES: u64 = 8 << 20;
const BLOCKS: usize = 3;
/// How much is given at once where the end is not known: a page's header is shorter.
const AHEAD: u64 = 64 << 10;

impl<O: ObjectStore> Remote<O> {
    /// An object of so many bytes.
    pub fn new(objects: O, key: String, bytes: u64, runtime: Handle) -> Self {
        Self { objects, key, bytes, runtime, blocks: Mutex::default() }
    }

    fn block(&self, number: u64) -> Result<Bytes, ParquetError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = blocks.iter().find(|(read, _)| *read == number) {
            return Ok(block.clone());
        }
        let start = number * BLOCK_BYTES;
        let range = start..self.bytes.min(start + BLOCK_BYTES);
        let block = self.runtime.block_on(self.objects.get_range(&self.key, range));
        let block = block.map_err(|error| ParquetError::External(Box::new(error)))?;
        if blocks.len() == BLOCKS {
            blocks.pop_front();
        }
        blocks.push_back((number, block.clone()));
        Ok(block)
    }
}

impl<O: ObjectStore> Length for Remote<O> {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl<O: ObjectStore> ChunkReader for Remote<O> {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let end = self.bytes.min(start + AHEAD);
        Ok(self.get_bytes(start, end.saturating_sub(start) as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start + length as u64;
        if end > self.bytes {
            return Err(ParquetError::EOF(format!("object {} ends before byte {end}", self.key)));
        }
        let mut bytes = BytesMut::new();
        while start + (bytes.len() as u64) < end {
            let at = start + bytes.len() as u64;
            let block = self.block(at / BLOCK_BYTES)?;
            let from = (at % BLOCK_BYTES) as usize;
            let to = block.len().min(from + (end - at) as usize);
            let Some(read) = block.get(from..to).filter(|read| !read.is_empty()) else {
                return Err(ParquetError::EOF(format!("object {} has become shorter while it is read", self.key)));
            };
            if read.len() == length {
                return Ok(block.slice(from..to));
            }
            bytes.extend_from_slice(read);
        }
        Ok(bytes.freeze())
    }
}

fn unlike(name: &str, field: &Field, wanted: &str) -> ParquetError {
    ParquetError::General(format!("column {name} holds {field}, which is no {wanted}"))
}

pub(super) fn text<'a>(name: &str, field: &'a Field) -> Result<&'a str, ParquetError> {
    match field {
        Field::Str(text) => Ok(text),
        other => Err(unlike(name, other, "text")),
    }
}

pub(super) fn whole(name: &str, field: &Field) -> Result<i64, ParquetError> {
    match field {
        Field::Long(n) | Field::TimestampMillis(n) => Ok(*n),
        other => Err(unlike(name, other, "whole number")),
    }
}

pub(super) fn decimal(name: &str, field: &Field) -> Result<Decimal, ParquetError> {
    let Field::Decimal(n) = field else { return Err(unlike(name, field, "decimal")) };
    let units = n.data().try_into().map(i128::from_be_bytes);
    units.map(Decimal::of_units).map_err(|_| unlike(name, field, "decimal of 16 bytes"))
}

pub(super) fn map<'a>(name: &str, field: &'a Field) -> Result<&'a [(Field, Field)], ParquetError> {
    match field {
        Field::MapInternal(map) => Ok(map.entries()),
        other => Err(unlike(name, other, "map")),
    }
}
