//! The store as the protocol needs it: each method is one request of one step.

use std::future::Future;
use std::iter::Sum;
use std::ops::{AddAssign, RangeInclusive};

use serde::{Deserialize, Serialize};
use tidemark_model::views::Ranking;
use tidemark_model::{Decimal, Key, Known, Measures, Settings, Transition};

use crate::{Cursor, LaneId, LaneStats, PlanId, StoreError};

/// Request units that a store reported as consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Read request units (4 KB each, half for an eventually consistent read).
    pub read: f64,
    /// Write request units (1 KB each).
    pub write: f64,
}

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.write += other.write;
    }
}

impl Sum for Units {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, units| {
            sum += units;
            sum
        })
    }
}

/// A value and what it cost.
#[derive(Clone, Debug)]
pub struct Metered<T> {
    /// What was answered.
    pub value: T,
    /// What it consumed.
    pub units: Units,
}

/// What a request comes to.
pub type Answer<T> = Result<Metered<T>, StoreError>;

/// The part of a read that was answered.
#[derive(Clone, Debug)]
pub struct Page<T, K> {
    /// What was found.
    pub found: Vec<T>,
    /// The keys that must be asked for again.
    pub unprocessed: Vec<K>,
}

/// What became of one entity's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The transition applied.
    Applied,
    /// The counter had moved; this lane's mark on the item is given, 0 for none.
    Refused {
        /// The seq of the lane's last plan that changed the entity.
        mark: u64,
    },
    /// The condition did not hold, and the refusal does not show the item.
    Unseen,
    /// Not tried: throttled within its batch.
    Unprocessed,
}

/// A row as a request found or left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its numbers.
    pub measures: Measures,
    /// Its place in its ranking's index, if it has one.
    pub rank: Option<Decimal>,
    /// The lane's mark on it; 0 for none.
    pub mark: u64,
    /// What its ranking's `present` was before the lane's newest addition.
    pub before: Decimal,
    /// The marks of all lanes on it, in the order of their ids. Scans alone tell them.
    pub marks: Vec<(LaneId, u64)>,
}

/// A plan as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPlan {
    /// Its id.
    pub plan: PlanId,
    /// The id of the lane's committed plan before it; `None` for a lane's first, and for those of releases
    /// that did not say it.
    pub previous: Option<PlanId>,
    /// Its persisted form.
    pub body: Vec<u8>,
}

/// The least numbers that make a row of a ranking stand in its index; `None` is below every number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// For writers: a row that reaches it is given its place.
    pub floor: Option<Decimal>,
    /// For readers, never lower: every row that reaches it has its place. Above the writers' floor
    /// only while a refresh that lowered that one looks at all rows, or has died over it.
    pub shown: Option<Decimal>,
    /// How often the floor has been set by a look at all rows.
    pub refreshed: u64,
}

/// A part of a table's items that can be scanned beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which, from 0.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl Segment {
    /// The whole table as one.
    pub const WHOLE: Self = Self { number: 0, of: 1 };
}

/// How long apps' activity and metrics are kept, where that is not the default: days by app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppRetention {
    /// Of activity.
    pub activity: Vec<(String, i64)>,
    /// Of metrics.
    pub metrics: Vec<(String, i64)>,
}

impl AppRetention {
    /// How records are decoded at a time in ms: as the deployment says, with these retentions.
    pub fn applied_to(self, settings: &Settings, now_ms: i64) -> Settings {
        let of = |apps: Vec<(String, i64)>| apps.into_iter().map(|(app, days)| (app.into(), days));
        Settings {
            now_ms,
            activity_retention: settings.activity_retention.with_apps(of(self.activity)),
            metrics_retention: settings.metrics_retention.with_apps(of(self.metrics)),
            ..settings.clone()
        }
    }
}

/// The requests of the protocol. Every write may be repeated, late or twice.
pub trait Store: Send + Sync {
    /// Keys that one [`Store::read_entities`] may ask for (BatchGetItem's limit).
    const READ_KEYS: usize = 100;
    /// Entities that one [`Store::write_entities`] or [`Store::create_entities`] may carry
    /// (BatchExecuteStatement's limit).
    const WRITE_ENTITIES: usize = 25;

    /// Step 1: reads entities.
    fn read_entities(
        &self,
        keys: &[Key],
        consistent: bool,
    ) -> impl Future<Output = Answer<Page<(Key, Known), Key>>> + Send;

    /// Step 2: reads a lane's cursor, strongly consistent.
    fn read_cursor(&self, lane: &LaneId) -> impl Future<Output = Answer<Option<Cursor>>> + Send;

    /// Step 2: reads a plan, strongly consistent.
    fn read_plan(&self, lane: &LaneId, plan: &PlanId) -> impl Future<Output = Answer<Option<Vec<u8>>>> + Send;

    /// Before a lane's first plan: keeps its name, and lets the sweeper find it.
    fn register_lane(&self, lane: &LaneId, name: &str) -> impl Future<Output = Answer<()>> + Send;

