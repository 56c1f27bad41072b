//! Committing one lane's records: the steps of the protocol, in their order.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::{Batch, Key, Known, Map};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::apply::{Applying, apply, partly_throttled};
use crate::intend::intend;
use crate::plan::{MAX_PLAN_BYTES, Planned};
use crate::requests::{Requests, Retry, Spent};
use crate::{Answer, Applied, Cursor, Lane, LaneId, LedgerError, Metered, Plan, PlanId, Store, off_thread};

/// Commits batches on a store.
pub struct Ledger<S> {
    pub(crate) store: S,
    pub(crate) options: Options,
    in_flight: Arc<Semaphore>,
    random: Mutex<fastrand::Rng>,
}

/// How the ledger works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Raised by the operator when a topic was recreated: gives every lane a new id.
    pub epoch: u32,
    /// Requests in flight at once, over all lanes.
    pub concurrency: usize,
    /// How failed requests are repeated.
    pub retry: Retry,
    /// How long written plans are kept, in seconds. Longer than anything may stay pending.
    pub plan_retention_s: i64,
    /// Bytes of a plan at most, compressed: a larger batch is committed as several.
    pub plan_bytes: usize,
    /// Rows of a ranking that its top must show.
    pub top: usize,
    /// Lanes that requests over HTTP share: as many are committed beside each other.
    pub http_lanes: u16,
    /// Seeds plan ids and jitter; `None` takes the operating system's randomness.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epoch: 0,
            concurrency: 32,
            retry: Retry::default(),
            plan_retention_s: 14 * 86_400,
            plan_bytes: MAX_PLAN_BYTES,
            top: 100,
            http_lanes: 8,
            seed: None,
        }
    }
}

impl Options {
    /// When a plan that is written at a time in ms may be forgotten, in seconds since 1970.
    pub(crate) fn plan_expires_s(&self, now_ms: i64) -> i64 {
        now_ms / 1_000 + self.plan_retention_s
    }
}

/// When a commit happens.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The time, in ms since 1970.
    pub now_ms: i64,
    /// When it must have stopped.
    pub deadline: Option<Instant>,
}

/// What a commit did and cost.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// The id of the lane that was used last.
    pub lane: String,
    /// Changes that said nothing new.
    pub duplicates: usize,
    /// Changes that claimed another state before them than the stored one, which won.
    pub contradictions: usize,
    /// Shares of windows that are past their retention, left out.
    pub late: usize,
    /// Points of tag sets beyond the limit, counted as overflow.
    pub overflow: usize,
    /// Plans committed.
    pub plans: usize,
    /// Entities changed.
    pub entities: usize,
    /// Rows changed.
    pub rows: usize,
    /// Transitions that another lane forestalled and that were planned again.
    pub conflicts: usize,
    /// Pending plans of earlier invocations that were finished first.
    pub redone: usize,
    /// Requests sent, retries included.
    pub requests: usize,
    /// Requests that were repeated.
    pub retries: usize,
    /// Read request units consumed.
    pub read_units: f64,
    /// Write request units consumed.
    pub write_units: f64,
}

/// Only a commit without a deadline can get here.
const MAX_ROUNDS: usize = 1_000;
/// An invocation that serves a request over HTTP has mostly finished its plan after so long, in ms.
const AT_WORK_MS: i64 = 3_000;

/// A commit under way.
pub(crate) struct Work {
    pub(crate) batch: Arc<Batch>,
    /// The lanes on which it may be committed, in the order in which they are tried.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) call: Call,
    pub(crate) requests: Requests,
    pub(crate) receipt: Receipt,
}

impl Work {
    /// What was done, and what it has cost.
    pub(crate) fn receipt(self) -> Receipt {
        let Spent { requests, retries, units } = self.requests.spent();
        Receipt { requests, retries, read_units: units.read, write_units: units.write, ..self.receipt }
    }
}

