//! Requests over HTTP: committed on lanes of their own, and in the rows when they are answered.
//!
//! A Kafka partition has one source, whose records come in order. Requests come from anywhere at once, so they
//! share a few lanes, and each takes one that is free. A lane without records moves no `through`; what a request
//! says is entities' alone ([`tidemark_model::ingest`]) and may be told again, on any lane.
//!
//! **Read your write**: when a request is answered, all that it says is in entities and rows. What its own plans
//! bring is. But what it said may have been known already, from a pending plan of another lane that has written the
//! entity and not yet the rows: an earlier attempt's, whose answer was lost. That entity has the lane's mark, and
//! the mark is the seq that is pending there. So the marks are read after all own plans are finished, and such a plan
//! is finished, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::{Batch, Change, Key, Known, Map};

use crate::apply::read_marks;
use crate::commit::Work;
use crate::{Call, Lane, LaneId, Ledger, LedgerError, Receipt, Store};

impl<S: Store> Ledger<S> {
    /// Commits what a request over HTTP says, with so many tag sets of a metric and day at most. When the result is
    /// `Ok`, all of it is in entities and rows, once, whatever was known of it before.
    ///
    /// # Errors
    /// If it could not be finished: the same changes may come again, and must where they are to count for sure.
    pub async fn ingest(
        &self,
        changes: Vec<Change>,
        max_tag_sets: usize,
        call: Call,
    ) -> (Receipt, Result<(), LedgerError>) {
        const SOURCE: &str = "http";
        const TOPIC: &str = "ingest";
        let lane = |n: u16| Lane::new(SOURCE, TOPIC, i32::from(n), self.options.epoch);
        let mut lanes: Vec<Lane> = (0..self.options.http_lanes.max(1)).map(lane).collect();
        self.random().shuffle(&mut lanes);
        let batch = Arc::new(Batch { max_tag_sets, ..Batch::of_changes(SOURCE, TOPIC, changes) });
        let mut work = self.work(batch, lanes, call);
        let outcome = match self.rounds(&mut work).await {
            Ok(known) => self.finish_others(&mut work, &known).await,
            Err(error) => Err(error),
        };
        (work.receipt(), outcome)
    }

    /// Finishes the pending plans of other lanes that have changed what was known of the batch's entities.
    async fn finish_others(&self, work: &mut Work, known: &Map<Key, Known>) -> Result<(), LedgerError> {
        let Work { batch, call, requests, receipt, .. } = work;
        // Those that admitted its tag sets, too: they have rows of their own.
        let mut keys = batch.keys();
        keys.retain(|key| known.contains_key(key));
        let requests = &*requests;
        let reads: Vec<_> =
            keys.chunks(S::READ_KEYS).map(|keys| read_marks(&self.store, requests, keys.to_vec())).collect();
        let marks: Vec<_> = stream::iter(reads).buffer_unordered(self.options.concurrency).try_collect().await?;
        let mut newest: BTreeMap<LaneId, u64> = BTreeMap::new();
        for (lane, mark) in marks.into_iter().flatten().flat_map(|(_, marks)| marks) {
            let newest = newest.entry(lane).or_default();
            *newest = mark.max(*newest);
        }
        // That lane's cursor was read after the entities, with nothing pending.
        newest.retain(|lane, _| lane.as_str() != receipt.lane);
        let reads: Vec<_> = newest.keys().map(|lane| self.cursor(lane, requests)).collect();
        let cursors: Vec<_> = stream::iter(reads).buffered(self.options.concurrency).try_collect().await?;
        for ((lane, mark), cursor) in newest.iter().zip(cursors) {
            if let Some(cursor) = cursor.filter(|cursor| cursor.pending && cursor.seq == *mark) {
                receipt.redone += 1;
                self.redo(lane, &cursor, *call, requests).await?;
            }
        }
        Ok(())
    }
}
