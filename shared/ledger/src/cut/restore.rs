//! A cut put back into empty tables.
//!
//! The cursors come first. They tell the tables of this cut from others: a restore that died is repeated, and
//! anything else is refused. Everything is created where there is nothing, so a repetition changes nothing. Nobody
//! else may write to the tables meanwhile: a row that a plan made first would lack what was before.
//!
//! Items come back without marks: what those guarded against are requests of plans that were finished in other
//! tables. What is no part of a cut is settings and keys, and the places of rows in rankings' indexes. A
//! floor above every number keeps these out at first; the refresh that lowers it gives them all.

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::views::rankings;
use tidemark_model::{Decimal, Key, Known, Measures};

use crate::apply::partly_throttled;
use crate::requests::Requests;
use crate::{Call, Cursor, Cursors, Floor, LaneId, Ledger, LedgerError, Segment, Store, Written};

/// Above what any row adds up to: values are below 10^15.
const UNREACHED: Decimal = Decimal::whole(i64::MAX);

impl<S: Store> Ledger<S> {
    /// Begins to restore a cut whose end is given. Entities and rows come after this, in any order; then
    /// [`Ledger::end_restore`], and the records above each lane's `through`, or all of them.
    ///
    /// # Errors
    /// If a request fails, or the tables hold anything but this cut: then nothing was written.
    pub async fn begin_restore(&self, end: &Cursors, call: Call) -> Result<(), LedgerError> {
        let requests = self.requests(call);
        let found = self.cursors(&requests).await?;
        if let Some((lane, _)) = found.iter().find(|(lane, cursor)| end.get(lane) != Some(cursor)) {
            return Err(LedgerError::NotEmpty { what: format!("lane {lane}") });
        }
        if found.is_empty() {
            self.check_empty(&requests).await?;
        }
        for ranking in rankings() {
            let floor = Floor { floor: Some(UNREACHED), shown: Some(UNREACHED), refreshed: 0 };
            requests.send(|| self.store.set_floor(ranking, Floor::default(), floor)).await?;
        }
        let creates: Vec<_> = end.iter().map(|(lane, cursor)| self.restore_lane(lane, cursor, &requests)).collect();
        stream::iter(creates).buffer_unordered(self.options.concurrency).try_for_each(|()| async { Ok(()) }).await
    }

    /// Restores some entities.
    ///
    /// # Errors
    /// If a request fails; a repetition goes on.
    pub async fn restore_entities(&self, entities: &[(Key, Known)], call: Call) -> Result<(), LedgerError> {
        let requests = self.requests(call);
        let creates: Vec<_> =
            entities.chunks(S::WRITE_ENTITIES).map(|entities| self.create_entities(entities, &requests)).collect();
        stream::iter(creates).buffer_unordered(self.options.concurrency).try_for_each(|()| async { Ok(()) }).await
    }

    /// Restores some rows, without those that say nothing or whose TTL has passed.
    ///
    /// # Errors
    /// If a request fails; a repetition goes on.
    pub async fn restore_rows(&self, rows: &[(Key, Measures)], call: Call) -> Result<(), LedgerError> {
        let requests = self.requests(call);
        let rows = rows.iter().filter(|(_, row)| !row.is_empty() && row.is_kept(call.now_ms));
        let (store, requests) = (&self.store, &requests);
        let creates: Vec<_> = rows.map(|(key, row)| requests.send(move || store.create_row(key, row, &[]))).collect();
        stream::iter(creates).buffer_unordered(self.options.concurrency).try_for_each(|_| async { Ok(()) }).await
    }

    /// Ends a restore: gives the rows their places in rankings. Upkeep may have set floors by a part of them, and
    /// what came later has no place then, so floors are first raised anew.
    ///
    /// # Errors
    /// If a request fails; a repetition goes on.
    pub async fn end_restore(&self, call: Call) -> Result<(), LedgerError> {
        let requests = self.requests(call);
        for ranking in rankings() {
            loop {
                let old = requests.send(|| self.store.read_floor(ranking)).await?;
                if (old.floor, old.shown) == (Some(UNREACHED), Some(UNREACHED)) {
                    break;
                }
                let raised = Floor { floor: Some(UNREACHED), shown: Some(UNREACHED), refreshed: old.refreshed + 1 };
                requests.send(|| self.store.set_floor(ranking, old, raised)).await?;
            }
        }
        self.refresh_rankings(call).await.map(drop)
    }

    async fn check_empty(&self, requests: &Requests) -> Result<(), LedgerError> {
        let (rows, _) = requests.send(|| self.store.rows(Segment::WHOLE, None)).await?;
        if let Some((key, _)) = rows.first() {
            return Err(LedgerError::NotEmpty { what: format!("row {} {}", key.pk, key.sk) });
        }
        let mut after = None;
        loop {
            let (entities, next) = requests.send(|| self.store.states(Segment::WHOLE, after.as_ref())).await?;
            if let Some((key, _)) = entities.first() {
                return Err(LedgerError::NotEmpty { what: format!("entity {} {}", key.pk, key.sk) });
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn restore_lane(&self, lane: &LaneId, cursor: &Cursor, requests: &Requests) -> Result<(), LedgerError> {
        requests.send(|| self.store.register_lane(lane, &cursor.name)).await?;
        requests.send(|| self.store.create_cursor(lane, cursor)).await?;
        Ok(())
    }

    async fn create_entities(&self, entities: &[(Key, Known)], requests: &Requests) -> Result<(), LedgerError> {
        let mut waiting = entities.to_vec();
        let mut waits = requests.waits();
        loop {
            let created = requests.send(|| self.store.create_entities(&waiting)).await?;
            let left = waiting.into_iter().zip(created).filter(|(_, created)| *created == Written::Unprocessed);
            waiting = left.map(|(entity, _)| entity).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            waits.before_next(partly_throttled("BatchExecuteStatement")).await?;
        }
    }
}
