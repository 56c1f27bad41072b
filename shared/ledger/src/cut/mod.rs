//! A cut through running commits: what a scan of the tables becomes exact with.
//!
//! A scan reads each item as of a moment of its own. What was committed meanwhile stands in the lanes' plans:
//! they are the log by which what was scanned is carried on to one place of each lane, the cut's *end*. In
//! this order, every read strongly consistent: all lanes' cursors, which are the *beginning*; the scans of rows
//! and entities, by the caller; all cursors again, which are the end; all cursors once more. Then the log:
//! every committed plan after the beginning (its pending one included) up to the end, reduced to the
//! transitions that applied.
//!
//! - A plan before the log was finished when its cursor was read first: all that is scanned shows it.
//! - A plan after the end was committed after the scans: nothing that is scanned shows it.
//! - A plan of the log is in a row that is scanned where the lane's mark there says so, and in an entity where
//!   the counter does: a lane's plans come to a row one after the other. So [`Redo`] adds exactly the others.
//!
//! **Which plan was committed** of several that were written for one seq: each names the committed plan before
//! it, because whoever wrote it had read that cursor, so the plans of the next seq tell; and the end's cursor
//! tells of the last. **What applied** is the plan without its noted conflicts: the note is written before the
//! plan is finished, and a plan of the log that is still pending is finished here.
//!
//! **The end is no moment.** Cursors are read one after the other, so a plan of the log may have changed an
//! entity over one that another lane committed just beyond its end. The entity's state is then that of both, and so
//! must the rows be: such a plan *lends* its transitions below those of the log, and none of its points. It was
//! committed before the end was read to its last lane, so the cursors that are read once more have it. When its
//! records come again, what it lent is known by its version, and the rest still counts.

mod redo;
mod restore;

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tidemark_model::{Key, Map};

pub use self::redo::{Redo, Rest};

use crate::requests::Requests;
use crate::{Call, Cursor, Cursors, LaneId, Ledger, LedgerError, Plan, PlanId, Store, WrittenPlan, off_thread};

/// Plans that are finished beside each other: each takes many times its item's size.
const FINISHED: usize = 4;

/// A cut that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Where all lanes stood before the scans.
    pub began: Cursors,
}

/// A committed plan, reduced to what counts in a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// Its lane.
    pub lane: LaneId,
    /// Its seq.
    pub seq: u64,
    /// Its transitions that applied, and its points.
    pub plan: Plan,
}

impl<S: Store> Ledger<S> {
    /// Begins a cut. Rows and entities are to be scanned after this.
    ///
    /// # Errors
    /// If a request fails.
    pub async fn begin_cut(&self, call: Call) -> Result<Cut, LedgerError> {
        Ok(Cut { began: self.cursors(&self.requests(call)).await? })
    }

    /// Ends a cut, after the scans: where all lanes stand then, none pending. The log goes to the sink in
    /// pages, each lane's plans in the order of their seqs; what plans beyond the end lend comes last.
    /// A page is a request's, of 1 MB at most as it is stored.
    ///
    /// # Errors
    /// If a request or the sink fails, or a plan of the log is not there any more. A repetition begins anew.
    pub async fn end_cut<E, F>(
        &self,
        cut: &Cut,
        call: Call,
        mut sink: impl FnMut(Vec<Logged>) -> F,
    ) -> Result<Cursors, E>
    where
        E: From<LedgerError>,
        F: Future<Output = Result<(), E>>,
    {
        let requests = self.requests(call);
        let mut end = self.cursors(&requests).await?;
        let mut beyond = self.beyond(&end, call, &requests).await?;
        for (lane, cursor) in &end {
            let first = cut.began.get(lane).map_or(1, |began| began.seq + u64::from(!began.pending));
            let mut log = Log::new(lane, first, cursor);
            while let Some(page) = self.log_page(&mut log, &requests).await? {
                beyond.see(&page);
                if !page.is_empty() {
                    sink(page).await?;
                }
            }
        }
        let lent = beyond.lent();
        if !lent.is_empty() {
            sink(lent).await?;
        }
        end.values_mut().for_each(|cursor| cursor.pending = false);
        Ok(end)
    }

    /// Where all lanes stand.
    pub(crate) async fn cursors(&self, requests: &Requests) -> Result<Cursors, LedgerError> {
        let (mut cursors, mut after) = (Cursors::new(), None);
        loop {
            let lanes = requests.send(|| self.store.lanes(after.as_ref())).await?;
            let reads: Vec<_> = lanes.iter().map(|lane| self.cursor(lane, requests)).collect();
            let read: Vec<_> = stream::iter(reads).buffered(self.options.concurrency).try_collect().await?;
            after = lanes.last().cloned();
            cursors.extend(lanes.into_iter().zip(read).filter_map(|(lane, cursor)| Some((lane, cursor?))));
            if after.is_none() {
                return Ok(cursors);
            }
        }
    }

    pub(crate) async fn cursor(&self, lane: &LaneId, requests: &Requests) -> Result<Option<Cursor>, LedgerError> {
        requests.send(|| self.store.read_cursor(lane)).await
    }

    /// What was committed while the end was read. All plans up to there are finished then.
    async fn beyond(&self, end: &Cursors, call: Call, requests: &Requests) -> Result<Beyond, LedgerError> {
        let now = self.cursors(requests).await?;
        let pending = now.iter().filter(|(_, cursor)| cursor.pending);
        let redos: Vec<_> = pending.map(|(lane, cursor)| self.redo(lane, cursor, call, requests)).collect();
        stream::iter(redos).buffer_unordered(FINISHED).try_for_each(|_| async { Ok(()) }).await?;
        let mut beyond = Beyond::default();
        for (lane, cursor) in &now {
            let first = end.get(lane).map_or(1, |end| end.seq + 1);
            let mut log = Log::new(lane, first, cursor);
            while let Some(page) = self.log_page(&mut log, requests).await? {
                beyond.add(page);
            }
        }
        Ok(beyond)
    }

