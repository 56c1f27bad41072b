//! Repairs: one addition to a row that has drifted.
//!
//! What a row is off by stays the same under commits, which add the same to it and to the sum. So the
//! repair adds that, as a plan of one more lane would, the audit's: its mark on the row is the number of
//! its repairs. A repair that comes twice or late, or of two audits at once, is refused by the mark; one
//! beside commits loses nothing, and the row keeps under `^audit` what it read before, so that what lanes
//! find from theirs still adds up.
//!
//! A tally counts how its ranking's rows came and went, as they were stored. By how much it is off is known only
//! while these are right; so it is repaired in the round after them.
//!
//! A missing row has lost its marks, and an old addition that came late would count again. It gets marks of
//! all lanes, as of their last plans: none of these moves it, or it would be undecided.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::rows::{Combine, TTL};
use tidemark_model::views::{ranking_of, rankings};
use tidemark_model::{Key, Measures};

use super::Look;
use super::compare::{RANK, Unlike};
use crate::requests::Requests;
use crate::rows::new_rank;
use crate::{LaneId, Ledger, LedgerError, Row, Store};

impl<S: Store> Ledger<S> {
    /// Repairs rows that have drifted. Whether that held is seen by the next look.
    pub(super) async fn repair(
        &self,
        look: &Look,
        drifted: Vec<&Unlike>,
        requests: &Requests,
    ) -> Result<(), LedgerError> {
        let marks: Vec<(LaneId, u64)> = look.after.iter().map(|(lane, cursor)| (lane.clone(), cursor.seq)).collect();
        let uncertain = uncertain_tallies(&drifted);
        let repairs: Vec<_> =
            drifted.into_iter().map(|row| self.repair_row(look, row, &marks, &uncertain, requests)).collect();
        stream::iter(repairs).buffer_unordered(self.options.concurrency).try_for_each(|()| async { Ok(()) }).await
    }

    async fn repair_row(
        &self,
        look: &Look,
        drifted: &Unlike,
        marks: &[(LaneId, u64)],
        uncertain: &BTreeSet<(Key, &'static str)>,
        requests: &Requests,
    ) -> Result<(), LedgerError> {
        match self.put_right(look, drifted, marks, uncertain, requests).await {
            // A text where a number should stand takes no addition. The others' repairs go on.
            Err(LedgerError::Store { source: error, .. }) if !error.is_retryable() => {
                let Key { pk, sk } = &drifted.key;
                tracing::warn!(%pk, %sk, %error, "row could not be repaired");
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn put_right(
        &self,
        look: &Look,
        drifted: &Unlike,
        marks: &[(LaneId, u64)],
        uncertain: &BTreeSet<(Key, &'static str)>,
        requests: &Requests,
    ) -> Result<(), LedgerError> {
        let key = &drifted.key;
        let Some(row) = (match look.stored.get(key) {
            None => self.create(look, key, marks, requests).await?,
            Some(stored) => self.correct(stored, drifted, uncertain, requests).await?,
        }) else {
            return Ok(());
        };
        let Some(ranking) = ranking_of(key) else { return Ok(()) };
        let floor = requests.send(|| self.store.read_floor(ranking)).await?;
        if let Some(rank) = new_rank(ranking, &row, floor) {
            requests.send(|| self.store.set_rank(key, ranking, &row, rank)).await?;
        }
        Ok(())
    }

    /// Makes a row that is missing.
    async fn create(
        &self,
        look: &Look,
        key: &Key,
        marks: &[(LaneId, u64)],
        requests: &Requests,
    ) -> Result<Option<Row>, LedgerError> {
        let mut measures = Measures::default();
        for (name, n) in look.computed.get(key).into_iter().flat_map(Measures::iter) {
            if name == TTL || Combine::of(name) == Combine::Sum {
                measures.add(name, n);
            }
        }
        let created = requests.send(|| self.store.create_row(key, &measures, marks)).await?;
        Ok(created.then_some(Row { measures, ..Row::default() }))
    }

    /// Adds what a row is off by; the row as it is then, if it competes in a ranking.
    async fn correct(
        &self,
        stored: &Row,
        drifted: &Unlike,
        uncertain: &BTreeSet<(Key, &'static str)>,
        requests: &Requests,
    ) -> Result<Option<Row>, LedgerError> {
        let key = &drifted.key;
        let is_certain = |name: &str| !uncertain.iter().any(|(row, tally)| row == key && *tally == name);
        let numbers = drifted.differences().iter().filter(|number| number.measure != RANK);
        let mut delta = Measures::default();
        for number in numbers.filter(|number| is_certain(&number.measure)) {
            let off = number.stored.unwrap_or_default();
            delta.add(&number.measure, number.recomputed.unwrap_or_default().plus(-off));
        }
        if delta.is_empty() {
            return Ok(Some(stored.clone()));
        }
        let (lane, seq) = (LaneId::AUDIT, stored.mark + 1);
        requests.send(|| self.store.add_row(&lane, seq, key, &delta, ranking_of(key))).await
    }
}

/// The tallies, as rows and numbers, of rankings some of whose rows must be put right first.
fn uncertain_tallies(drifted: &[&Unlike]) -> BTreeSet<(Key, &'static str)> {
    let is_uncertain = |row: &&&Unlike| {
        let Some(ranking) = ranking_of(&row.key) else { return false };
        row.differences().iter().any(|number| number.measure == ranking.present)
    };
    let boards: BTreeSet<&str> =
        drifted.iter().filter(is_uncertain).filter_map(|row| Some(ranking_of(&row.key)?.board)).collect();
    rankings()
        .filter(|ranking| boards.contains(ranking.board))
        .map(|ranking| (ranking.tally_row(), ranking.tally.1))
        .collect()
}