impl<S: Store> Ledger<S> {
    /// A ledger on a store.
    pub fn new(store: S, options: Options) -> Self {
        // The standard library's hasher is seeded by the operating system.
        let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one("plan ids and jitter"));
        let in_flight = Arc::new(Semaphore::new(options.concurrency));
        Self { store, options, in_flight, random: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// How it works.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sends a request of the store until it is answered, within the deadline.
    ///
    /// # Errors
    /// If it fails for good.
    pub async fn send<T, F: Future<Output = Answer<T>>>(
        &self,
        request: impl FnMut() -> F,
        call: Call,
    ) -> Result<Metered<T>, LedgerError> {
        let requests = self.requests(call);
        let value = requests.send(request).await?;
        Ok(Metered { value, units: requests.spent().units })
    }

    /// Commits a batch. When the result is `Ok`, all of it is in the rows, once, but for what another
    /// lane's pending plan holds; what was done and spent is said in any case.
    ///
    /// # Errors
    /// If it could not be finished: the same records must come again, in any grouping.
    pub async fn commit(&self, batch: &Arc<Batch>, call: Call) -> (Receipt, Result<(), LedgerError>) {
        let mut work = self.work(Arc::clone(batch), vec![Lane::of(batch, self.options.epoch)], call);
        let outcome = self.rounds(&mut work).await;
        (work.receipt(), outcome.map(|_| ()))
    }

    pub(crate) fn work(&self, batch: Arc<Batch>, lanes: Vec<Lane>, call: Call) -> Work {
        let lane = lanes.first().map(|lane| lane.id.to_string()).unwrap_or_default();
        let receipt = Receipt { lane, ..Receipt::default() };
        Work { batch, lanes, call, requests: self.requests(call), receipt }
    }

    /// Passes over the steps until nothing is left to do; what was known then of the batch's entities.
    pub(crate) async fn rounds(&self, work: &mut Work) -> Result<Arc<Map<Key, Known>>, LedgerError> {
        for round in 0..MAX_ROUNDS {
            if let Some(known) = self.round(work, round).await? {
                return Ok(known);
            }
        }
        Err(LedgerError::Contended { rounds: MAX_ROUNDS })
    }

    /// One pass over the steps; what was known of the entities when nothing is left to do.
    async fn round(&self, work: &mut Work, round: usize) -> Result<Option<Arc<Map<Key, Known>>>, LedgerError> {
        let known = Arc::new(self.read_entities(&work.batch.keys(), &work.requests, round > 0).await?);
        let Some((lane, cursor)) = self.free_lane(work, round).await? else { return Ok(None) };
        let Work { batch, call, requests, receipt, .. } = work;
        receipt.lane = lane.id.to_string();
        if let Some(cursor) = &cursor {
            check_epoch(cursor, &lane, batch)?;
        }
        let through = cursor.as_ref().and_then(|cursor| cursor.through);
        let (of_batch, of_known, plan_bytes) = (Arc::clone(batch), Arc::clone(&known), self.options.plan_bytes);
        let intention = intend(of_batch, lane.id.clone(), of_known, through, plan_bytes).await?;
        if cursor.is_none() && !intention.plans.is_empty() {
            self.begin(&lane, *call, requests, receipt).await?;
        }
        if receipt.plans == 0 {
            receipt.duplicates = intention.duplicates;
            receipt.contradictions = intention.contradictions;
        }
        // A round that comes to nothing is repeated: what it would have counted is not counted twice.
        receipt.overflow = receipt.overflow.max(intention.overflow);
        let mut conflicted = 0;
        let mut cursor = cursor.unwrap_or_else(|| unwritten(&lane));
        for Planned { plan, body, through } in &intention.plans {
            let previous = (cursor.seq > 0).then(|| cursor.plan.clone());
            cursor = self.next_cursor(&cursor, batch, *call, *through);
            let (plan_id, previous) = (&cursor.plan, previous.as_ref());
            let expires_s = self.options.plan_expires_s(call.now_ms);
            requests.send(|| self.store.write_plan(&lane.id, plan_id, previous, body, expires_s)).await?;
            if !requests.send(|| self.store.advance(&lane.id, &cursor)).await? {
                return Ok(None);
            }
            receipt.plans += 1;
            match self.apply(&lane.id, &cursor, Arc::clone(plan), *call, requests).await? {
                Applied::Overtaken => return Ok(None),
                Applied::Done { entities, rows, late, conflicts } => {
                    receipt.entities += entities;
                    receipt.rows += rows;
                    receipt.late += late;
                    conflicted += conflicts;
                }
            }
        }
        receipt.conflicts += conflicted;
        Ok((conflicted == 0 && !intention.more).then_some(known))
    }

    /// Step 2: a lane without a pending plan, and its cursor. Where another invocation may be at work on what is
    /// pending, the next lane may be free. A plan that is older, or the first where no lane is free, is finished
    /// here; then there is none, and all starts again at step 1.
    async fn free_lane(&self, work: &mut Work, round: usize) -> Result<Option<(Lane, Option<Cursor>)>, LedgerError> {
        let Work { lanes, call, requests, receipt, .. } = work;
        let mut pending = None;
        for lane in lanes.iter().cycle().skip(round % lanes.len().max(1)).take(lanes.len()) {
            let cursor = requests.send(|| self.store.read_cursor(&lane.id)).await?;
            let Some(cursor) = cursor else { return Ok(Some((lane.clone(), None))) };
            check_name(&cursor, lane)?;
            if !cursor.pending {
                return Ok(Some((lane.clone(), Some(cursor))));
            }
            if call.now_ms.saturating_sub(cursor.since_ms) >= AT_WORK_MS {
                pending = Some((lane, cursor));
                break;
            }
            pending.get_or_insert((lane, cursor));
        }
        if let Some((lane, cursor)) = pending {
            receipt.redone += 1;
            self.redo(&lane.id, &cursor, *call, requests).await?;
        }
        Ok(None)
    }

    /// The cursor of the lane's next plan. `through` moves as far as the plan's points go.
    fn next_cursor(&self, old: &Cursor, batch: &Batch, call: Call, through: Option<i64>) -> Cursor {
        let seq = old.seq + 1;
        Cursor {
            seq,
            plan: PlanId::new(seq, self.random().u64(..)),
            pending: true,
            through: old.through.max(through),
            through_ts: old.through_ts.max(through.and_then(|through| batch.newest_ms_through(through))),
            since_ms: call.now_ms,
            name: old.name.clone(),
        }
    }

    async fn apply(
        &self,
        lane: &LaneId,
        cursor: &Cursor,
        plan: Arc<Plan>,
        call: Call,
        requests: &Requests,
    ) -> Result<Applied, LedgerError> {
        let (store, options, now_ms) = (&self.store, &self.options, call.now_ms);
        apply(Applying { store, requests, options, lane, seq: cursor.seq, plan: &cursor.plan, now_ms }, plan).await
    }

    /// Steps 5 to 7 for a plan that an earlier invocation left pending.
    pub(crate) async fn redo(
        &self,
        lane: &LaneId,
        cursor: &Cursor,
        call: Call,
        requests: &Requests,
    ) -> Result<Applied, LedgerError> {
        let body = requests.send(|| self.store.read_plan(lane, &cursor.plan)).await?;
        let Some(body) = body else {
            return Err(LedgerError::PlanMissing { lane: lane.to_string(), plan: cursor.plan.to_string() });
        };
        let plan = off_thread(move || Plan::decode(&body)).await.ok_or(LedgerError::Deadline)??;
        self.apply(lane, cursor, Arc::new(plan), call, requests).await
    }

    /// Before a lane's first plan: keeps its name, and finishes what the lane of the epoch before
    /// may have left pending, because its records come on this lane now.
    async fn begin(
        &self,
        lane: &Lane,
        call: Call,
        requests: &Requests,
        receipt: &mut Receipt,
    ) -> Result<(), LedgerError> {
        requests.send(|| self.store.register_lane(&lane.id, &lane.name)).await?;
        let Some(old) = lane.before() else { return Ok(()) };
        let cursor = requests.send(|| self.store.read_cursor(&old.id)).await?;
        if let Some(cursor) = cursor.filter(|cursor| cursor.pending && cursor.name == old.name) {
            receipt.redone += 1;
            self.redo(&old.id, &cursor, call, requests).await?;
        }
        Ok(())
    }

    pub(crate) async fn read_entities(
        &self,
        keys: &[Key],
        requests: &Requests,
        consistent: bool,
    ) -> Result<Map<Key, Known>, LedgerError> {
        let chunks: Vec<Vec<Key>> = keys.chunks(S::READ_KEYS).map(<[Key]>::to_vec).collect();
        stream::iter(chunks)
            .map(|keys| self.read_chunk(keys, requests, consistent))
            .buffer_unordered(self.options.concurrency)
            .try_fold(Map::default(), |mut known, found| async {
                known.extend(found);
                Ok(known)
            })
            .await
    }

    async fn read_chunk(
        &self,
        mut keys: Vec<Key>,
        requests: &Requests,
        consistent: bool,
    ) -> Result<Vec<(Key, Known)>, LedgerError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut waits = requests.waits();
        loop {
            let page = requests.send(|| self.store.read_entities(&keys, consistent)).await?;
            found.extend(page.found);
            keys = page.unprocessed;
            if keys.is_empty() {
                return Ok(found);
            }
            waits.before_next(partly_throttled("BatchGetItem")).await?;
        }
    }

