//! The store on DynamoDB: which request each step is, and how items look.
//!
//! | item | PK | SK | attributes |
//! |---|---|---|---|
//! | entity (state) | `PRODUCT#{id}` | `STATE` | `n` counter, `v` version, `s` state as JSON, `board` and `rank` if listed, `TTL`, marks |
//! | cursor (state) | `LANE#{lane}` | `CURSOR` | `seq`, `plan`, `pending`, `through`, `through_ts`, `since`, `name` |
//! | plan (state) | `LANE#{lane}` | `PLAN#{plan}` | `body` zstd of JSON, `TTL` |
//! | lane (state) | `LANES` | `{lane}` | `name` |
//! | row (views) | as the view says | `METRICS#CURRENT` | one number per measure, marks |
//!
//! A mark is a number under `~{lane}`: the seq of the lane's last plan that changed the item.

mod conditional;
mod entities;
mod error;
mod item;
mod lanes;
mod read;
mod rows;

use aws_sdk_dynamodb::Client;
use tidemark_model::{Key, Known, Measures, Transition};

use crate::{Answer, Cursor, LaneId, Page, PlanId, Store, Written};

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

    async fn write_plan(&self, lane: &LaneId, plan: &PlanId, body: &[u8], expires_s: i64) -> Answer<()> {
        self.put_plan(lane, plan, body, expires_s).await
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        self.set_cursor(lane, cursor).await
    }

    async fn write_entities(&self, lane: &LaneId, seq: u64, transitions: &[&Transition]) -> Answer<Vec<Written>> {
        self.execute_transitions(lane, seq, transitions).await
    }

    async fn read_marks(&self, lane: &LaneId, keys: &[Key]) -> Answer<Page<(Key, u64), Key>> {
        self.get_marks(lane, keys).await
    }

    async fn add_row(&self, lane: &LaneId, seq: u64, key: &Key, delta: &Measures) -> Answer<bool> {
        self.update_row(lane, seq, key, delta).await
    }

    async fn finish(&self, lane: &LaneId, seq: u64) -> Answer<bool> {
        self.clear_pending(lane, seq).await
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        self.query_lanes(after).await
    }
}
