//! What is explored, and the store: it does what requests say IF their conditions hold.

pub(super) const LANES: usize = 3;
pub(super) const ROWS: usize = 2;
/// A floor that every row reaches.
pub(super) const LOWEST: i8 = i8::MIN;

/// A piece taken out of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Without {
    Nothing,
    /// The crossing is found from the number answered, not from what the addition read.
    Before,
    /// All lanes keep what their additions read under one name.
    NameOfEachLane,
    /// The crossing is found by a look at the rows, and the tally added to before them.
    RowsFirst,
    /// The tally is added to when the first row has answered.
    AllRows,
    /// An invocation goes on though the lane's mark is above its own.
    MarkAbove,
    /// A refused addition tells nothing, and nothing follows from it.
    AnswerOfRefused,
    /// A place is given whatever the row has become.
    RankCondition,
    /// A place is given or taken though `present` is another than was seen.
    PresentInCondition,
    /// A place is taken whatever it has become.
    RankInUnrank,
    /// The floor is set after the look at all rows.
    FloorBeforeScan,
    /// A plan reads the floor before its additions.
    AdditionsBeforeFloor,
    /// Least and greatest values are set whatever they have become.
    ExtremeCondition,
    /// The floor is set though it is another than was read.
    FloorCondition,
    /// Readers trust a lowered floor at once, and an equal one needs no look.
    Shown,
}

/// What a plan adds to one row; `value` is one for its least and greatest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Delta {
    pub(super) present: i8,
    pub(super) by: i8,
    pub(super) value: Option<i8>,
}

pub(super) type Plan = [Option<Delta>; ROWS];

/// What is explored.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// Each lane's plans, in their order.
    pub(super) lanes: Vec<Vec<Plan>>,
    /// Lanes, from the first, on which two invocations may be at work at once.
    pub(super) overlapping: usize,
    /// How many rows there are, and what they begin with: `present` and `by`.
    pub(super) rows: usize,
    pub(super) start: [(i8, i8); ROWS],
    /// The floor at the start, and those that a refresh may set and a plan may raise it to.
    pub(super) floors: Vec<i8>,
    /// Refreshes that may be at work at once.
    pub(super) refreshes: usize,
    /// How often they may set the floor, all together.
    pub(super) settings: u8,
    pub(super) without: Without,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Row {
    pub(super) present: i8,
    pub(super) by: i8,
    pub(super) rank: Option<i8>,
    /// The least and the greatest value.
    pub(super) extremes: Option<[i8; 2]>,
    pub(super) marks: [u8; LANES],
    pub(super) befores: [i8; LANES],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Floor {
    /// Writers place the rows that reach it.
    pub(super) floor: i8,
    /// Readers trust the index from here on.
    pub(super) shown: i8,
    pub(super) set: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Cursor {
    pub(super) seq: u8,
    pub(super) pending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Store {
    pub(super) rows: [Row; ROWS],
    pub(super) tally: i8,
    pub(super) tally_marks: [u8; LANES],
    pub(super) cursors: [Cursor; LANES],
    pub(super) floor: Floor,
}

/// A write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Request {
    Add { lane: u8, seq: u8, row: u8 },
    Tally { lane: u8, seq: u8, n: i8 },
    SetExtreme { row: u8, which: u8, value: i8 },
    SetRank { row: u8, present: i8, by: i8, old: Option<i8>, rank: Option<i8> },
    SetFloor { read: Floor, new: Floor },
    Finish { lane: u8, seq: u8 },
}

impl Request {
    /// Whether it may still do something when its work is gone. The others are refused then, by marks
    /// or the cursor, or do what whoever finds the plan pending does.
    pub(super) fn follows_up(&self) -> bool {
        matches!(self, Self::SetExtreme { .. } | Self::SetRank { .. } | Self::SetFloor { .. })
    }
}

impl Scenario {
    /// Where a lane keeps what its addition to a row read.
    pub(super) fn name(&self, lane: usize) -> usize {
        if self.without == Without::NameOfEachLane { 0 } else { lane }
    }

    pub(super) fn plan(&self, lane: usize, seq: u8) -> &Plan {
        &self.lanes[lane][usize::from(seq) - 1]
    }

    /// Does what a request says, IF its condition holds.
    pub(super) fn land(&self, store: &mut Store, request: Request) -> bool {
        match request {
            Request::Add { lane, seq, row } => {
                let (lane, at) = (usize::from(lane), usize::from(row));
                let (row, delta) = (&mut store.rows[at], self.plan(lane, seq)[at].unwrap());
                if row.marks[lane] >= seq {
                    return false;
                }
                row.marks[lane] = seq;
                row.befores[self.name(lane)] = row.present;
                row.present += delta.present;
                row.by += delta.by;
                row.extremes = row.extremes.or(delta.value.map(|value| [value, value]));
            }
            Request::Tally { lane, seq, n } => {
                let lane = usize::from(lane);
                if store.tally_marks[lane] >= seq {
                    return false;
                }
                store.tally_marks[lane] = seq;
                store.tally += n;
            }
            Request::SetExtreme { row, which, value } => {
                let old = &mut store.rows[usize::from(row)].extremes.as_mut().unwrap()[usize::from(which)];
                let beyond = if which == 0 { value < *old } else { value > *old };
                if !beyond && self.without != Without::ExtremeCondition {
                    return false;
                }
                *old = value;
            }
            Request::SetRank { row, present, by, old, rank } => {
                let row = &mut store.rows[usize::from(row)];
                let same = row.by == by && (row.present == present || self.without == Without::PresentInCondition);
                let same = same || (rank.is_some() && self.without == Without::RankCondition);
                let same_rank = rank.is_some() || row.rank == old || self.without == Without::RankInUnrank;
                if !same || !same_rank {
                    return false;
                }
                row.rank = rank;
            }
            Request::SetFloor { read, new } => {
                let same = (read.floor, read.set) == (store.floor.floor, store.floor.set);
                if !same && self.without != Without::FloorCondition {
                    return false;
                }
                store.floor = new;
            }
            Request::Finish { lane, seq } => {
                let cursor = &mut store.cursors[usize::from(lane)];
                if cursor.seq != seq {
                    return false;
                }
                cursor.pending = false;
            }
        }
        true
    }
}

/// One if it is there.
pub(super) fn there(present: i8) -> i8 {
    i8::from(present > 0)
}
