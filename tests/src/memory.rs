//! The store in memory: the protocol's conditions, exactly, and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tidemark_archive::{ArchiveError, ObjectStore};
use tidemark_ledger::{Answer, Cursor, LaneId, Metered, Page, PlanId, Store, Units, Written};
use tidemark_model::fold::sum;
use tidemark_model::views::{self, Tables};
use tidemark_model::{Key, Known, Measures, Rows, State, Transition};

#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Items>>);

#[derive(Clone, Default)]
pub struct Items {
    pub entities: BTreeMap<Key, Entity>,
    pub rows: BTreeMap<Key, Row>,
    pub cursors: BTreeMap<LaneId, Cursor>,
    pub plans: BTreeMap<(LaneId, PlanId), Vec<u8>>,
    pub lanes: BTreeMap<LaneId, String>,
}

#[derive(Clone)]
pub struct Entity {
    pub known: Known,
    pub marks: BTreeMap<LaneId, u64>,
}

#[derive(Clone, Default)]
pub struct Row {
    pub measures: Measures,
    pub marks: BTreeMap<LaneId, u64>,
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

    async fn write_plan(&self, lane: &LaneId, plan: &PlanId, body: &[u8], _expires_s: i64) -> Answer<()> {
        self.items().plans.insert((lane.clone(), plan.clone()), body.to_vec());
        written(())
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        let mut items = self.items();
        let open = match items.cursors.get(lane) {
            None => cursor.seq == 1,
            Some(old) => old.seq + 1 == cursor.seq && !old.pending,
        };
        if open {
            items.cursors.insert(lane.clone(), cursor.clone());
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
                None => Written::Refused { mark: 0 },
                // As DynamoDB's INSERT: the refusal does not carry the item.
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

    async fn read_marks(&self, lane: &LaneId, keys: &[Key]) -> Answer<Page<(Key, u64), Key>> {
        let items = self.items();
        let mark = |key: &Key| Some((key.clone(), items.entities.get(key)?.marks.get(lane).copied().unwrap_or(0)));
        read(Page { found: keys.iter().filter_map(mark).collect(), unprocessed: Vec::new() })
    }

    async fn add_row(&self, lane: &LaneId, seq: u64, key: &Key, delta: &Measures) -> Answer<bool> {
        let mut items = self.items();
        let row = items.rows.entry(key.clone()).or_default();
        if row.marks.get(lane).is_some_and(|mark| *mark >= seq) {
            return written(false);
        }
        row.marks.insert(lane.clone(), seq);
        for (name, n) in delta.iter() {
            row.measures.add(name, n);
        }
        written(true)
    }

    async fn finish(&self, lane: &LaneId, seq: u64) -> Answer<bool> {
        let mut items = self.items();
        let cursor = items.cursors.get_mut(lane).filter(|cursor| cursor.seq == seq);
        let found = cursor.map(|cursor| cursor.pending = false).is_some();
        written(found)
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        let items = self.items();
        // Two a page, so that paging is used.
        read(items.lanes.keys().filter(|lane| after.is_none_or(|after| *lane > after)).take(2).cloned().collect())
    }
}

/// Objects in memory.
#[derive(Clone, Default)]
pub struct MemoryObjects(pub Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl ObjectStore for MemoryObjects {
    async fn put(&self, key: &str, _content_type: &str, body: Vec<u8>) -> Result<(), ArchiveError> {
        self.0.lock().unwrap().insert(key.to_owned(), body);
        Ok(())
    }
}
