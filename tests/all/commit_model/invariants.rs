//! What must hold: I1 to I4 as ARCHITECTURE.md has them, and that a lane comes to an end.
//!
//! Some of it tells of the protocol's means: that nothing goes back, that no point stands in two plans.
//! Where a piece is taken out these may break, and only what becomes of the numbers counts.

use super::machine::State;
use super::scenario::{Deltas, LANES, Record, Scenario, Without};
use super::store::{Store, add};
use super::told::Step;
use super::work::{Batch, Work};

impl Scenario {
    /// What must hold of every state, and does not.
    pub(super) fn wrong_state(&self, state: &State) -> Option<String> {
        let store = &state.store;
        if self.is_without(Without::Nothing) && store.twice {
            return Some("a point stands in two committed plans".to_owned());
        }
        if self.is_without(Without::Nothing) && (0..LANES).any(|lane| store.aside[lane] & store.counted[lane] != 0) {
            return Some("a record is known as set aside, and counted by its offset".to_owned());
        }
        let notes = [Without::Nothing, Without::ConflictsNoted, Without::NotedBeforeFinish];
        if notes.contains(&self.without) && store.misnoted {
            return Some("a finished plan's noted conflicts are not its transitions that did not apply".to_owned());
        }
        if let Some(seq) = store.cursors.iter().map(|cursor| cursor.seq).find(|seq| *seq > self.plans) {
            return Some(format!("a lane commits plans without end: {seq}"));
        }
        if self.redrives().any(|(key, lane, offset)| self.times(store, key, lane, offset) > 1) {
            return Some("a point is counted by its offset, and again by its idempotency key".to_owned());
        }
        if store.cursors.iter().any(|cursor| cursor.pending) {
            return self.unfinishable(state);
        }
        self.i1(store).or_else(|| self.i4(state)).or_else(|| self.unfinishable(state))
    }

    /// What must hold of every step, and does not.
    pub(super) fn wrong_step(&self, before: &State, step: &Step, after: &State) -> Option<String> {
        let back = went_back(&before.store, &after.store).filter(|_| self.is_without(Without::Nothing));
        let back = back.map(|what| format!("I2: {what} went back"));
        back.or_else(|| self.i3(after, step.lane, step.reports?))
    }

    /// I1. When no plan is pending, every row equals the sum of `rows(state)` over all entities, plus the
    /// points of the committed plans.
    fn i1(&self, store: &Store) -> Option<String> {
        let (is, should) = (store.rows.map(|row| row.is), self.truth(store));
        (is != should).then(|| format!("I1: no plan is pending, the rows are {is:?} and should be {should:?}"))
    }

    fn truth(&self, store: &Store) -> Deltas {
        let mut truth = Deltas::default();
        for (entity, state) in store.entities.iter().enumerate() {
            add(&mut truth, self.rows_of(entity as u8, state.version()), 1);
        }
        store.counted.iter().for_each(|offsets| add(&mut truth, self.points(*offsets), 1));
        truth
    }

    /// I3. An invocation reports success: its records' effect is in the rows, or a pending plan of
    /// another lane holds it.
    fn i3(&self, state: &State, lane: usize, batch: Batch) -> Option<String> {
        let store = &state.store;
        for (offset, record) in self.records(lane, batch) {
            let lost = lane == 0 && state.lost & 1 << offset != 0;
            let held = match record.state() {
                Some((entity, version)) => store.entities[usize::from(entity)].version() >= version,
                None if lost => store.cursors[lane].through > offset,
                None => store.cursors[lane].through > offset && is_settled(store, lane, offset, record),
            };
            if !held {
                return Some(format!("I3: success is reported, but no entity and no plan holds record {offset}"));
            }
            if !self.is_lax() && self.awaits(store, lane, offset, record) {
                return Some(format!(
                    "I3: success is reported, but the share of record {offset} waits in a plan of the same lane"
                ));
            }
        }
        let (mut is, should) = (store.rows.map(|row| row.is), self.truth(store));
        (0..self.lanes.len()).for_each(|lane| add(&mut is, self.awaited(store, lane), 1));
        (is != should).then(|| {
            format!("I3: success is reported; rows and pending plans come to {is:?} and should come to {should:?}")
        })
    }

    /// Whether a plan of the same lane may hold what a success is reported for, so that other pieces show
    /// what is lost without them rather than what comes late.
    fn is_lax(&self) -> bool {
        !matches!(self.without, Without::Nothing | Without::EntitiesBeforeCursor)
    }

