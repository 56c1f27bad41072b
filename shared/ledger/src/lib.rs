//! The commit protocol on DynamoDB: how a batch is counted exactly once, for about one write per
//! changed item.
//!
//! A batch of one Kafka partition is committed on that partition's [`Lane`]: its transitions are
//! written down as a [`Plan`], the lane's [`Cursor`] is compared and set (the commit point), and
//! the plan is applied with requests that may be repeated. Each step is one request of a
//! [`Store`], so that a fault can be injected at every one.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod apply;
mod audit;
mod commit;
mod cut;
pub mod dynamo;
mod erasure;
mod error;
mod ingest;
mod intend;
mod lane;
mod lane_stats;
mod off_thread;
mod plan;
mod rankings;
mod redrive;
mod requests;
mod retention;
mod rows;
mod store;
mod sweep;

pub use apply::Applied;
pub use audit::{Audit, AuditOptions, Audited, Drift, Scanned};
pub use commit::{Call, Ledger, Options, Receipt};
pub use cut::{Cut, Logged, Redo, Rest};
pub use erasure::Erased;
pub use error::{LedgerError, StoreError};
pub use lane::{Cursor, Cursors, Lane, LaneId, PlanId};
pub use lane_stats::LaneStats;
pub use off_thread::off_thread;
pub use plan::{MAX_PLAN_BYTES, Plan};
pub use rankings::Refreshed;
pub use redrive::Redriven;
pub use requests::Retry;
pub use retention::Retentions;
pub use store::{
    Answer, AppRetention, ConflictPage, Floor, Marks, Metered, Page, PlanPage, Row, RowPage, Segment, StatePage, Store,
    Units, Written, WrittenPlan,
};
pub use sweep::Swept;
