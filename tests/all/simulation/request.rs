//! Writes as they travel: one may land at once, late, twice, or when its sender is long gone.

use std::fmt;

use futures_util::FutureExt;
use tidemark_ledger::{Answer, Cursor, Floor, LaneId, LaneStats, PlanId, Row, Store, Written};
use tidemark_model::views::Ranking;
use tidemark_model::{Decimal, Key, Measures, Transition};
use tidemark_tests::memory::MemoryStore;

/// A write request of the protocol.
#[derive(Clone)]
pub(super) enum Request {
    RegisterLane(LaneId, String),
    WritePlan(LaneId, PlanId, Option<PlanId>, Vec<u8>, i64),
    WriteConflicts(LaneId, PlanId, Vec<usize>, i64),
    Advance(LaneId, Cursor),
    WriteEntities(LaneId, u64, Vec<Transition>),
    AddRow(LaneId, u64, Key, Measures, Option<&'static Ranking>),
    SetExtreme(Key, &'static str, Decimal),
    SetFloor(&'static Ranking, Floor, Floor),
    SetRank(Key, &'static Ranking, Row, Option<Decimal>),
    Finish(LaneId, u64, Box<LaneStats>),
    CreateRow(Key, Measures, Vec<(LaneId, u64)>),
    ExpireRow(Key, &'static Ranking, i64),
}

/// What the store says to it.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Done,
    Held(bool),
    Written(Vec<Written>),
    /// The row as it is, where that is asked for, and whether it was added to.
    Row {
        row: Option<Row>,
        added: bool,
    },
}

impl Request {
    /// Does what it says, IF its condition holds.
    pub(super) fn land(&self, store: &MemoryStore) -> Reply {
        match self.clone() {
            Self::RegisterLane(lane, name) => {
                now(store.register_lane(&lane, &name));
                Reply::Done
            }
            Self::WritePlan(lane, plan, previous, body, expires_s) => {
                now(store.write_plan(&lane, &plan, previous.as_ref(), &body, expires_s));
                Reply::Done
            }
            Self::WriteConflicts(lane, plan, conflicts, expires_s) => {
                now(store.write_conflicts(&lane, &plan, &conflicts, expires_s));
                Reply::Done
            }
            Self::Advance(lane, cursor) => Reply::Held(now(store.advance(&lane, &cursor))),
            Self::WriteEntities(lane, seq, transitions) => {
                let transitions: Vec<&Transition> = transitions.iter().collect();
                Reply::Written(now(store.write_entities(&lane, seq, &transitions)))
            }
            Self::AddRow(lane, seq, key, delta, ranking) => {
                Reply::Row { row: now(store.add_row(&lane, seq, &key, &delta, ranking)), added: true }
            }
            Self::SetExtreme(key, name, value) => Reply::Held(now(store.set_extreme(&key, name, value))),
            Self::SetFloor(ranking, read, floor) => Reply::Held(now(store.set_floor(ranking, read, floor))),
            Self::SetRank(key, ranking, seen, rank) => Reply::Held(now(store.set_rank(&key, ranking, &seen, rank))),
            Self::Finish(lane, seq, stats) => Reply::Held(now(store.finish(&lane, seq, &stats))),
            Self::CreateRow(key, row, marks) => Reply::Held(now(store.create_row(&key, &row, &marks))),
            Self::ExpireRow(key, ranking, expires_s) => Reply::Held(now(store.expire_row(&key, ranking, expires_s))),
        }
    }

    /// What it comes to as requests that travel one by one: the members of a batch do.
    pub(super) fn parts(self) -> Vec<Self> {
        match self {
            Self::WriteEntities(lane, seq, transitions) => {
                transitions.into_iter().map(|t| Self::WriteEntities(lane.clone(), seq, vec![t])).collect()
            }
            other => vec![other],
        }
    }
}

/// The store in memory answers at once.
pub(super) fn now<T>(request: impl Future<Output = Answer<T>>) -> T {
    request.now_or_never().unwrap().unwrap().value
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RegisterLane(lane, name) => write!(f, "registers lane {lane}: {name}"),
            Self::WritePlan(lane, _, _, body, _) => write!(f, "writes a plan of lane {lane}, {} bytes", body.len()),
            Self::WriteConflicts(lane, plan, conflicts, _) => {
                write!(f, "notes {conflicts:?} of plan {plan} of lane {lane} as conflicted")
            }
            Self::Advance(lane, cursor) => {
                write!(f, "advances lane {lane} to seq {} through {:?}", cursor.seq, cursor.through)
            }
            Self::WriteEntities(lane, seq, transitions) => {
                write!(f, "writes entities of lane {lane} seq {seq}:")?;
                transitions.iter().try_for_each(|t| write!(f, " {} {} ({})", t.key.pk, t.key.sk, t.counter + 1))
            }
            Self::AddRow(lane, seq, key, delta, _) => {
                write!(f, "adds for lane {lane} seq {seq} to {} {}:", key.pk, key.sk)?;
                delta.iter().try_for_each(|(name, n)| write!(f, " {name} {n}"))
            }
            Self::SetExtreme(key, name, value) => write!(f, "sets {name} of {} {} to {value}", key.pk, key.sk),
            Self::SetFloor(ranking, read, floor) => {
                write!(f, "sets the floor of {} from {read:?} to {floor:?}", ranking.board)
            }
            Self::SetRank(key, _, _, rank) => write!(f, "places {} {} at {rank:?}", key.pk, key.sk),
            Self::Finish(lane, seq, _) => write!(f, "finishes seq {seq} of lane {lane}"),
            Self::CreateRow(key, ..) => write!(f, "creates {} {}", key.pk, key.sk),
            Self::ExpireRow(key, _, expires_s) => write!(f, "lets {} {} expire at {expires_s}", key.pk, key.sk),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::Held(true) => write!(f, "done"),
            Self::Held(false) => write!(f, "refused"),
            Self::Written(written) => write!(f, "{written:?}"),
            Self::Row { row, added } => {
                write!(f, "{}", if *added { "done" } else { "refused" })?;
                let Some(row) = row else { return Ok(()) };
                write!(f, ", mark {}, before {}, rank {:?}", row.mark, row.before, row.rank)
            }
        }
    }
}
