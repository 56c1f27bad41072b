//! The world of a simulation: the store in memory, and every request on its way there. A request
//! waits until the run lets it land, or not, and answers it, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_archive::{ArchiveError, ObjectStore};
use tidemark_ledger::{
    Answer, AppRetention, Cursor, Floor, LaneId, Metered, Page, Plan, PlanId, PlanPage, Row, RowPage, Segment,
    StatePage, Store, StoreError, Units, Written,
};
use tidemark_model::fold::sum;
use tidemark_model::views::Ranking;
use tidemark_model::{Decimal, Key, Known, Measures, Rows, State, Transition};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tokio::sync::oneshot;

use super::request::{Reply, Request, now};

/// A piece of the protocol that the store leaves out, to show that the simulation would see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Rows are added to whatever the lane's mark on them.
    MarkOnRows,
    /// Entities are written whatever their counter.
    Counter,
    /// The cursor is set whatever it was.
    CompareAndSet,
    /// A cursor is set to not pending whatever its seq.
    FinishCondition,
    /// A place is given whatever the row has become.
    RankCondition,
    /// A least or greatest value is set whatever there was.
    ExtremeCondition,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done and answered.
    Answered,
    /// It is done, but its answer is lost.
    AnswerLost,
    /// It is throttled.
    Throttled,
    /// It times out undone; it may travel on.
    TimedOut,
    /// Half of a batch request is done, the other half is left unprocessed.
    Halved,
    /// A read sees each item as it was at any time before.
    Stale(u64),
}

/// A request on its way.
pub(super) struct Waiting {
    pub(super) invocation: usize,
    pub(super) label: String,
    /// What it would write.
    pub(super) write: Option<Request>,
    pub(super) may_be_halved: bool,
    pub(super) may_be_stale: bool,
    fate: oneshot::Sender<Fate>,
}

impl Waiting {
    /// Whether its sender waits for it no more.
    pub(super) fn is_given_up(&self) -> bool {
        self.fate.is_closed()
    }

    pub(super) fn meet(self, fate: Fate) {
        self.fate.send(fate).unwrap();
    }
}

/// A plan that a cursor named, in the order in which they came to be committed.
pub(super) struct Committed {
    pub(super) lane: LaneId,
    pub(super) seq: u64,
    pub(super) plan: Plan,
}

pub(super) struct World {
    pub(super) store: MemoryStore,
    pub(super) objects: MemoryObjects,
    pub(super) without: Without,
    pub(super) waiting: Vec<Waiting>,
    /// Writes whose sender has given up or is gone, or that land a second time: they travel on.
    pub(super) travelling: Vec<(usize, Request)>,
    /// Everything that each entity has been, in order.
    pub(super) history: BTreeMap<Key, Vec<Known>>,
    pub(super) committed: Vec<Committed>,
    /// What DynamoDB has deleted, some time after its TTL.
    pub(super) forgotten: BTreeMap<Key, State>,
    pub(super) trace: Vec<String>,
    /// Kinds of fates that were met.
    pub(super) met: BTreeSet<&'static str>,
    /// What went back that never may (I2).
    pub(super) went_back: Option<String>,
    /// Whether a plan was finished since somebody looked.
    pub(super) finished: bool,
}

/// The world as one invocation reaches it.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) invocation: usize,
}

impl World {
    pub(super) fn new(without: Without) -> Self {
        Self {
            store: MemoryStore::default(),
            objects: MemoryObjects::default(),
            without,
            waiting: Vec::new(),
            travelling: Vec::new(),
            history: BTreeMap::new(),
            committed: Vec::new(),
            forgotten: BTreeMap::new(),
            trace: Vec::new(),
            met: BTreeSet::new(),
            went_back: None,
            finished: false,
        }
    }

    pub(super) fn note(&mut self, text: String) {
        self.trace.push(text);
    }