    /// The next of a lane's committed plans; `None` after the last.
    async fn log_page(&self, log: &mut Log<'_>, requests: &Requests) -> Result<Option<Vec<Logged>>, LedgerError> {
        if log.is_read {
            return Ok(None);
        }
        let (plans, next) = requests.send(|| self.store.plans(log.lane, &log.seqs, log.after.as_ref())).await?;
        let committed = log.committed(plans, next)?;
        let ends = committed.first().zip(committed.last()).map(|((first, _), (last, _))| *first..=*last);
        let Some(seqs) = ends else { return Ok(Some(Vec::new())) };
        let conflicts = self.read_conflicts(log.lane, &seqs, requests).await?;
        let lane = log.lane.clone();
        let reduced = move || {
            let logged = committed.into_iter().map(|(seq, WrittenPlan { plan: id, body, .. })| {
                let mut plan = Plan::decode(&body)?;
                if let Some(conflicts) = conflicts.get(&id) {
                    plan.leave_out(conflicts);
                }
                Ok(Logged { lane: lane.clone(), seq, plan })
            });
            logged.collect::<Result<Vec<_>, LedgerError>>()
        };
        off_thread(reduced).await.ok_or(LedgerError::Deadline)?.map(Some)
    }

    async fn read_conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        requests: &Requests,
    ) -> Result<BTreeMap<PlanId, Vec<usize>>, LedgerError> {
        let (mut conflicts, mut after) = (BTreeMap::new(), None);
        loop {
            let (page, next) = requests.send(|| self.store.conflicts(lane, seqs, after.as_ref())).await?;
            conflicts.extend(page);
            after = next;
            if after.is_none() {
                return Ok(conflicts);
            }
        }
    }
}

/// A lane's plans of some seqs, being read.
struct Log<'a> {
    lane: &'a LaneId,
    seqs: RangeInclusive<u64>,
    /// The newest plan of them.
    last: &'a PlanId,
    after: Option<PlanId>,
    is_read: bool,
    /// The seq whose plans were read last.
    seq: u64,
    /// Those plans. One of them was committed.
    written: Vec<WrittenPlan>,
}

impl<'a> Log<'a> {
    /// From a seq on up to where a cursor stands.
    fn new(lane: &'a LaneId, first: u64, end: &'a Cursor) -> Self {
        let seqs = first..=end.seq;
        let is_read = seqs.is_empty();
        Self { lane, seqs, last: &end.plan, after: None, is_read, seq: first, written: Vec::new() }
    }

    /// Takes a page; the plans of which is known by now that they were committed, with their seqs.
    fn committed(
        &mut self,
        plans: Vec<WrittenPlan>,
        next: Option<PlanId>,
    ) -> Result<Vec<(u64, WrittenPlan)>, LedgerError> {
        let mut committed = Vec::new();
        for plan in plans {
            let seq = plan.plan.seq().unwrap_or_default();
            if seq != self.seq {
                self.check_next(seq)?;
                committed.push(self.choose(plan.previous.as_ref())?);
                self.seq = seq;
                self.written.clear();
            }
            self.written.push(plan);
        }
        self.after = next;
        if self.after.is_none() {
            self.is_read = true;
            self.check_next(self.seqs.end() + 1)?;
            committed.push(self.choose(Some(self.last))?);
        }
        Ok(committed)
    }

    fn check_next(&self, seq: u64) -> Result<(), LedgerError> {
        let next = self.seq + u64::from(!self.written.is_empty());
        if seq == next { Ok(()) } else { Err(self.lacks(next)) }
    }

    fn choose(&mut self, named: Option<&PlanId>) -> Result<(u64, WrittenPlan), LedgerError> {
        let at = self.written.iter().position(|plan| Some(&plan.plan) == named);
        let at = at.ok_or_else(|| self.lacks(self.seq))?;
        Ok((self.seq, self.written.swap_remove(at)))
    }

    fn lacks(&self, seq: u64) -> LedgerError {
        LedgerError::LogIncomplete { lane: self.lane.to_string(), seq }
    }
}

/// Plans that were committed beyond a cut's end, of whose transitions the log may need some.
#[derive(Default)]
struct Beyond {
    plans: Vec<Logged>,
    /// Of each entity that they change, the highest counter from which a plan of the log changes it.
    reached: Map<Key, u64>,
}

impl Beyond {
    fn add(&mut self, plans: Vec<Logged>) {
        for logged in plans {
            self.reached.extend(logged.plan.transitions.iter().map(|transition| (transition.key.clone(), 0)));
            // Points are above the end's `through`: they count when they come again.
            self.plans.push(Logged { plan: Plan { points: Vec::new(), ..logged.plan }, ..logged });
        }
    }

    fn see(&mut self, plans: &[Logged]) {
        for transition in plans.iter().flat_map(|logged| &logged.plan.transitions) {
            if let Some(reached) = self.reached.get_mut(&transition.key) {
                *reached = transition.counter.max(*reached);
            }
        }
    }

    /// The transitions over which the log has others.
    fn lent(self) -> Vec<Logged> {
        let Self { mut plans, reached } = self;
        let is_lent = |key: &Key, counter: u64| reached.get(key).is_some_and(|reached| counter < *reached);
        for Logged { plan, .. } in &mut plans {
            plan.transitions.retain(|transition| is_lent(&transition.key, transition.counter));
        }
        plans.retain(|logged| !logged.plan.transitions.is_empty());
        plans
    }
}
