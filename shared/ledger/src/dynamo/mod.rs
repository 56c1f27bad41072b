//! The store on DynamoDB: which request each step is, and how items look.
//!
//! | item | PK | SK | attributes |
//! |---|---|---|---|
//! | entity (state) | `PRODUCT#{id}` | `STATE` | `n` counter, `v` version, `s` state as JSON, `board` and `rank` if listed, `TTL`, marks |
//! | event (state) | `USER#{app}#{digest}` | `EVENT#{ms}#…`, `ID#…` | an entity: what a user's timeline shows |
//! | parcel (state) | `REQUEST#{digest}` | `POINTS#{part}` | an entity |
//! | cursor (state) | `LANE#{lane}` | `CURSOR` | `seq`, `plan`, `pending`, `through`, `through_ts`, `since`, `name`; sums over plans: `plans`, `conflicts`, `ru`, `wu`, `seconds`, `t0` to `t10` plans by how long they took |
//! | plan (state) | `LANE#{lane}` | `PLAN#{plan}` | `previous` the lane's plan before it, `body` zstd of JSON, `TTL` |
//! | conflicts (state) | `LANE#{lane}` | `CONFLICTS#{plan}` | `transitions` that never applied, by their places in the plan, `TTL` |
//! | lane (state) | `LANES` | `{lane}` | `name` |
//! | floor (state) | `RANKING#{board}` | `FLOOR` | `floor`, `shown`, `refreshed` |
//! | retention (state) | `SETTINGS` | `RETENTION` | `activity`, `metrics`: maps from app to days |
//! | row (views) | as the view says | as the view says | one number per measure, `TTL`, `board` and `rank` if ranked, `kind` if listed in the directory, marks |
//! | API key (state) | `APIKEYS` | `{id}` | `hash`, `name`, `scopes`, `apps` if not all, `created`, `expires`, `per_minute` |
//! | limit (state) | `LIMIT#{caller}` | `{start of the minute in ms}` | `used` requests that are leased, `TTL` |
//!
//! A mark is a number under `~{lane}`: the seq of the lane's last plan that changed the item. A row
//! that competes in a ranking keeps under `^{lane}` what it read before that plan's addition. The audit
//! marks the rows that it repairs under `~audit`, and counts its repairs of each there.

mod api_keys;
mod conditional;
mod entities;
mod error;
mod health;
mod item;
mod lanes;
mod leases;
mod plans;
mod query;
mod read;
mod rows;
mod scan;
mod settings;

pub use api_keys::{ApiKey, Apps, Scope};
pub use leases::Leased;
pub use query::Span;
pub use read::Place;

use std::ops::RangeInclusive;

use aws_sdk_dynamodb::Client;
use tidemark_model::views::Ranking;
use tidemark_model::{Decimal, Key, Known, Measures, Transition};

use crate::{
    Answer, AppRetention, ConflictPage, Cursor, Floor, LaneId, LaneStats, Marks, Page, PlanId, PlanPage, Row, RowPage,
    Segment, StatePage, Store, Written,
};

/// The two tables of a deployment.
#[derive(Clone, Debug)]
pub struct DynamoStore {
    client: Client,
    tables: Tables,
}

/// Their names.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Entities, lanes, plans.
    pub state: String,
    /// Rows.
    pub views: String,
}

impl DynamoStore {
    /// A store on tables that exist. The client must not retry by itself: the ledger does.
    pub fn new(client: Client, tables: Tables) -> Self {
        Self { client, tables }
    }
}

impl Store for DynamoStore {
    async fn read_entities(&self, keys: &[Key], consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        self.get_entities(keys, consistent).await
    }

    async fn read_cursor(&self, lane: &LaneId) -> Answer<Option<Cursor>> {
        self.get_cursor(lane).await
    }

    async fn read_plan(&self, lane: &LaneId, plan: &PlanId) -> Answer<Option<Vec<u8>>> {
        self.get_plan(lane, plan).await
    }

    async fn register_lane(&self, lane: &LaneId, name: &str) -> Answer<()> {
        self.put_lane(lane, name).await
    }

    async fn write_plan(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        previous: Option<&PlanId>,
        body: &[u8],
        expires_s: i64,
    ) -> Answer<()> {
        self.put_plan(lane, plan, previous, body, expires_s).await
    }

    async fn write_conflicts(&self, lane: &LaneId, plan: &PlanId, conflicts: &[usize], expires_s: i64) -> Answer<()> {
        self.put_conflicts(lane, plan, conflicts, expires_s).await
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        self.set_cursor(lane, cursor).await
    }

    async fn write_entities(&self, lane: &LaneId, seq: u64, transitions: &[&Transition]) -> Answer<Vec<Written>> {
        self.execute_transitions(lane, seq, transitions).await
    }

    async fn read_marks(&self, keys: &[Key]) -> Answer<Page<(Key, Marks), Key>> {
        self.get_marks(keys).await
    }

    async fn add_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> Answer<Option<Row>> {
        self.update_row(lane, seq, key, delta, ranking).await
    }

    async fn set_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> Answer<bool> {
        self.put_extreme(key, name, value).await
    }

    async fn read_floor(&self, ranking: &'static Ranking) -> Answer<Floor> {
        self.get_floor(ranking).await
    }

    async fn set_floor(&self, ranking: &'static Ranking, read: Floor, floor: Floor) -> Answer<bool> {
        self.put_floor(ranking, read, floor).await
    }

    async fn set_rank(&self, key: &Key, ranking: &'static Ranking, seen: &Row, rank: Option<Decimal>) -> Answer<bool> {
        self.put_rank(key, ranking, seen, rank).await
    }

    async fn finish(&self, lane: &LaneId, seq: u64, stats: &LaneStats) -> Answer<bool> {
        self.clear_pending(lane, seq, stats).await
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        self.query_lanes(after).await
    }

    async fn lane_stats(&self) -> Answer<Vec<(Cursor, LaneStats)>> {
        self.get_lane_stats().await
    }

    async fn rows(&self, segment: Segment, after: Option<&Key>) -> Answer<RowPage> {
        self.scan_rows(segment, after).await
    }

    async fn states(&self, segment: Segment, after: Option<&Key>) -> Answer<StatePage> {
        self.scan_states(segment, after).await
    }

    async fn timeline(&self, timeline: &str, after: Option<&Key>) -> Answer<StatePage> {
        self.query_timeline(timeline, after).await
    }

    async fn plans(&self, lane: &LaneId, seqs: &RangeInclusive<u64>, after: Option<&PlanId>) -> Answer<PlanPage> {
        self.query_plans(lane, seqs, after).await
    }

    async fn conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Answer<ConflictPage> {
        self.query_conflicts(lane, seqs, after).await
    }

    async fn create_row(&self, key: &Key, row: &Measures, marks: &[(LaneId, u64)]) -> Answer<bool> {
        self.put_row(key, row, marks).await
    }

    async fn expire_row(&self, key: &Key, ranking: &'static Ranking, expires_s: i64) -> Answer<bool> {
        self.put_row_ttl(key, ranking, expires_s).await
    }

    async fn create_entities(&self, entities: &[(Key, Known)]) -> Answer<Vec<Written>> {
        self.insert_entities(entities).await
    }

    async fn create_cursor(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        self.put_cursor(lane, cursor).await
    }

    async fn read_retention(&self) -> Answer<AppRetention> {
        self.get_retention().await
    }
}
