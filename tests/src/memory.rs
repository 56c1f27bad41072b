//! The store in memory: the protocol's conditions, exactly, and nothing else. `tests/all/stores` shows that it
//! answers as DynamoDB does.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use tidemark_ledger::{
    Answer, AppRetention, ConflictPage, Cursor, Floor, LaneId, LaneStats, Marks, Metered, Page, PlanId, PlanPage, Row,
    RowPage, Segment, StatePage, Store, Units, Written, WrittenPlan,
};
use tidemark_model::fold::sum;
use tidemark_model::rows::{Combine, TTL};
use tidemark_model::views::{self, Ranking, Tables};
use tidemark_model::{Decimal, Key, Known, Measures, Rows, State, Transition};
use xxhash_rust::xxh3::xxh3_64;

pub use crate::objects::MemoryObjects;

#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Items>>);

#[derive(Clone, Default)]
pub struct Items {
    pub entities: BTreeMap<Key, Entity>,
    pub rows: BTreeMap<Key, StoredRow>,
    pub floors: BTreeMap<&'static str, Floor>,
    pub retention: AppRetention,
    pub cursors: BTreeMap<LaneId, Cursor>,
    pub stats: BTreeMap<LaneId, LaneStats>,
    pub plans: BTreeMap<(LaneId, PlanId), Vec<u8>>,
    /// The plan before each that has one.
    pub previous: BTreeMap<(LaneId, PlanId), PlanId>,
    pub conflicts: BTreeMap<(LaneId, PlanId), Vec<usize>>,
    pub lanes: BTreeMap<LaneId, String>,
}

#[derive(Clone)]
pub struct Entity {
    pub known: Known,
    pub marks: BTreeMap<LaneId, u64>,
}

#[derive(Clone, Default)]
pub struct StoredRow {
    pub measures: Measures,
    pub rank: Option<Decimal>,
    pub marks: BTreeMap<LaneId, u64>,
    pub befores: BTreeMap<LaneId, Decimal>,
}

impl StoredRow {
    fn seen_by(&self, lane: &LaneId) -> Row {
        Row {
            measures: self.measures.clone(),
            rank: self.rank,
            mark: self.marks.get(lane).copied().unwrap_or(0),
            before: self.befores.get(lane).copied().unwrap_or_default(),
            marks: Vec::new(),
        }
    }

    fn scanned(&self) -> Row {
        let marks = self.marks.iter().map(|(lane, seq)| (lane.clone(), *seq)).collect();
        Row { marks, ..self.seen_by(&LaneId::AUDIT) }
    }
}

impl MemoryStore {
    pub fn items(&self) -> MutexGuard<'_, Items> {
        self.0.lock().unwrap()
    }

    /// What the tables hold, as a reader of DynamoDB gets it.
    pub fn tables(&self) -> Tables {
        let items = self.items();
        let states = items.entities.values().map(|entity| &entity.known.state);
        let listed: Vec<State> = states.filter(|state| views::listed(state).is_some()).cloned().collect();
        Tables { rows: items.rows.iter().map(|(key, row)| (key.clone(), row.measures.clone())).collect(), listed }
    }

    /// I1: the rows of entities that the entities' states add up to.
    pub fn recomputed(&self) -> Rows {
        sum(self.items().entities.values().map(|entity| &entity.known.state))
    }
}

fn written<T>(value: T) -> Answer<T> {
    Ok(Metered { value, units: Units { read: 0.0, write: 1.0 } })
}

fn read<T>(value: T) -> Answer<T> {
    Ok(Metered { value, units: Units { read: 1.0, write: 0.0 } })
}

/// A few of a segment's items, so that paging is used.
fn page<T: Clone>(items: &BTreeMap<Key, T>, segment: Segment, after: Option<&Key>) -> (Vec<(Key, T)>, Option<Key>) {
    let is_of = |key: &Key| xxh3_64(key.pk.as_bytes()) % u64::from(segment.of) == u64::from(segment.number);
    let mut found = items.iter().filter(|(key, _)| is_of(key) && after.is_none_or(|after| *key > after));
    let page: Vec<(Key, T)> = found.by_ref().take(7).map(|(key, item)| (key.clone(), item.clone())).collect();
    let next = found.next().and(page.last()).map(|(key, _)| key.clone());
    (page, next)
}

