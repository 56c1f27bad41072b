//! Random requests, the same to the store in memory and to another: both must answer the same, and hold the same
//! in the end. Some come late, twice or for nothing, and most collide.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use fastrand::Rng;
use tidemark_ledger::{
    AppRetention, Cursor, Floor, LaneId, LaneStats, PlanId, Row, Segment, Store, Units, WrittenPlan,
};
use tidemark_model::rows::TTL;
use tidemark_model::views::{CURRENT, rankings};
use tidemark_model::{Decimal, Key, Known, Measures, State, Transition};
use tidemark_tests::memory::MemoryStore;
use tidemark_tests::say;

use super::entities::{deleted, product, transition};
use super::limits::set_retention;
use super::{Place, lane, now_ms, states};

/// Requests of each seed.
const REQUESTS: usize = 400;

/// One request of the protocol.
#[derive(Clone, Debug)]
enum Request {
    ReadEntities(Vec<Key>),
    ReadMarks(Vec<Key>),
    Timeline(Key),
    ReadCursor(LaneId),
    ReadPlan(LaneId, PlanId),
    ReadFloor(usize),
    RegisterLane(LaneId),
    WritePlan(LaneId, PlanId, Option<PlanId>, u8),
    WriteConflicts(LaneId, PlanId, Vec<usize>),
    Conflicts(LaneId, RangeInclusive<u64>),
    CreateEntities(Vec<(Key, Known)>),
    CreateCursor(LaneId, Cursor),
    Advance(LaneId, Cursor),
    Finish(LaneId, u64),
    WriteEntities(LaneId, u64, Vec<Transition>),
    AddRow(LaneId, u64, Key, Measures, Option<usize>),
    SetExtreme(Key, &'static str, Decimal),
    SetRank(Key, usize, Row, Option<Decimal>),
    SetFloor(usize, Floor, Floor),
    CreateRow(Key, Measures, Vec<(LaneId, u64)>),
    ExpireRow(Key, usize, i64),
    Plans(LaneId, RangeInclusive<u64>),
    ReadRetention,
}

/// Plans of a lane.
const PLANS: u64 = 4;

/// What was answered, and what of it later requests go by.
struct Answered {
    text: String,
    row: Option<Row>,
    floor: Option<Floor>,
}

impl Request {
    async fn send<S: Store>(&self, store: &S) -> Answered {
        let ranking = |at: &usize| rankings().nth(*at).unwrap();
        let (mut row, mut floor) = (None, None);
        let text = match self {
            Self::ReadEntities(keys) => {
                let mut page = store.read_entities(keys, true).await.unwrap().value;
                page.found.sort_by(|(a, _), (b, _)| a.cmp(b));
                format!("{page:?}")
            }
            Self::ReadMarks(keys) => {
                let mut page = store.read_marks(keys).await.unwrap().value;
                page.found.sort();
                format!("{page:?}")
            }
            Self::Timeline(key) => format!("{:?}", store.timeline(&key.pk, None).await.unwrap().value),
            Self::ReadCursor(lane) => format!("{:?}", store.read_cursor(lane).await.unwrap().value),
            Self::ReadPlan(lane, plan) => format!("{:?}", store.read_plan(lane, plan).await.unwrap().value),
            Self::ReadFloor(of) => {
                floor = Some(store.read_floor(ranking(of)).await.unwrap().value);
                format!("{floor:?}")
            }
            Self::RegisterLane(lane) => format!("{:?}", store.register_lane(lane, "x").await.unwrap().value),
            Self::WritePlan(lane, plan, previous, body) => {
                let written = store.write_plan(lane, plan, previous.as_ref(), &[*body; 9], expires_s()).await;
                format!("{:?}", written.unwrap().value)
            }
            Self::WriteConflicts(lane, plan, conflicts) => {
                format!("{:?}", store.write_conflicts(lane, plan, conflicts, expires_s()).await.unwrap().value)
            }
            Self::Conflicts(lane, seqs) => format!("{:?}", conflicts(store, lane, seqs).await),
            Self::CreateEntities(entities) => format!("{:?}", store.create_entities(entities).await.unwrap().value),
            Self::CreateCursor(lane, cursor) => store.create_cursor(lane, cursor).await.unwrap().value.to_string(),
            Self::Advance(lane, cursor) => store.advance(lane, cursor).await.unwrap().value.to_string(),
            Self::Finish(lane, seq) => store.finish(lane, *seq, &stats(*seq)).await.unwrap().value.to_string(),
            Self::WriteEntities(lane, seq, transitions) => {
                let transitions: Vec<&Transition> = transitions.iter().collect();
                format!("{:?}", store.write_entities(lane, *seq, &transitions).await.unwrap().value)
            }
            Self::AddRow(lane, seq, key, delta, of) => {
                row = store.add_row(lane, *seq, key, delta, of.as_ref().map(ranking)).await.unwrap().value;
                format!("{row:?}")
            }
            Self::SetExtreme(key, name, value) => store.set_extreme(key, name, *value).await.unwrap().value.to_string(),
            Self::SetRank(key, of, seen, rank) => {
                store.set_rank(key, ranking(of), seen, *rank).await.unwrap().value.to_string()
            }
            Self::SetFloor(of, read, floor) => {
                store.set_floor(ranking(of), *read, *floor).await.unwrap().value.to_string()
            }
            Self::CreateRow(key, row, marks) => store.create_row(key, row, marks).await.unwrap().value.to_string(),
            Self::ExpireRow(key, of, expires_s) => {
                store.expire_row(key, ranking(of), *expires_s).await.unwrap().value.to_string()
            }
            Self::Plans(lane, seqs) => format!("{:?}", plans(store, lane, seqs).await),
            Self::ReadRetention => {
                let mut retention = store.read_retention().await.unwrap().value;
                retention.activity.sort();
                retention.metrics.sort();
                format!("{retention:?}")
            }
        };
        Answered { text, row, floor }
    }
}

/// Makes requests that collide, and that go by what earlier ones were answered.
struct Maker {
    rng: Rng,
    /// What the keys of this seed are known by.
    name: String,
    lanes: Vec<LaneId>,
    /// Rows as they were answered, with their keys and rankings.
    seen: Vec<(Key, usize, Row)>,
    floors: Vec<(usize, Floor)>,
    made: Vec<Request>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let lanes = (0..3).map(|n| lane(&format!("random {seed} {n}"))).collect();
        let (seen, floors, made) = (Vec::new(), Vec::new(), Vec::new());
        Self { rng: Rng::with_seed(seed), name: format!("random {seed}"), lanes, seen, floors, made }
    }