    /// Lets a write do what it says, and notes what goes back (I2).
    pub(super) fn land(&mut self, write: &Request) -> Reply {
        self.weaken(write);
        match write {
            Request::Advance(lane, cursor) => {
                let old = self.store.items().cursors.get(lane).cloned();
                let reply = write.land(&self.store);
                if matches!(reply, Reply::Held(true)) {
                    let body = self.store.items().plans[&(lane.clone(), cursor.plan.clone())].clone();
                    let plan = Plan::decode(&body).unwrap();
                    self.committed.push(Committed { lane: lane.clone(), seq: cursor.seq, plan });
                    let (seq, through) = old.map_or((0, None), |old| (old.seq, old.through));
                    if cursor.seq <= seq || cursor.through < through {
                        self.went_back = Some(format!("lane {lane} from seq {seq} and through {through:?}"));
                    }
                }
                reply
            }
            Request::WriteEntities(_, _, transitions) => {
                let reply = write.land(&self.store);
                let Reply::Written(written) = &reply else { unreachable!() };
                for (transition, written) in transitions.iter().zip(written) {
                    if *written == Written::Applied {
                        let known = self.store.items().entities[&transition.key].known.clone();
                        let history = self.history.entry(transition.key.clone()).or_default();
                        if let Some(last) = history.last()
                            && (known.counter <= last.counter || known.version < last.version)
                        {
                            self.went_back = Some(format!("{last:?} to {known:?}"));
                        }
                        history.push(known);
                    }
                }
                reply
            }
            Request::Finish(..) => {
                self.finished = true;
                write.land(&self.store)
            }
            _ => write.land(&self.store),
        }
    }

    /// Makes the write's condition hold, where that piece is left out.
    fn weaken(&self, write: &Request) {
        let mut items = self.store.items();
        match (self.without, write) {
            (Without::MarkOnRows, Request::AddRow(lane, _, key, ..)) => {
                if let Some(row) = items.rows.get_mut(key) {
                    row.marks.remove(lane);
                }
            }
            (Without::Counter, Request::WriteEntities(_, _, transitions)) => {
                for transition in transitions {
                    if transition.counter == 0 {
                        items.entities.remove(&transition.key);
                    } else if let Some(entity) = items.entities.get_mut(&transition.key) {
                        entity.known.counter = transition.counter;
                    }
                }
            }
            (Without::CompareAndSet, Request::Advance(lane, cursor)) => {
                if let Some(old) = items.cursors.get_mut(lane) {
                    (old.seq, old.pending) = (cursor.seq - 1, false);
                }
            }
            (Without::FinishCondition, Request::Finish(lane, _)) => {
                if let Some(cursor) = items.cursors.get_mut(lane) {
                    cursor.pending = false;
                }
            }
            (Without::RankCondition, Request::SetRank(key, _, _, rank)) => {
                if let Some(row) = items.rows.get_mut(key) {
                    row.rank = *rank;
                }
            }
            (Without::ExtremeCondition, Request::SetExtreme(key, name, value)) => {
                if let Some(row) = items.rows.get_mut(key) {
                    row.measures.set(name, *value);
                }
            }
            _ => {}
        }
    }

    /// Deletes some of the items whose TTL has passed.
    pub(super) fn forget(&mut self, now_ms: i64, rng: &mut fastrand::Rng) {
        let mut items = self.store.items();
        let expired = |known: &Known| known.state.expires().is_some_and(|expires| expires <= now_ms);
        let keys: Vec<Key> =
            items.entities.iter().filter(|(_, entity)| expired(&entity.known)).map(|(key, _)| key.clone()).collect();
        for key in keys.into_iter().filter(|_| rng.bool()) {
            let entity = items.entities.remove(&key).unwrap();
            self.history.remove(&key);
            self.trace.push(format!("{} {} is past its TTL and deleted", key.pk, key.sk));
            self.forgotten.insert(key, entity.known.state);
            self.met.insert("forgotten");
        }
        items.rows.retain(|_, row| row.measures.expires_ms().is_none_or(|expires| expires > now_ms) || rng.bool());
    }

    /// What the states that are there, and those that were, add up to, and the points of all committed plans.
    pub(super) fn sums(&self) -> Rows {
        let items = self.store.items();
        let mut rows = sum(items.entities.values().map(|entity| &entity.known.state).chain(self.forgotten.values()));
        rows.merge(self.points());
        rows
    }

    /// What the points of all committed plans add up to.
    fn points(&self) -> Rows {
        self.committed.iter().flat_map(|committed| committed.plan.points.iter().cloned()).collect()
    }
}