/// Two of what stands under plans of some seqs, so that paging is used.
fn of_plans<T: Clone>(
    items: &BTreeMap<(LaneId, PlanId), T>,
    lane: &LaneId,
    seqs: &RangeInclusive<u64>,
    after: Option<&PlanId>,
) -> (Vec<(PlanId, T)>, Option<PlanId>) {
    let first = (lane.clone(), PlanId::new(*seqs.start(), 0));
    let last = (lane.clone(), PlanId::new(*seqs.end(), u64::MAX));
    let of_seqs = items.range(first..=last).map(|((_, plan), item)| (plan, item));
    let mut found = of_seqs.filter(|(plan, _)| after.is_none_or(|after| *plan > after));
    let page: Vec<(PlanId, T)> = found.by_ref().take(2).map(|(plan, item)| (plan.clone(), item.clone())).collect();
    let next = found.next().and(page.last()).map(|(plan, _)| plan.clone());
    (page, next)
}

impl Store for MemoryStore {
    async fn read_entities(&self, keys: &[Key], _consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        assert!(keys.len() <= Self::READ_KEYS);
        let items = self.items();
        let found = keys.iter().filter_map(|key| Some((key.clone(), items.entities.get(key)?.known.clone())));
        read(Page { found: found.collect(), unprocessed: Vec::new() })
    }

    async fn read_cursor(&self, lane: &LaneId) -> Answer<Option<Cursor>> {
        read(self.items().cursors.get(lane).cloned())
    }

    async fn read_plan(&self, lane: &LaneId, plan: &PlanId) -> Answer<Option<Vec<u8>>> {
        read(self.items().plans.get(&(lane.clone(), plan.clone())).cloned())
    }

    async fn register_lane(&self, lane: &LaneId, name: &str) -> Answer<()> {
        self.items().lanes.insert(lane.clone(), name.to_owned());
        written(())
    }

    async fn write_plan(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        previous: Option<&PlanId>,
        body: &[u8],
        _expires_s: i64,
    ) -> Answer<()> {
        let mut items = self.items();
        let key = (lane.clone(), plan.clone());
        items.plans.insert(key.clone(), body.to_vec());
        match previous {
            Some(previous) => items.previous.insert(key, previous.clone()),
            None => items.previous.remove(&key),
        };
        written(())
    }

    async fn write_conflicts(&self, lane: &LaneId, plan: &PlanId, conflicts: &[usize], _expires_s: i64) -> Answer<()> {
        self.items().conflicts.insert((lane.clone(), plan.clone()), conflicts.to_vec());
        written(())
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        let mut items = self.items();
        let old = items.cursors.get(lane);
        let open = match old {
            None => cursor.seq == 1,
            Some(old) => old.seq + 1 == cursor.seq && !old.pending,
        };
        if open {
            // What a cursor does not say stays.
            let through = cursor.through.or_else(|| old?.through);
            let through_ts = cursor.through_ts.or_else(|| old?.through_ts);
            let cursor = Cursor { pending: true, through, through_ts, ..cursor.clone() };
            items.cursors.insert(lane.clone(), cursor);
        }
        written(open)
    }

    async fn write_entities(&self, lane: &LaneId, seq: u64, transitions: &[&Transition]) -> Answer<Vec<Written>> {
        assert!(transitions.len() <= Self::WRITE_ENTITIES);
        let mut items = self.items();
        let outcomes = transitions.iter().map(|transition| {
            let known =
                Known { counter: transition.counter + 1, version: transition.version, state: transition.after.clone() };
            match items.entities.get_mut(&transition.key) {
                None if transition.counter == 0 => {
                    let marks = BTreeMap::from([(lane.clone(), seq)]);
                    items.entities.insert(transition.key.clone(), Entity { known, marks });
                    Written::Applied
                }
                // As DynamoDB's: there is no item to show, and the refusal of an INSERT shows none.
                None => Written::Unseen,
                Some(_) if transition.counter == 0 => Written::Unseen,
                Some(entity) if entity.known.counter == transition.counter => {
                    entity.known = known;
                    entity.marks.insert(lane.clone(), seq);
                    Written::Applied
                }
                Some(entity) => Written::Refused { mark: entity.marks.get(lane).copied().unwrap_or(0) },
            }
        });
        written(outcomes.collect())
    }

