//! Archives, as whoever keeps them takes them: a cut, the scans, and the log.

use std::sync::{Mutex, PoisonError};

use futures_util::future::{ready, try_join};
use tidemark_ledger::{Answer, Call, Cursors, Cut, Ledger, LedgerError, Logged, Redo, Rest, Row, Segment, Store};
use tidemark_model::{Key, Known, Measures};

/// What was read.
pub struct Archived {
    pub entities: Vec<(Key, Known)>,
    pub rows: Vec<(Key, Row)>,
    pub log: Vec<Logged>,
    pub end: Cursors,
}

/// What it comes to.
pub struct Carried {
    pub entities: Vec<(Key, Known)>,
    pub rows: Vec<(Key, Measures)>,
    pub end: Cursors,
}

/// Takes a cut, page by page.
pub async fn archive<S: Store>(ledger: &Ledger<S>, call: Call) -> Result<Archived, LedgerError> {
    let cut = ledger.begin_cut(call).await?;
    archive_from(ledger, &cut, call).await
}

/// The same, after it has begun.
pub async fn archive_from<S: Store>(ledger: &Ledger<S>, cut: &Cut, call: Call) -> Result<Archived, LedgerError> {
    let (rows, entities) = try_join(rows(ledger.store()), entities(ledger.store())).await?;
    let log = Mutex::new(Vec::new());
    let sink = |page: Vec<Logged>| {
        log.lock().unwrap_or_else(PoisonError::into_inner).extend(page);
        ready(Ok::<(), LedgerError>(()))
    };
    let end = ledger.end_cut(cut, call, sink).await?;
    Ok(Archived { entities, rows, log: log.into_inner().unwrap_or_else(PoisonError::into_inner), end })
}

async fn rows<S: Store>(store: &S) -> Result<Vec<(Key, Row)>, LedgerError> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = again(|| store.rows(Segment::WHOLE, after.as_ref())).await?;
        rows.extend(page.into_iter().map(|(key, row)| (key, row.unwrap())));
        after = next;
        if after.is_none() {
            return Ok(rows);
        }
    }
}

async fn entities<S: Store>(store: &S) -> Result<Vec<(Key, Known)>, LedgerError> {
    let (mut entities, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = again(|| store.states(Segment::WHOLE, after.as_ref())).await?;
        entities.extend(page);
        after = next;
        if after.is_none() {
            return Ok(entities);
        }
    }
}

/// Asks as often as the ledger does.
async fn again<T, F: Future<Output = Answer<T>>>(request: impl Fn() -> F) -> Result<T, LedgerError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match request().await {
            Ok(answer) => return Ok(answer.value),
            Err(error) if error.is_retryable() && attempts < 4 => {}
            Err(source) => return Err(LedgerError::Store { attempts, source }),
        }
    }
}

impl Archived {
    /// As of the cut.
    pub fn carried(&self) -> Carried {
        let mut redo = Redo::default();
        redo.extend(self.log.iter().cloned());
        let scanned = self.entities.iter().cloned();
        let mut entities: Vec<_> = scanned.map(|(key, known)| (key.clone(), redo.entity(&key, known))).collect();
        let scanned = self.rows.iter().cloned();
        let mut rows: Vec<_> = scanned.filter_map(|(key, row)| Some((key.clone(), redo.row(&key, row)?))).collect();
        let rest: Rest = redo.rest();
        entities.extend(rest.entities);
        rows.extend(rest.rows);
        Carried { entities, rows, end: self.end.clone() }
    }
}

impl Carried {
    /// Puts it back.
    pub async fn restore<S: Store>(&self, ledger: &Ledger<S>, call: Call) -> Result<(), LedgerError> {
        ledger.begin_restore(&self.end, call).await?;
        ledger.restore_entities(&self.entities, call).await?;
        ledger.restore_rows(&self.rows, call).await?;
        ledger.end_restore(call).await
    }
}
