//! Rankings: their tops, and the floors that keep their indexes short.
//!
//! Every row that reaches the readers' floor stands in the index, so the rows there that reach it are
//! the top, exactly and in order. The writers' floor is the same, but for a while after it was lowered:
//! first writers go by the lower one, then all rows are looked at and given their places, and only then
//! readers go by it, too. A refresh that dies on the way is finished by the next.
//!
//! A floor set so that twice the asked number of rows reach it leaves room for rows that fall; should
//! more fall, the top is shorter than asked, but never wrong, until the next refresh looks at all rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use tidemark_model::Decimal;
use tidemark_model::views::{Ranking, ranking_of, rankings};

use crate::requests::Requests;
use crate::rows::{SLACK, new_rank};
use crate::{Call, Floor, Ledger, LedgerError, Segment, Store, StoreError};

/// What a refresh found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Floors that were set.
    pub floors: usize,
    /// Rows that got or lost a place.
    pub ranked: usize,
}

impl<S: Store> Ledger<S> {
    /// Sets every ranking's floor by a look at all rows, and gives those their places that reach a
    /// lowered one.
    ///
    /// # Errors
    /// If a request fails; a repetition goes on from anywhere.
    pub async fn refresh_rankings(&self, call: Call) -> Result<Refreshed, LedgerError> {
        let requests = self.requests(call);
        let mut refreshed = Refreshed::default();
        let reached = self.reached(&requests).await?;
        for ranking in rankings() {
            let old = requests.send(|| self.store.read_floor(ranking)).await?;
            let floor = reached.get(ranking.board).copied();
            let mut new = old;
            if floor != old.floor {
                new = Floor { floor, shown: old.shown.max(floor), refreshed: old.refreshed + 1 };
                // Refused: another refresh, a plan that raised it, or this very request came twice;
                // the next refresh goes on.
                if !requests.send(|| self.store.set_floor(ranking, old, new)).await? {
                    continue;
                }
                refreshed.floors += 1;
            }
            if new.shown != new.floor {
                // Only now: what comes after the new floor was set sees it, and ranks itself.
                refreshed.ranked += self.rank_all(ranking, new, &requests).await?;
                let shown = Floor { shown: new.floor, ..new };
                requests.send(|| self.store.set_floor(ranking, new, shown)).await?;
            }
        }
        Ok(refreshed)
    }

    /// By board, the number that just enough rows reach; none where there are not more than enough.
    async fn reached(&self, requests: &Requests) -> Result<BTreeMap<&'static str, Decimal>, LedgerError> {
        let enough = SLACK * self.options.top;
        let mut highest: BTreeMap<&'static str, BinaryHeap<Reverse<Decimal>>> = BTreeMap::new();
        let mut after = None;
        loop {
            let (rows, next) = requests.send(|| self.store.rows(Segment::WHOLE, after.as_ref())).await?;
            for (key, row) in rows {
                let Some(ranking) = ranking_of(&key) else { continue };
                let row = row.map_err(unreadable)?;
                if !ranking.is_present(&row.measures) {
                    continue;
                }
                let heap = highest.entry(ranking.board).or_default();
                heap.push(Reverse(row.measures.get(ranking.by)));
                // One more than enough is kept, to know whether there is one.
                if heap.len() > enough + 1 {
                    heap.pop();
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let reached = highest.into_iter().filter_map(|(board, mut heap)| {
            (heap.len() > enough).then(|| heap.pop())?;
            Some((board, heap.pop()?.0))
        });
        Ok(reached.collect())
    }

    async fn rank_all(
        &self,
        ranking: &'static Ranking,
        floor: Floor,
        requests: &Requests,
    ) -> Result<usize, LedgerError> {
        let (mut ranked, mut after) = (0, None);
        loop {
            let (rows, next) = requests.send(|| self.store.rows(Segment::WHOLE, after.as_ref())).await?;
            for (key, row) in rows.into_iter().filter(|(key, _)| ranking_of(key) == Some(ranking)) {
                let row = row.map_err(unreadable)?;
                if let Some(rank) = new_rank(ranking, &row, floor) {
                    ranked += usize::from(requests.send(|| self.store.set_rank(&key, ranking, &row, rank)).await?);
                }
            }
            after = next;
            if after.is_none() {
                return Ok(ranked);
            }
        }
    }
}

fn unreadable(source: StoreError) -> LedgerError {
    LedgerError::Store { attempts: 1, source }
}