impl Reach {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self, label: String, write: Option<Request>, may_be_halved: bool, may_be_stale: bool) -> Fate {
        let (fate, met) = oneshot::channel();
        let invocation = self.invocation;
        self.world().waiting.push(Waiting { invocation, label, write, may_be_halved, may_be_stale, fate });
        met.await.expect("a request that is let go of has no sender any more")
    }

    fn note(&self, label: &str, what: &str) {
        self.world().note(format!("#{} {label}: {what}", self.invocation));
    }

    /// Whether a request is done, or else why not.
    fn outcome(&self, label: &str, fate: Fate) -> Result<(), StoreError> {
        let (operation, table) = ("Request", "any".to_owned());
        match fate {
            Fate::Throttled => {
                self.note(label, "throttled");
                Err(StoreError::Throttled { operation, table, source: "throttled".into() })
            }
            Fate::TimedOut => {
                self.note(label, "timed out");
                Err(StoreError::Unanswered { operation, table, source: "timed out".into() })
            }
            Fate::Answered | Fate::AnswerLost | Fate::Halved | Fate::Stale(_) => Ok(()),
        }
    }

    async fn write(&self, write: Request) -> Answer<Reply> {
        let fate = self.wait(write.to_string(), Some(write.clone()), false, false).await;
        self.writes(write, fate)
    }

    fn writes(&self, write: Request, fate: Fate) -> Answer<Reply> {
        let label = write.to_string();
        self.outcome(&label, fate)?;
        let reply = self.world().land(&write);
        let lost = fate == Fate::AnswerLost;
        self.note(&label, &format!("{reply}{}", if lost { ", answer lost" } else { "" }));
        if lost {
            return Err(StoreError::Unanswered {
                operation: "Request",
                table: "any".to_owned(),
                source: "lost".into(),
            });
        }
        Ok(Metered { value: reply, units: Units::default() })
    }

    async fn read<T>(&self, label: &str, read: impl FnOnce(&MemoryStore) -> T) -> Answer<T> {
        let fate = self.wait(label.to_owned(), None, false, false).await;
        self.outcome(label, fate)?;
        self.note(label, "answered");
        let value = read(&self.world().store);
        Ok(Metered { value, units: Units::default() })
    }

    /// The part of the keys that a batch read is done for, and the part that it is not.
    fn split<'a>(&self, keys: &'a [Key], fate: Fate) -> (&'a [Key], &'a [Key]) {
        keys.split_at(if fate == Fate::Halved { keys.len() / 2 } else { keys.len() })
    }
}

fn listed(keys: &[Key]) -> String {
    keys.iter().map(|key| format!(" {} {}", key.pk, key.sk)).collect()
}

impl Store for Reach {
    async fn read_entities(&self, keys: &[Key], consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        let label = format!("reads entities{}:{}", if consistent { " strongly" } else { "" }, listed(keys));
        let fate = self.wait(label.clone(), None, true, !consistent).await;
        self.outcome(&label, fate)?;
        let (asked, left) = self.split(keys, fate);
        let mut found = now(self.world().store.read_entities(asked, consistent)).found;
        if let Fate::Stale(seed) = fate {
            let mut rng = fastrand::Rng::with_seed(seed);
            let world = self.world();
            let before = |key: &Key| {
                let history = world.history.get(key)?;
                Some((key.clone(), history.get(rng.usize(0..=history.len()).checked_sub(1)?)?.clone()))
            };
            found = asked.iter().filter_map(before).collect();
        }
        let seen: String = found.iter().map(|(key, known)| format!(" {} ({})", key.pk, known.counter)).collect();
        self.note(&label, &format!("{seen}{}", if left.is_empty() { "" } else { " and some unprocessed" }));
        Ok(Metered { value: Page { found, unprocessed: left.to_vec() }, units: Units::default() })
    }

    async fn read_cursor(&self, lane: &LaneId) -> Answer<Option<Cursor>> {
        let label = format!("reads the cursor of lane {lane}");
        let fate = self.wait(label.clone(), None, false, false).await;
        self.outcome(&label, fate)?;
        let cursor = now(self.world().store.read_cursor(lane));
        let told = cursor.as_ref().map(|c| format!("seq {} pending {} through {:?}", c.seq, c.pending, c.through));
        self.note(&label, &told.unwrap_or_else(|| "none".to_owned()));
        Ok(Metered { value: cursor, units: Units::default() })
    }

    async fn read_plan(&self, lane: &LaneId, plan: &PlanId) -> Answer<Option<Vec<u8>>> {
        let label = format!("reads the plan of lane {lane}");
        self.read(&label, |store| now(store.read_plan(lane, plan))).await
    }

    async fn register_lane(&self, lane: &LaneId, name: &str) -> Answer<()> {
        let answer = self.write(Request::RegisterLane(lane.clone(), name.to_owned())).await?;
        Ok(Metered { value: (), units: answer.units })
    }

    async fn write_plan(&self, lane: &LaneId, plan: &PlanId, body: &[u8], expires_s: i64) -> Answer<()> {
        let answer = self.write(Request::WritePlan(lane.clone(), plan.clone(), body.to_vec(), expires_s)).await?;
        Ok(Metered { value: (), units: answer.units })
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        held(self.write(Request::Advance(lane.clone(), cursor.clone())).await?)
    }