    /// What a lane's pending plan still has to add for transitions that applied, and points.
    fn awaited(&self, store: &Store, lane: usize) -> Deltas {
        let cursor = &store.cursors[lane];
        if !cursor.pending {
            return Deltas::default();
        }
        let mut deltas = self.deltas(&cursor.plan, |entity| store.entities[entity].marks[lane] == cursor.seq);
        for (delta, row) in deltas.iter_mut().zip(&store.rows) {
            if row.marks[self.mark(lane as u8)] >= cursor.seq {
                *delta = Default::default();
            }
        }
        deltas
    }

    /// Whether the transition or the point that a record came to waits for its rows in the lane's plan.
    fn awaits(&self, store: &Store, lane: usize, offset: u8, record: Record) -> bool {
        let cursor = &store.cursors[lane];
        if self.awaited(store, lane) == Deltas::default() {
            return false;
        }
        let Some((entity, version)) = record.state() else { return cursor.plan.points & 1 << offset != 0 };
        let entity = usize::from(entity);
        let state = &store.entities[entity];
        let first = state.history.iter().position(|told| *told >= version);
        let made = cursor.plan.transitions[entity].map(|transition| usize::from(transition.counter) + 1);
        state.marks[lane] == cursor.seq && made == first
    }

    /// I4. At rest, when everything was delivered: each entity has its highest version, and every
    /// point is counted once.
    fn i4(&self, state: &State) -> Option<String> {
        let delivered = |lane: usize| usize::from(state.acked[lane]) == self.lanes[lane].len();
        let all = (0..self.lanes.len()).all(|lane| delivered(lane) || !self.redrivable(state, lane));
        if !all || state.works.iter().flatten().any(|work| *work != Work::Idle) {
            return None;
        }
        for (lane, records) in self.lanes.iter().enumerate().filter(|(lane, _)| delivered(*lane)) {
            for (offset, record) in (0..).zip(records) {
                if lane == 0 && state.lost & 1 << offset != 0 {
                    continue;
                }
                let held = match record.state() {
                    Some((entity, version)) => state.store.entities[usize::from(entity)].version() >= version,
                    None => is_settled(&state.store, lane, offset, *record),
                };
                if !held {
                    return Some(format!("I4: everything was delivered, but not record {offset} of lane {lane}"));
                }
            }
        }
        let told = |entity: usize, version: u8| {
            let records = self.lanes.iter().flatten().filter_map(|record| record.state());
            version == 0 || records.into_iter().any(|(of, told)| usize::from(of) == entity && told == version)
        };
        let wrong = state.store.entities.iter().enumerate().any(|(entity, is)| !told(entity, is.version()));
        wrong.then(|| "I4: an entity has a version that no record told".to_owned())
    }

    /// From wherever a run rests, the records that come once more come to success.
    fn unfinishable(&self, state: &State) -> Option<String> {
        let at_rest = state.works.iter().flatten().all(|work| *work == Work::Idle);
        // Once for a store: what is under way does not matter here.
        if !at_rest || state.sent != [None; 2] {
            return None;
        }
        self.left_alone(state).err()
    }

    fn redrives(&self) -> impl Iterator<Item = (usize, usize, u8)> {
        self.lanes.iter().flatten().filter_map(|record| match *record {
            Record::Redrive { key, lane, offset } => Some((usize::from(key), usize::from(lane), offset)),
            _ => None,
        })
    }

    /// How often a point counts that may be redriven.
    fn times(&self, store: &Store, key: usize, lane: usize, offset: u8) -> u8 {
        u8::from(store.counted[lane] & 1 << offset != 0) + u8::from(store.entities[key].version() > 0)
    }
}

/// Whether a committed plan counts a record without identity, or sets it aside.
fn is_settled(store: &Store, lane: usize, offset: u8, record: Record) -> bool {
    let aside = matches!(record, Record::Aside) && store.aside[lane] & 1 << offset != 0;
    aside || store.counted[lane] & 1 << offset != 0
}

/// I2. Counters, versions, marks, seq and `through` never decrease.
fn went_back(before: &Store, after: &Store) -> Option<&'static str> {
    let less = |after: &[u8], before: &[u8]| after.iter().zip(before).any(|(after, before)| after < before);
    for (before, after) in before.entities.iter().zip(&after.entities) {
        match () {
            () if after.counter < before.counter => return Some("a counter"),
            () if after.version() < before.version() => return Some("a version"),
            () if less(&after.marks, &before.marks) => return Some("a mark on an entity"),
            () => {}
        }
    }
    if before.rows.iter().zip(&after.rows).any(|(before, after)| less(&after.marks, &before.marks)) {
        return Some("a mark on a row");
    }
    for (before, after) in before.cursors.iter().zip(&after.cursors) {
        match () {
            () if after.seq < before.seq => return Some("a seq"),
            () if after.through < before.through => return Some("through"),
            () => {}
        }
    }
    None
}