    fn lane(&mut self) -> LaneId {
        self.rng.choice(&self.lanes).unwrap().clone()
    }

    /// Later requests mostly come with later seqs.
    fn seq(&mut self) -> u64 {
        let now = self.made.len() as u64 / 40;
        now.saturating_sub(self.rng.u64(0..3)) + self.rng.u64(1..3)
    }

    fn plan(&mut self) -> PlanId {
        plan(self.rng.u64(0..PLANS))
    }

    fn entity(&mut self) -> Key {
        Key::of("ENTITY", &format!("{} {}", self.name, self.rng.u8(0..5)), "STATE")
    }

    fn entities(&mut self) -> Vec<Key> {
        let mut keys: Vec<Key> = (0..self.rng.usize(1..5)).map(|_| self.entity()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// A row and its ranking, or one that does not compete.
    fn row(&mut self) -> (Key, Option<usize>) {
        let of = self.rng.usize(0..3);
        let kind = rankings().nth(of).map_or("ROW", |ranking| ranking.kind);
        (Key::of(kind, &format!("{} {}", self.name, self.rng.u8(0..3)), CURRENT), (of < 2).then_some(of))
    }

    fn number(&mut self) -> Decimal {
        let numbers = ["-12345678901.000000000001", "-2.5", "-1", "-1", "0", "1", "1", "2.5", "12345678901"];
        self.rng.choice(numbers).unwrap().parse().unwrap()
    }

    fn delta(&mut self, of: Option<usize>) -> Measures {
        let mut delta = Measures::default();
        for name in ["a", "p12", "z", "min", "max", TTL] {
            if self.rng.u8(0..4) == 0 {
                let soon_s = now_ms() / 1_000 + self.rng.i64(1..30) * 86_400;
                let number = if name == TTL { Decimal::whole(soon_s) } else { self.number() };
                delta.set(name, number);
            }
        }
        if let Some(ranking) = of.and_then(|of| rankings().nth(of)) {
            delta.set(ranking.by, self.number());
            delta.set(ranking.present, Decimal::whole(self.rng.i64(-1..2)));
        }
        delta
    }

    fn state(&mut self) -> State {
        match self.rng.u8(0..4) {
            0 => deleted(1),
            n => product(i64::from(n), self.rng.i64(0..20)),
        }
    }

    fn cursor(&mut self, seq: u64) -> Cursor {
        let mut some = || self.rng.bool().then(|| self.rng.i64(0..1_000));
        let (through, through_ts) = (some(), some());
        let (plan, name) = (self.plan(), self.name.clone());
        Cursor { seq, plan, pending: self.rng.bool(), through, through_ts, since_ms: self.rng.i64(..), name }
    }

    fn floor(&mut self) -> Floor {
        let mut some = || {
            let is_some = self.rng.bool();
            is_some.then(|| self.number())
        };
        let (floor, shown) = (some(), some());
        Floor { floor, shown, refreshed: self.rng.u64(0..4) }
    }

    fn retention(&mut self) -> AppRetention {
        let mut days = || {
            let apps = ["a", "é#", "%"].map(|app| (app.to_owned(), self.rng.i64(-36_500..=36_500)));
            apps.into_iter().filter(|(_, days)| *days > 0).collect()
        };
        AppRetention { activity: days(), metrics: days() }
    }

    fn next(&mut self) -> Request {
        if self.rng.u8(0..5) == 0 && !self.made.is_empty() {
            // One of before comes again, late or at once.
            return self.rng.choice(&self.made).unwrap().clone();
        }
        match self.rng.u8(0..32) {
            0 => Request::ReadEntities(self.entities()),
            1 => Request::ReadMarks(self.entities()),
            2 => Request::ReadCursor(self.lane()),
            3 => Request::ReadPlan(self.lane(), self.plan()),
            4 => Request::ReadFloor(self.rng.usize(0..2)),
            5 => Request::RegisterLane(self.lane()),
            6 => {
                let previous = self.rng.bool().then(|| self.plan());
                Request::WritePlan(self.lane(), self.plan(), previous, self.rng.u8(..))
            }
            7..=9 => {
                let seq = self.seq();
                Request::Advance(self.lane(), self.cursor(seq))
            }
            10 | 11 => Request::Finish(self.lane(), self.seq()),
            12..=15 => {
                let before = self.made.len() as u64 / 60;
                let transitions = self.entities().into_iter().map(|key| {
                    let counter = self.rng.u64(0..before + 2);
                    let before = (counter > 0).then(|| self.state());
                    transition(&key, counter, before, self.state())
                });
                let transitions = transitions.collect();
                Request::WriteEntities(self.lane(), self.seq(), transitions)
            }
            16..=19 => {
                let (key, of) = self.row();
                Request::AddRow(self.lane(), self.seq(), key, self.delta(of), of)
            }
            20 => Request::SetExtreme(self.row().0, if self.rng.bool() { "min" } else { "max" }, self.number()),
            21 | 22 => self.set_rank(),
            23 => {
                let seqs = self.rng.u64(0..3);
                Request::Plans(self.lane(), seqs..=seqs + self.rng.u64(0..2))
            }
            24 => {
                let (key, of) = self.row();
                let marks = self.lanes.clone().into_iter().map(|lane| (lane, self.seq())).collect();
                Request::CreateRow(key, self.delta(of), marks)
            }
            25 => {
                let mut places: Vec<usize> = (0..self.rng.usize(1..4)).map(|_| self.rng.usize(0..2_000)).collect();
                places.sort_unstable();
                places.dedup();
                Request::WriteConflicts(self.lane(), self.plan(), places)
            }
            26 => {
                let seqs = self.rng.u64(0..3);
                Request::Conflicts(self.lane(), seqs..=seqs + self.rng.u64(0..2))
            }
            27 => {
                let entities = self.entities().into_iter().map(|key| {
                    let Transition { key, counter, version, after, .. } =
                        transition(&key, self.rng.u64(1..4), None, self.state());
                    (key, Known { counter, version, state: after })
                });
                Request::CreateEntities(entities.collect())
            }
            28 => {
                let seq = self.seq();
                Request::CreateCursor(self.lane(), self.cursor(seq))
            }
            29 => Request::Timeline(self.entity()),
            30 => {
                let (key, of) = self.row();
                Request::ExpireRow(key, of.unwrap_or_default(), now_ms() / 1_000 + self.rng.i64(1..30) * 86_400)
            }
            _ => {
                let old = self.floors.len().saturating_sub(self.rng.usize(1..3));
                let (of, read) = self.floors.get(old).copied().unwrap_or_default();
                Request::SetFloor(of, if self.rng.bool() { read } else { self.floor() }, self.floor())
            }
        }
    }

    /// Most go by one of the newest answers.
    fn set_rank(&mut self) -> Request {
        let newest = self.seen.len().saturating_sub(6);
        let seen = self.rng.choice(&self.seen[newest..]).cloned();
        let (key, of, seen) = match seen.filter(|_| self.rng.u8(0..6) > 0) {
            Some(seen) => seen,
            None => (self.row().0, self.rng.usize(0..2), Row::default()),
        };
        let rank = self.rng.bool().then(|| self.number());
        Request::SetRank(key, of, seen, rank)
    }

    fn hear(&mut self, request: Request, answered: Answered) {
        if let (Request::AddRow(_, _, key, _, Some(of)), Some(row)) = (&request, answered.row) {
            self.seen.push((key.clone(), *of, row));
        }
        if let (Request::ReadFloor(of), Some(floor)) = (&request, answered.floor) {
            self.floors.push((*of, floor));
        }
        self.made.push(request);
    }

    /// Requests that show all that is there, as each lane sees it.
    fn look(&self) -> Vec<Request> {
        let keys =
            |kind: &'static str, sk, n: u8| (0..n).map(move |n| Key::of(kind, &format!("{} {n}", self.name), sk));
        let entities: Vec<Key> = keys("ENTITY", "STATE", 5).collect();
        let mut look =
            vec![Request::ReadEntities(entities.clone()), Request::ReadMarks(entities), Request::ReadRetention];
        look.extend((0..2).map(Request::ReadFloor));
        for lane in &self.lanes {
            look.push(Request::ReadCursor(lane.clone()));
            look.extend((0..PLANS).map(|n| Request::ReadPlan(lane.clone(), plan(n))));
            look.push(Request::Plans(lane.clone(), 0..=u64::MAX));
            look.push(Request::Conflicts(lane.clone(), 0..=u64::MAX));
            for (of, ranking) in rankings().enumerate() {
                // An addition of nothing at no seq is refused where the lane has been, and shows the row.
                let see = |key| Request::AddRow(lane.clone(), 0, key, Measures::default(), Some(of));
                look.extend(keys(ranking.kind, CURRENT, 3).map(see));
            }
        }
        look
    }
}

/// One of a lane's plans, of which two are written for each seq.
fn plan(n: u64) -> PlanId {
    PlanId::new(1 + n / 2, n)
}

/// A lane's plans for some seqs, of all pages.
async fn plans<S: Store>(store: &S, lane: &LaneId, seqs: &RangeInclusive<u64>) -> Vec<WrittenPlan> {
    let (mut plans, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.plans(lane, seqs, after.as_ref()).await.unwrap().value;
        plans.extend(page);
        after = next;
        if after.is_none() {
            return plans;
        }
    }
}

/// What was noted of them, likewise.
async fn conflicts<S: Store>(store: &S, lane: &LaneId, seqs: &RangeInclusive<u64>) -> Vec<(PlanId, Vec<usize>)> {
    let (mut conflicts, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.conflicts(lane, seqs, after.as_ref()).await.unwrap().value;
        conflicts.extend(page);
        after = next;
        if after.is_none() {
            return conflicts;
        }
    }
}

/// What the plan of a seq has cost.
fn stats(seq: u64) -> LaneStats {
    let units = Units { read: 0.5, write: seq as f64 };
    LaneStats::of_plan(seq as usize % 3, units, Duration::from_millis(40 * seq))
}

/// The numbers of the lanes of a seed.
async fn lane_stats<S: Store>(store: &S, name: &str) -> Vec<(Cursor, LaneStats)> {
    let mut stats = store.lane_stats().await.unwrap().value;
    stats.retain(|(cursor, _)| cursor.name == name);
    stats.sort_by_key(|(cursor, stats)| format!("{cursor:?} {stats:?}"));
    stats
}

fn expires_s() -> i64 {
    now_ms() / 1_000 + 86_400
}

/// The rows of a seed in any of so many segments, in order.
async fn rows<S: Store>(store: &S, name: &str, of: u32) -> Vec<(Key, Row)> {
    let mut rows = Vec::new();
    for segment in (0..of).map(|number| Segment { number, of }) {
        let mut after = None;
        loop {
            let (page, next) = store.rows(segment, after.as_ref()).await.unwrap().value;
            let ours = page.into_iter().filter(|(key, _)| key.pk.contains(name));
            rows.extend(ours.map(|(key, row)| (key, row.unwrap())));
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows
}

/// Entities in an order.
fn sorted(mut states: Vec<(Key, Known)>) -> Vec<(Key, Known)> {
    states.sort_by(|(a, _), (b, _)| a.cmp(b));
    states
}

async fn listed<S: Store>(store: &S, ours: &[LaneId]) -> Vec<LaneId> {
    let (mut lanes, mut after) = (Vec::new(), None);
    loop {
        let page = store.lanes(after.as_ref()).await.unwrap().value;
        let Some(last) = page.last().cloned() else { return lanes };
        lanes.extend(page.into_iter().filter(|lane| ours.contains(lane)));
        after = Some(last);
    }
}

/// Plays the requests of each seed to both.
pub(super) async fn compare(place: Place, seeds: Range<u64>) {
    for seed in seeds {
        let (memory, store, mut maker) = (MemoryStore::default(), &place.store, Maker::new(seed));
        for ranking in rankings() {
            // Floors are not of a seed: both begin with what the one before left.
            let floor = store.read_floor(ranking).await.unwrap().value;
            if floor != Floor::default() {
                memory.items().floors.insert(ranking.board, floor);
            }
        }
        let retention = maker.retention();
        set_retention(&place, &retention).await;
        memory.items().retention = retention;
        // Nor does a state say of which seed it is.
        let others = states(store, 1).await;
        let (mut applied, mut refused) = (0, 0);
        for at in 0..REQUESTS {
            let request = maker.next();
            let (expected, found) = (request.send(&memory).await, request.send(store).await);
            assert_eq!(found.text, expected.text, "seed {seed}, request {at}: {request:?}");
            applied += usize::from(expected.text == "true");
            refused += usize::from(expected.text == "false");
            maker.hear(request, expected);
        }
        assert!(applied > 5 && refused > 5, "seed {seed}: {applied} and {refused} show too little");
        let name = format!("{} ", maker.name);
        for of in [1, 4] {
            let expected = rows(&memory, &name, of).await;
            assert_eq!(rows(store, &name, of).await, expected, "seed {seed}: rows of {of} segments");
            let expected = sorted([states(&memory, of).await, others.clone()].concat());
            assert_eq!(sorted(states(store, of).await), expected, "seed {seed}: states of {of} segments");
        }
        assert_eq!(listed(store, &maker.lanes).await, listed(&memory, &maker.lanes).await, "seed {seed}: lanes");
        let expected = lane_stats(&memory, &maker.name).await;
        assert_eq!(lane_stats(store, &maker.name).await, expected, "seed {seed}: numbers of lanes");
        for request in maker.look() {
            let (expected, found) = (request.send(&memory).await, request.send(store).await);
            assert_eq!(found.text, expected.text, "seed {seed}, in the end: {request:?}");
        }
    }
    say(&format!("stores: {REQUESTS} random requests of each seed were answered alike"));
}