    async fn read_marks(&self, keys: &[Key]) -> Answer<Page<(Key, Marks), Key>> {
        assert!(keys.len() <= Self::READ_KEYS);
        let items = self.items();
        let marks = |entity: &Entity| entity.marks.iter().map(|(lane, seq)| (lane.clone(), *seq)).collect();
        let found = keys.iter().filter_map(|key| Some((key.clone(), marks(items.entities.get(key)?))));
        read(Page { found: found.collect(), unprocessed: Vec::new() })
    }

    async fn add_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> Answer<Option<Row>> {
        let mut items = self.items();
        let row = items.rows.entry(key.clone()).or_default();
        if row.marks.get(lane).is_none_or(|mark| *mark < seq) {
            row.marks.insert(lane.clone(), seq);
            if let Some(ranking) = ranking {
                row.befores.insert(lane.clone(), row.measures.get(ranking.present));
                row.measures.remove(TTL);
            }
            for (name, n) in delta.iter() {
                match Combine::of(name) {
                    Combine::Sum => row.measures.add(name, n),
                    _ if name == TTL => row.measures.set(name, n),
                    _ if row.measures.find(name).is_none() => row.measures.add(name, n),
                    _ => {}
                }
            }
        }
        let answered = ranking.is_some() || ["min", "max"].iter().any(|name| delta.find(name).is_some());
        written(answered.then(|| row.seen_by(lane)))
    }

    async fn set_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> Answer<bool> {
        let mut items = self.items();
        // What is not there is not beyond anything.
        let Some(row) = items.rows.get_mut(key) else { return written(false) };
        let Some(old) = row.measures.find(name) else { return written(false) };
        row.measures.add(name, value);
        written(row.measures.find(name) != Some(old))
    }

    async fn read_floor(&self, ranking: &'static Ranking) -> Answer<Floor> {
        read(self.items().floors.get(ranking.board).copied().unwrap_or_default())
    }

    async fn set_floor(&self, ranking: &'static Ranking, seen: Floor, floor: Floor) -> Answer<bool> {
        let mut items = self.items();
        let same = match items.floors.get(ranking.board) {
            None => seen == Floor::default(),
            Some(old) => (old.floor, old.refreshed) == (seen.floor, seen.refreshed),
        };
        if same {
            items.floors.insert(ranking.board, floor);
        }
        written(same)
    }

    async fn set_rank(&self, key: &Key, ranking: &'static Ranking, seen: &Row, rank: Option<Decimal>) -> Answer<bool> {
        let mut items = self.items();
        let old = items.rows.get(key).cloned().unwrap_or_default();
        let same = |name| old.measures.get(name) == seen.measures.get(name);
        let same = same(ranking.by)
            && same(ranking.present)
            && (rank.is_some() || old.rank == Some(seen.rank.unwrap_or_default()));
        if same {
            items.rows.insert(key.clone(), StoredRow { rank, ..old });
        }
        written(same)
    }

    async fn finish(&self, lane: &LaneId, seq: u64, stats: &LaneStats) -> Answer<bool> {
        let mut items = self.items();
        let cursor = items.cursors.get_mut(lane).filter(|cursor| cursor.seq == seq && cursor.pending);
        let found = cursor.map(|cursor| cursor.pending = false).is_some();
        if found {
            *items.stats.entry(lane.clone()).or_default() += stats;
        }
        written(found)
    }