    pub(crate) fn requests(&self, call: Call) -> Requests {
        Requests::new(self.options.retry, call.deadline, Arc::clone(&self.in_flight), self.random().fork())
    }

    pub(crate) fn random(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cursor of a lane that has committed nothing yet.
fn unwritten(lane: &Lane) -> Cursor {
    Cursor {
        seq: 0,
        plan: PlanId::new(0, 0),
        pending: false,
        through: None,
        through_ts: None,
        since_ms: 0,
        name: lane.name.clone(),
    }
}

/// Fails closed where another lane has this lane's id.
fn check_name(cursor: &Cursor, lane: &Lane) -> Result<(), LedgerError> {
    if cursor.name == lane.name {
        return Ok(());
    }
    Err(LedgerError::LaneCollision { lane: lane.name.clone(), other: cursor.name.clone() })
}

/// Fails closed where offsets have started again.
fn check_epoch(cursor: &Cursor, lane: &Lane, batch: &Batch) -> Result<(), LedgerError> {
    let Some(through_ts) = cursor.through_ts else { return Ok(()) };
    let covered = |offset: i64| cursor.through.is_some_and(|through| offset <= through);
    let newer = |ts: Option<i64>| ts.is_some_and(|ts| ts > through_ts);
    match batch.positions.iter().find(|p| covered(p.offset) && newer(p.timestamp_ms)) {
        Some(position) => Err(LedgerError::TopicRecreated { lane: lane.name.clone(), offset: position.offset }),
        None => Ok(()),
    }
}
