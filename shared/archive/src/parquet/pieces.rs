//! Files of Parquet read back on another thread, a piece at a time.

use std::sync::Arc;

use parquet::errors::ParquetError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Remote;
use crate::{ArchiveError, ObjectStore};

/// Records of a piece.
const PIECE: usize = 1_000;

/// What is sent of them.
type Piece<T> = Result<Vec<T>, ArchiveError>;

/// The records in some files, given as keys and sizes, one file after the other. It ends after an error.
pub fn pieces<O, R, T>(
    objects: &O,
    files: Vec<(String, u64)>,
    open: impl Fn(Remote<O>) -> Result<R, ParquetError> + Send + Sync + 'static,
) -> mpsc::Receiver<Piece<T>>
where
    O: ObjectStore + Clone + 'static,
    R: Iterator<Item = Result<T, ParquetError>>,
    T: Send + 'static,
{
    let (objects, open) = (objects.clone(), Arc::new(open));
    let (send, receive) = mpsc::channel(2);
    tokio::spawn(async move {
        for (key, bytes) in files {
            if send.is_closed() {
                return;
            }
            let file = Remote::new(objects.clone(), key.clone(), bytes, Handle::current());
            let (open, sender) = (Arc::clone(&open), send.clone());
            let reading = spawn_blocking(move || send_pieces(open(file)?, &sender));
            // A panic must not look like the end of the records.
            let read = reading.await.unwrap_or_else(|panic| Err(ParquetError::External(Box::new(panic))));
            if let Err(source) = read {
                // Nobody may wait for it any more.
                return drop(send.send(Err(ArchiveError::Table { key, source })).await);
            }
        }
    });
    receive
}

/// Sends a file's records, as long as somebody waits for them.
fn send_pieces<T>(
    mut records: impl Iterator<Item = Result<T, ParquetError>>,
    send: &mpsc::Sender<Piece<T>>,
) -> Result<(), ParquetError> {
    loop {
        let piece: Vec<T> = records.by_ref().take(PIECE).collect::<Result<_, _>>()?;
        let is_last = piece.len() < PIECE;
        if send.blocking_send(Ok(piece)).is_err() || is_last {
            return Ok(());
        }
    }
}