    /// Step 4: writes a plan under a fresh id, with the id of the lane's plan before it, to be forgotten at a
    /// time in seconds since 1970.
    fn write_plan(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        previous: Option<&PlanId>,
        body: &[u8],
        expires_s: i64,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Step 4: sets the cursor IF its seq is one below the new one's and nothing is pending.
    fn advance(&self, lane: &LaneId, cursor: &Cursor) -> impl Future<Output = Answer<bool>> + Send;

    /// Step 5: for each transition, writes the entity IF its counter is as it was read, and sets
    /// the lane's mark on it to `seq`. One answer for each transition, in their order.
    fn write_entities(
        &self,
        lane: &LaneId,
        seq: u64,
        transitions: &[&Transition],
    ) -> impl Future<Output = Answer<Vec<Written>>> + Send;

    /// Step 5, after [`Written::Unseen`], and after a request over HTTP: reads the lanes' marks on entities,
    /// strongly consistent.
    fn read_marks(&self, keys: &[Key]) -> impl Future<Output = Answer<Page<(Key, Marks), Key>>> + Send;

    /// Between steps 5 and 6: notes which of a plan's transitions, by their places in it, will never apply;
    /// to be forgotten as the plan is.
    fn write_conflicts(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        conflicts: &[usize],
        expires_s: i64,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Step 6: adds to a row and sets the lane's mark on it to `seq` IF that mark is absent or
    /// lower; refused, it was already applied. Sums are added, a least or greatest value is set
    /// where there is none yet, a TTL is set. The row, as it is now, is answered where the delta
    /// has such a value or the row competes in a ranking, whose `present` of before it keeps; such a row
    /// loses the TTL that [`Store::expire_row`] gave it.
    fn add_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> impl Future<Output = Answer<Option<Row>>> + Send;

    /// Step 6: sets a row's least or greatest value IF this one is beyond it.
    fn set_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> impl Future<Output = Answer<bool>> + Send;

    /// Step 6: reads a ranking's floor, strongly consistent.
    fn read_floor(&self, ranking: &'static Ranking) -> impl Future<Output = Answer<Floor>> + Send;

    /// Sets a ranking's floor IF it is still the one that was read.
    fn set_floor(
        &self,
        ranking: &'static Ranking,
        read: Floor,
        floor: Floor,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// Step 6: gives a row its place in the index, or none, IF it is still as it was seen.
    fn set_rank(
        &self,
        key: &Key,
        ranking: &'static Ranking,
        seen: &Row,
        rank: Option<Decimal>,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// Step 7: sets the cursor to not pending IF its seq is still `seq` and that is pending, and adds what the plan
    /// has cost to the lane's numbers.
    fn finish(&self, lane: &LaneId, seq: u64, stats: &LaneStats) -> impl Future<Output = Answer<bool>> + Send;

    /// For the sweeper and the audit: the lanes there are, after one, in pages; an empty page is the end.
    fn lanes(&self, after: Option<&LaneId>) -> impl Future<Output = Answer<Vec<LaneId>>> + Send;

    /// For monitoring: where each listed lane stands, and what its plans have cost; strongly consistent. As many
    /// requests as it takes.
    fn lane_stats(&self) -> impl Future<Output = Answer<Vec<(Cursor, LaneStats)>>> + Send;

    /// For refreshing floors, for snapshots, for cuts and for the audit, whose marks are the rows' own: the
    /// rows there are in a segment, strongly consistent, after one, in pages; the key to go on after, if
    /// there are more.
    fn rows(&self, segment: Segment, after: Option<&Key>) -> impl Future<Output = Answer<RowPage>> + Send;

    /// For the audit, for cuts and for erasure: the entities in a segment, likewise.
    fn states(&self, segment: Segment, after: Option<&Key>) -> impl Future<Output = Answer<StatePage>> + Send;

    /// For erasure: the events of a timeline (a partition key), likewise and in the order of their keys.
    fn timeline(&self, timeline: &str, after: Option<&Key>) -> impl Future<Output = Answer<StatePage>> + Send;

    /// For the audit and for cuts: a lane's plans that were written for some seqs, committed or not, strongly
    /// consistent, after one, in pages and in the order of their ids; the id to go on after, if there are more.
    fn plans(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> impl Future<Output = Answer<PlanPage>> + Send;

    /// For cuts: which transitions of a lane's plans of some seqs were noted as conflicted, likewise.
    fn conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> impl Future<Output = Answer<ConflictPage>> + Send;

    /// For repairs and restores: creates a row IF there is none, with these marks of lanes.
    fn create_row(
        &self,
        key: &Key,
        row: &Measures,
        marks: &[(LaneId, u64)],
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// For erasure: lets a row that competes in a ranking be forgotten at a time in seconds since 1970, IF it is
    /// there, is empty, and has no such time yet.
    fn expire_row(
        &self,
        key: &Key,
        ranking: &'static Ranking,
        expires_s: i64,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// For restores: creates each entity IF there is none, without marks. One answer for each, in their
    /// order: [`Written::Unseen`] where there is one.
    fn create_entities(&self, entities: &[(Key, Known)]) -> impl Future<Output = Answer<Vec<Written>>> + Send;

    /// For restores: creates a lane's cursor IF there is none.
    fn create_cursor(&self, lane: &LaneId, cursor: &Cursor) -> impl Future<Output = Answer<bool>> + Send;

    /// The retention settings.
    fn read_retention(&self) -> impl Future<Output = Answer<AppRetention>> + Send;
}

/// The marks of lanes on an item, in the order of the lanes' ids.
pub type Marks = Vec<(LaneId, u64)>;

/// Some rows, where each can be read or not, and the key to go on after.
pub type RowPage = (Vec<(Key, Result<Row, StoreError>)>, Option<Key>);

/// Some entities, and the key to go on after.
pub type StatePage = (Vec<(Key, Known)>, Option<Key>);

/// Some plans, as they were written, and the id to go on after.
pub type PlanPage = (Vec<WrittenPlan>, Option<PlanId>);

/// Of some plans the transitions that will never apply, by their places, ascending; and the id to go on after.
pub type ConflictPage = (Vec<(PlanId, Vec<usize>)>, Option<PlanId>);
