//! The world of a simulation: the store in memory, every request on its way there, and what has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use tidemark_ledger::{Cursor, LaneId, Plan, Written};
use tidemark_model::fold::sum;
use tidemark_model::{Key, Known, Rows, State};
use tidemark_tests::archived::Archived;
use tidemark_tests::memory::{MemoryObjects, MemoryStore};

use super::reach::Waiting;
use super::request::{Reply, Request};

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
    /// Nobody notes which transitions will never apply.
    ConflictNotes,
    /// A scan does not tell lanes' marks on rows.
    MarksInScans,
}

/// A plan that a cursor named, in the order in which they came to be committed.
#[derive(Clone)]
pub(super) struct Committed {
    pub(super) lane: LaneId,
    pub(super) seq: u64,
    pub(super) plan: Plan,
    /// What the lane covered before.
    pub(super) through: Option<i64>,
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
    /// What has happened at all.
    pub(super) met: BTreeSet<&'static str>,
    /// What went back that never may (I2).
    pub(super) went_back: Option<String>,
    /// Whether a plan was finished since somebody looked.
    pub(super) finished: bool,
    /// What archives have brought since somebody looked.
    pub(super) archives: Vec<Archived>,
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
            archives: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, text: String) {
        self.trace.push(text);
    }

    /// Lets a write do what it says, and notes what goes back (I2).
    pub(super) fn land(&mut self, write: &Request) -> Reply {
        self.weaken(write);
        let (before, cursor) = (self.marks(write), self.cursor(write));
        let mut reply = write.land(&self.store);
        let after = self.marks(write);
        for (before, after) in before.iter().zip(&after) {
            self.must_not_go_back("a mark", before, after);
        }
        match (write, &mut reply) {
            (Request::Advance(lane, _), Reply::Held(true)) => self.commit(lane, cursor.as_ref()),
            (Request::WriteEntities(_, seq, transitions), Reply::Written(written)) => {
                for (transition, written) in transitions.iter().zip(written) {
                    self.see_written(*seq, &transition.key, *written);
                }
            }
            (Request::AddRow(_, seq, ..), Reply::Row { row, added }) => {
                *added = before != after;
                if row.as_ref().is_some_and(|row| row.mark > *seq) {
                    self.met.insert("overtaken");
                }
            }
            (Request::Finish(..), _) => self.finished = true,
            (Request::WriteConflicts(lane, plan, ..), _) if self.without == Without::ConflictNotes => {
                self.store.items().conflicts.remove(&(lane.clone(), plan.clone()));
            }
            _ => {}
        }
        reply
    }

    /// The marks that a write may set: the lane's on entities or a row, the refreshes of a floor.
    fn marks(&self, write: &Request) -> Vec<Option<u64>> {
        let items = self.store.items();
        match write {
            Request::WriteEntities(lane, _, transitions) => {
                let entities = transitions.iter().map(|transition| items.entities.get(&transition.key));
                entities.map(|entity| entity?.marks.get(lane).copied()).collect()
            }
            Request::AddRow(lane, _, key, ..) => {
                vec![items.rows.get(key).and_then(|row| row.marks.get(lane).copied())]
            }
            Request::SetFloor(ranking, ..) => vec![items.floors.get(ranking.board).map(|floor| floor.refreshed)],
            _ => Vec::new(),
        }
    }

    fn cursor(&self, write: &Request) -> Option<Cursor> {
        let Request::Advance(lane, _) = write else { return None };
        self.store.items().cursors.get(lane).cloned()
    }

    fn commit(&mut self, lane: &LaneId, old: Option<&Cursor>) {
        let cursor = self.store.items().cursors[lane].clone();
        let named = (lane.clone(), cursor.plan.clone());
        let body = self.store.items().plans.get(&named).cloned().expect("the plan that a cursor names is written");
        let plan = Plan::decode(&body).unwrap();
        if let Some(old) = old {
            self.must_not_go_back("a seq", old.seq + 1, cursor.seq);
            self.must_not_go_back("through", old.through, cursor.through);
            self.must_not_go_back("through_ts", old.through_ts, cursor.through_ts);
        }
        let through = old.and_then(|old| old.through);
        let has_offsets = !["redrive ", "http "].iter().any(|source| cursor.name.starts_with(source));
        if !plan.transitions.is_empty() && cursor.through == through && has_offsets {
            self.met.insert("several plans of a batch");
        }
        self.committed.push(Committed { lane: lane.clone(), seq: cursor.seq, plan, through });
    }

    fn see_written(&mut self, seq: u64, key: &Key, written: Written) {
        match written {
            Written::Applied => {
                let known = self.store.items().entities[key].known.clone();
                if let Some(last) = self.history.get(key).and_then(|history| history.last().cloned()) {
                    self.must_not_go_back("a counter", last.counter + 1, known.counter);
                    self.must_not_go_back("a version", last.version, known.version);
                }
                self.history.entry(key.clone()).or_default().push(known);
            }
            Written::Refused { mark } if mark > seq => {
                self.met.insert("overtaken");
            }
            Written::Refused { mark } if mark < seq => {
                self.met.insert("conflicted");
            }
            Written::Unseen => {
                self.met.insert("unseen");
            }
            _ => {}
        }
    }

    fn must_not_go_back<T: PartialOrd + Debug>(&mut self, what: &str, before: T, after: T) {
        // A store that is weakened lets things go back: there, it is what comes of it that must be seen.
        if after < before && self.without == Without::Nothing {
            self.went_back = Some(format!("{what} from {before:?} to {after:?}"));
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
            (Without::FinishCondition, Request::Finish(lane, ..)) => {
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