    async fn lane_stats(&self) -> Answer<Vec<(Cursor, LaneStats)>> {
        let items = self.items();
        let stats = |lane: &LaneId| {
            Some((items.cursors.get(lane)?.clone(), items.stats.get(lane).cloned().unwrap_or_default()))
        };
        read(items.lanes.keys().filter_map(stats).collect())
    }

    async fn rows(&self, segment: Segment, after: Option<&Key>) -> Answer<RowPage> {
        let items = self.items();
        let (page, next) = page(&items.rows, segment, after);
        read((page.into_iter().map(|(key, row)| (key, Ok(row.scanned()))).collect(), next))
    }

    async fn states(&self, segment: Segment, after: Option<&Key>) -> Answer<StatePage> {
        let items = self.items();
        let (page, next) = page(&items.entities, segment, after);
        read((page.into_iter().map(|(key, entity)| (key, entity.known)).collect(), next))
    }

    async fn timeline(&self, timeline: &str, after: Option<&Key>) -> Answer<StatePage> {
        let items = self.items();
        let first = Key { pk: timeline.into(), sk: "".into() };
        let of_it = items.entities.range(first..).take_while(|(key, _)| key.pk == timeline);
        let mut found = of_it.filter(|(key, _)| after.is_none_or(|after| *key > after));
        // Three a page, so that paging is used.
        let page: Vec<_> = found.by_ref().take(3).map(|(key, entity)| (key.clone(), entity.known.clone())).collect();
        let next = found.next().and(page.last()).map(|(key, _)| key.clone());
        read((page, next))
    }

    async fn plans(&self, lane: &LaneId, seqs: &RangeInclusive<u64>, after: Option<&PlanId>) -> Answer<PlanPage> {
        let items = self.items();
        let (page, next) = of_plans(&items.plans, lane, seqs, after);
        let plan = |(plan, body): (PlanId, Vec<u8>)| {
            let previous = items.previous.get(&(lane.clone(), plan.clone())).cloned();
            WrittenPlan { plan, previous, body }
        };
        read((page.into_iter().map(plan).collect(), next))
    }

    async fn conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Answer<ConflictPage> {
        read(of_plans(&self.items().conflicts, lane, seqs, after))
    }

    async fn create_row(&self, key: &Key, row: &Measures, marks: &[(LaneId, u64)]) -> Answer<bool> {
        let mut items = self.items();
        let missing = !items.rows.contains_key(key);
        if missing {
            let marks = marks.iter().cloned().collect();
            items.rows.insert(key.clone(), StoredRow { measures: row.clone(), marks, ..StoredRow::default() });
        }
        written(missing)
    }

    async fn expire_row(&self, key: &Key, ranking: &'static Ranking, expires_s: i64) -> Answer<bool> {
        let mut items = self.items();
        let is_empty = |row: &Measures| row.get(ranking.by).is_zero() && row.get(ranking.present).is_zero();
        let row = items.rows.get_mut(key).map(|row| &mut row.measures);
        let row = row.filter(|row| is_empty(row) && row.find(TTL).is_none());
        written(row.map(|row| row.set(TTL, Decimal::whole(expires_s))).is_some())
    }

    async fn create_entities(&self, entities: &[(Key, Known)]) -> Answer<Vec<Written>> {
        assert!(entities.len() <= Self::WRITE_ENTITIES);
        let mut items = self.items();
        let created = entities.iter().map(|(key, known)| {
            if items.entities.contains_key(key) {
                return Written::Unseen;
            }
            items.entities.insert(key.clone(), Entity { known: known.clone(), marks: BTreeMap::new() });
            Written::Applied
        });
        written(created.collect())
    }

    async fn create_cursor(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        let mut items = self.items();
        let missing = !items.cursors.contains_key(lane);
        if missing {
            items.cursors.insert(lane.clone(), cursor.clone());
        }
        written(missing)
    }

    async fn read_retention(&self) -> Answer<AppRetention> {
        read(self.items().retention.clone())
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        let items = self.items();
        // Two a page, so that paging is used.
        read(items.lanes.keys().filter(|lane| after.is_none_or(|after| *lane > after)).take(2).cloned().collect())
    }
}
