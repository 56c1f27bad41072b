//! What is explored: records, how they may come, and the piece that is taken out of the protocol.

pub(super) const LANES: usize = 3;
pub(super) const ENTITIES: usize = 2;
pub(super) const ROWS: usize = 2;

/// A piece taken out of the protocol, or an assumption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Without {
    Nothing,
    /// A row is added to though it has the lane's mark.
    RowMark,
    /// All lanes share one mark on a row.
    MarkOfEachLane,
    /// An entity is written whatever its counter is.
    Counter,
    /// A refused transition counts as conflicted, whatever the lane's mark on the entity says.
    EntityMark,
    /// Rows are added to before the entities are written.
    EntitiesFirst,
    /// The cursor is set whatever it is.
    CompareAndSet,
    /// A pending plan is left alone, and the next may follow it.
    Redo,
    /// Conflicted transitions are summed like the others.
    ConflictsLeftOut,
    /// A mark above is taken for the plan's own.
    Overtaken,
    /// The cursor is read before the entities.
    EntitiesBeforeCursor,
    /// The first plan of points moves `through` to the batch's last offset.
    OwnThroughNotFurther,
    /// No plan of points but the last moves `through`.
    OwnThroughAtAll,
    /// Points are counted though they are not above `through`.
    AboveThrough,
    /// The last record to come wins.
    Version,
    /// A repeated round reads eventually consistent.
    StrongRepetition,
    /// Step 7 comes before step 6.
    RowsBeforeFinish,
    /// The cursor is set to not pending whatever its seq is.
    FinishCondition,
    /// An invocation whose transitions were conflicted reports success.
    ConflictsRepeated,
    /// The plan is written after the cursor that names it.
    PlanBeforeCursor,
    /// The point of an idempotency key is counted though its transition did not apply.
    KeyedPoint,
    /// That a record was set aside stands in the first plan of its batch, before `through` passes it.
    AsideWithThrough,
    /// A point is redriven because `through` has passed it, though a committed plan may hold it.
    RedriveUncounted,
    /// Nobody notes which transitions will never apply.
    ConflictsNoted,
    /// They are noted after step 7.
    NotedBeforeFinish,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Record {
    /// An entity has this version.
    State { entity: u8, version: u8 },
    /// Counted by its offset.
    Point,
    /// Set aside by one release of the decoder, a point to another.
    Aside,
    /// What another lane has set aside, redriven as a point whose identity is its lane and offset: this entity.
    Redrive { key: u8, lane: u8, offset: u8 },
}

/// What is explored.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// Each lane's records, in the order of their offsets.
    pub(super) lanes: Vec<Vec<Record>>,
    /// How many invocations of each lane may be at work at once.
    pub(super) overlapping: [usize; LANES],
    pub(super) rows: usize,
    /// Whether a plan has room for one transition or one point only.
    pub(super) split: bool,
    /// How many reads may find an older state than the newest.
    pub(super) stale: u8,
    /// How many requests may be under way whose invocation is gone or has gone on.
    pub(super) travelling: usize,
    /// Whether the first lane's source may move on without success.
    pub(super) discards: bool,
    /// Whether a sweeper may take an invocation's place.
    pub(super) sweeper: bool,
    /// Whether records may come that a success was reported for.
    pub(super) replay: bool,
    /// More plans than this no lane needs.
    pub(super) plans: u8,
    pub(super) without: Without,
}

/// What is added to a row: a sum over states, and a number of points.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(super) struct Delta {
    pub(super) sum: i8,
    pub(super) points: i8,
}

pub(super) type Deltas = [Delta; ROWS];

impl Scenario {
    /// `rows(state)`: a version stands in one row, and the next one in another.
    pub(super) fn rows_of(&self, entity: u8, version: u8) -> Deltas {
        let mut rows = Deltas::default();
        if version == 0 {
            return rows;
        }
        match self.redriven(entity) {
            Some((_, offset)) => rows[self.row_of_point(offset)].points = 1,
            None => rows[usize::from(entity + version) % self.rows].sum = version as i8,
        }
        rows
    }

    pub(super) fn row_of_point(&self, offset: u8) -> usize {
        usize::from(offset) % self.rows
    }

    /// The lane and the offset of the point whose idempotency key an entity is.
    pub(super) fn redriven(&self, entity: u8) -> Option<(usize, u8)> {
        self.lanes.iter().flatten().find_map(|record| match *record {
            Record::Redrive { key, lane, offset } if key == entity => Some((usize::from(lane), offset)),
            _ => None,
        })
    }

    pub(super) fn is_without(&self, piece: Without) -> bool {
        self.without == piece
    }
}

impl Record {
    /// What the record says of an entity.
    pub(super) fn state(self) -> Option<(u8, u8)> {
        match self {
            Self::State { entity, version } => Some((entity, version)),
            Self::Redrive { key, .. } => Some((key, 1)),
            Self::Point | Self::Aside => None,
        }
    }
}
