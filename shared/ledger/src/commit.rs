//! Committing one lane's records: the steps of the protocol, in their order.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::metric::{Admission, Point};
use tidemark_model::time::DAY_MS;
use tidemark_model::{Batch, Fold, Key, Known, Map, SetAside, State, Transition, fold};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::apply::{Applying, apply, partly_throttled};
use crate::plan::{Covered, MAX_PLAN_BYTES, Planned};
use crate::requests::{Requests, Retry};
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
    /// The lane's id.
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
        let lane = Lane::of(batch, self.options.epoch);
        let requests = self.requests(call);
        let mut receipt = Receipt { lane: lane.id.to_string(), ..Receipt::default() };
        let outcome = self.rounds(batch, &lane, call, &requests, &mut receipt).await;
        let spent = requests.spent();
        receipt.requests = spent.requests;
        receipt.retries = spent.retries;
        receipt.read_units = spent.units.read;
        receipt.write_units = spent.units.write;
        (receipt, outcome)
    }

    async fn rounds(
        &self,
        batch: &Arc<Batch>,
        lane: &Lane,
        call: Call,
        requests: &Requests,
        receipt: &mut Receipt,
    ) -> Result<(), LedgerError> {
        for round in 0..MAX_ROUNDS {
            if self.round(batch, lane, call, requests, round, receipt).await? {
                return Ok(());
            }
        }
        Err(LedgerError::Contended { rounds: MAX_ROUNDS })
    }

    /// One pass over the steps; true when nothing is left to do.
    async fn round(
        &self,
        batch: &Arc<Batch>,
        lane: &Lane,
        call: Call,
        requests: &Requests,
        round: usize,
        receipt: &mut Receipt,
    ) -> Result<bool, LedgerError> {
        let known = self.read_entities(&batch.keys(), requests, round > 0).await?;
        let cursor = requests.send(|| self.store.read_cursor(&lane.id)).await?;
        if let Some(cursor) = &cursor {
            check_name(cursor, lane)?;
            if cursor.pending {
                receipt.redone += 1;
                self.redo(&lane.id, cursor, call, requests).await?;
                return Ok(false);
            }
            check_epoch(cursor, lane, batch)?;
        }
        let through = cursor.as_ref().and_then(|cursor| cursor.through);
        let intention = intend(Arc::clone(batch), lane.id.clone(), known, through, self.options.plan_bytes).await?;
        if cursor.is_none() && !intention.plans.is_empty() {
            self.begin(lane, batch, call, requests, receipt).await?;
        }
        if receipt.plans == 0 {
            receipt.duplicates = intention.duplicates;
            receipt.contradictions = intention.contradictions;
        }
        // A round that comes to nothing is repeated: what it would have counted is not counted twice.
        receipt.overflow = receipt.overflow.max(intention.overflow);
        let mut conflicted = 0;
        let mut cursor = cursor.unwrap_or_else(|| unwritten(lane));
        for Planned { plan, body, through } in &intention.plans {
            let previous = (cursor.seq > 0).then(|| cursor.plan.clone());
            cursor = self.next_cursor(&cursor, batch, call, *through);
            let (plan_id, previous) = (&cursor.plan, previous.as_ref());
            let expires_s = self.options.plan_expires_s(call.now_ms);
            requests.send(|| self.store.write_plan(&lane.id, plan_id, previous, body, expires_s)).await?;
            if !requests.send(|| self.store.advance(&lane.id, &cursor)).await? {
                return Ok(false);
            }
            receipt.plans += 1;
            match self.apply(&lane.id, &cursor, Arc::clone(plan), call, requests).await? {
                Applied::Overtaken => return Ok(false),
                Applied::Done { entities, rows, late, conflicts } => {
                    receipt.entities += entities;
                    receipt.rows += rows;
                    receipt.late += late;
                    conflicted += conflicts;
                }
            }
        }
        receipt.conflicts += conflicted;
        Ok(conflicted == 0 && !intention.more)
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
        batch: &Batch,
        call: Call,
        requests: &Requests,
        receipt: &mut Receipt,
    ) -> Result<(), LedgerError> {
        requests.send(|| self.store.register_lane(&lane.id, &lane.name)).await?;
        let Some(epoch) = self.options.epoch.checked_sub(1) else { return Ok(()) };
        let old = Lane::of(batch, epoch);
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

    fn random(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What step 3 comes to.
struct Intention {
    /// The plans to commit, in their order.
    plans: Vec<Planned>,
    /// Whether the batch must be looked at again when they are committed.
    more: bool,
    /// Changes that say nothing new.
    duplicates: usize,
    /// Changes that contradict what was stored before them.
    contradictions: usize,
    /// Points that count as overflow.
    overflow: usize,
}

/// Step 3, off the async thread.
async fn intend(
    batch: Arc<Batch>,
    lane: LaneId,
    known: Map<Key, Known>,
    through: Option<i64>,
    plan_bytes: usize,
) -> Result<Intention, LedgerError> {
    off_thread(move || plans(&batch, &lane, &known, through, plan_bytes)).await.unwrap_or(Err(LedgerError::Deadline))
}

fn plans(
    batch: &Batch,
    lane: &LaneId,
    known: &Map<Key, Known>,
    through: Option<i64>,
    plan_bytes: usize,
) -> Result<Intention, LedgerError> {
    let Fold { mut transitions, duplicates, contradictions } = fold(&batch.changes, known);
    let intention = |plans, more, overflow| Ok(Intention { plans, more, duplicates, contradictions, overflow });
    let admission = Admission::new(known, batch.max_tag_sets);
    let points = batch.points.iter().filter(|point| Some(point.offset) > through);
    let of_points = points.clone().map(|point| (&point.series, &point.day, point.day.end_ms + point.kept_ms));
    let of_samples = transitions.iter().filter_map(|transition| match &transition.after {
        State::Sample(sample) => Some((&sample.series, &sample.day, sample.expires + DAY_MS)),
        _ => None,
    });
    let admitting = admission.steps(of_points.chain(of_samples));
    if !admitting.is_empty() {
        return intention(Plan::split(admitting, &[], |_| Plan::default(), None, plan_bytes)?, true, 0);
    }
    // Records that change nothing still move `through` and `through_ts`, by an empty plan: else one of
    // them, coming again below a later `through`, would look like a recreated topic's.
    if transitions.is_empty() && batch.last_offset() <= through {
        return intention(Vec::new(), false, 0);
    }
    let of_samples = admission.settle(&mut transitions);
    let rejects = batch.rejects.iter().map(|reject| reject.offset).filter(|offset| Some(*offset) > through);
    let mut covered: Vec<Covered<'_>> = points.map(Covered::Point).chain(rejects.map(Covered::Reject)).collect();
    covered.sort_unstable_by_key(Covered::offset);
    let of_points = admission.overflow(pointed(&covered));
    let covering = |covered: &[Covered<'_>]| Plan {
        transitions: setting_aside(batch, lane, covered),
        points: admission.rows(pointed(covered)).into_sorted(),
    };
    let plans = Plan::split(transitions, &covered, covering, batch.last_offset(), plan_bytes)?;
    intention(plans, false, of_samples + of_points)
}

fn pointed<'a>(covered: &'a [Covered<'a>]) -> impl Iterator<Item = &'a Point> {
    covered.iter().filter_map(|covered| match covered {
        Covered::Point(point) => Some(*point),
        Covered::Reject(_) => None,
    })
}

/// The steps that make records set aside known as such. Nothing has touched these entities before: they come
/// to be when `through` passes their offsets, which it does once.
fn setting_aside(batch: &Batch, lane: &LaneId, covered: &[Covered<'_>]) -> Vec<Transition> {
    let lane = lane.to_string();
    let rejects = covered.iter().filter(|covered| matches!(covered, Covered::Reject(_)));
    let step = |reject: &Covered<'_>| Transition {
        key: SetAside::key(&lane, reject.offset()),
        counter: 0,
        version: SetAside::VERSION,
        before: None,
        after: State::SetAside(SetAside {
            topic: batch.topic.as_str().into(),
            redriven: false,
            expires: batch.rejects_expire,
        }),
    };
    rejects.map(step).collect()
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