    async fn write_entities(&self, lane: &LaneId, seq: u64, transitions: &[&Transition]) -> Answer<Vec<Written>> {
        let of = |transitions: &[&Transition]| {
            Request::WriteEntities(
                lane.clone(),
                seq,
                transitions.iter().map(|transition| (*transition).clone()).collect(),
            )
        };
        let all = of(transitions);
        let fate = self.wait(all.to_string(), Some(all.clone()), true, false).await;
        let half = if fate == Fate::Halved { transitions.len() / 2 } else { transitions.len() };
        let answer = self.writes(of(transitions.get(..half).unwrap()), fate)?;
        let Reply::Written(mut written) = answer.value else { unreachable!() };
        written.resize(transitions.len(), Written::Unprocessed);
        Ok(Metered { value: written, units: answer.units })
    }

    async fn read_marks(&self, lane: &LaneId, keys: &[Key]) -> Answer<Page<(Key, u64), Key>> {
        let label = format!("reads the marks of lane {lane}:{}", listed(keys));
        let fate = self.wait(label.clone(), None, true, false).await;
        self.outcome(&label, fate)?;
        let (asked, left) = self.split(keys, fate);
        let found = now(self.world().store.read_marks(lane, asked)).found;
        self.note(&label, &found.iter().map(|(_, mark)| format!(" {mark}")).collect::<String>());
        Ok(Metered { value: Page { found, unprocessed: left.to_vec() }, units: Units::default() })
    }

    async fn add_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> Answer<Option<Row>> {
        let answer = self.write(Request::AddRow(lane.clone(), seq, key.clone(), delta.clone(), ranking)).await?;
        let Reply::Row(row) = answer.value else { unreachable!() };
        Ok(Metered { value: row, units: answer.units })
    }

    async fn set_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> Answer<bool> {
        held(self.write(Request::SetExtreme(key.clone(), name, value)).await?)
    }

    async fn read_floor(&self, ranking: &'static Ranking) -> Answer<Floor> {
        self.read(&format!("reads the floor of {}", ranking.board), |store| now(store.read_floor(ranking))).await
    }

    async fn set_floor(&self, ranking: &'static Ranking, read: Floor, floor: Floor) -> Answer<bool> {
        held(self.write(Request::SetFloor(ranking, read, floor)).await?)
    }

    async fn set_rank(&self, key: &Key, ranking: &'static Ranking, seen: &Row, rank: Option<Decimal>) -> Answer<bool> {
        held(self.write(Request::SetRank(key.clone(), ranking, seen.clone(), rank)).await?)
    }

    async fn finish(&self, lane: &LaneId, seq: u64) -> Answer<bool> {
        held(self.write(Request::Finish(lane.clone(), seq)).await?)
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        self.read("lists lanes", |store| now(store.lanes(after))).await
    }

    async fn rows(&self, segment: Segment, after: Option<&Key>) -> Answer<RowPage> {
        self.read(&format!("reads rows {}/{}", segment.number, segment.of), |store| now(store.rows(segment, after)))
            .await
    }

    async fn states(&self, segment: Segment, after: Option<&Key>) -> Answer<StatePage> {
        let label = format!("reads states {}/{}", segment.number, segment.of);
        self.read(&label, |store| now(store.states(segment, after))).await
    }

    async fn plans(&self, lane: &LaneId, seqs: &RangeInclusive<u64>, after: Option<&PlanId>) -> Answer<PlanPage> {
        let label = format!("reads the plans {seqs:?} of lane {lane}");
        self.read(&label, |store| now(store.plans(lane, seqs, after))).await
    }

    async fn create_row(&self, key: &Key, row: &Measures, marks: &[(LaneId, u64)]) -> Answer<bool> {
        held(self.write(Request::CreateRow(key.clone(), row.clone(), marks.to_vec())).await?)
    }

    async fn read_retention(&self) -> Answer<AppRetention> {
        self.read("reads the retention settings", |store| now(store.read_retention())).await
    }
}

fn held(answer: Metered<Reply>) -> Answer<bool> {
    let Reply::Held(held) = answer.value else { unreachable!() };
    Ok(Metered { value: held, units: answer.units })
}

impl ObjectStore for Reach {
    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        let label = format!("sets records aside in {key}");
        let fate = self.wait(label.clone(), None, false, false).await;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ArchiveError::Put {
            bucket: "bucket".to_owned(),
            key: key.to_owned(),
            source,
        };
        self.outcome(&label, fate).map_err(|error| failed(error.into()))?;
        let objects = self.world().objects.clone();
        objects.put(key, content_type, body).await?;
        self.note(&label, "done");
        if fate == Fate::AnswerLost { Err(failed("lost".into())) } else { Ok(()) }
    }
}
