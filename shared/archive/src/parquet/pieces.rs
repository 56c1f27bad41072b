//! Files of Parquet read back on another thread, a piece at a time.

use parquet::errors::ParquetError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

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
    open: impl Fn(Remote<O>) -> Result<R, ParquetError> + Send + 'static,
) -> mpsc::Receiver<Piece<T>>
where
    O: ObjectStore + Clone + 'static,
    R: Iterator<Item = Result<T, ParquetError>>,
    T: Send + 'static,
{
    let (objects, runtime) = (objects.clone(), Handle::current());
    let (send, receive) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        for (key, bytes) in files {
            let fault = |source| ArchiveError::Table { key: key.clone(), source };
            let records = match open(Remote::new(objects.clone(), key.clone(), bytes, runtime.clone())) {
                Ok(records) => records,
                // Nobody may wait for it any more.
                Err(error) => return drop(send.blocking_send(Err(fault(error)))),
            };
            if !send_pieces(records, &send, fault) {
                return;
            }
        }
    });
    receive
}

/// Sends a file's records; whether another may follow.
fn send_pieces<T>(
    mut records: impl Iterator<Item = Result<T, ParquetError>>,
    send: &mpsc::Sender<Piece<T>>,
    fault: impl Fn(ParquetError) -> ArchiveError,
) -> bool {
    loop {
        let piece: Result<Vec<T>, ParquetError> = records.by_ref().take(PIECE).collect();
        let length = piece.as_ref().map(Vec::len).ok();
        if send.blocking_send(piece.map_err(&fault)).is_err() || length.is_none() {
            return false;
        }
        if length < Some(PIECE) {
            return true;
        }
    }
}
