//! The store: it does what requests say IF their conditions hold. Each is one step.

use super::scenario::{Delta, Deltas, ENTITIES, LANES, ROWS, Scenario, Without};

/// Versions that an entity may come to have, the absent one among them.
pub(super) const HISTORY: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Entity {
    pub(super) counter: u8,
    /// The version at each counter: what an eventually consistent read may find.
    pub(super) history: [u8; HISTORY],
    pub(super) marks: [u8; LANES],
}

impl Entity {
    pub(super) fn version(&self) -> u8 {
        self.history[usize::from(self.counter)]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Row {
    pub(super) is: Delta,
    pub(super) marks: [u8; LANES],
}

/// An entity's step from the version that was read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Transition {
    /// As it was read.
    pub(super) counter: u8,
    pub(super) before: u8,
    pub(super) after: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(super) struct Plan {
    pub(super) transitions: [Option<Transition>; ENTITIES],
    /// Offsets, a bit each.
    pub(super) points: u8,
    /// Offsets of what is set aside.
    pub(super) aside: u8,
    /// How many offsets the lane has covered with it; 0 leaves that as it is.
    pub(super) through: u8,
}

/// Writing a plan under a fresh id is seen by no one until the cursor names it: it is no step of its
/// own, and the cursor holds the plan itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Cursor {
    pub(super) seq: u8,
    pub(super) pending: bool,
    /// How many offsets are covered: one above the last.
    pub(super) through: u8,
    pub(super) plan: Plan,
    /// Whether the plan that is named is there.
    pub(super) written: bool,
    /// Which of the pending plan's transitions are noted as conflicted, a bit each.
    pub(super) noted: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Store {
    pub(super) entities: [Entity; ENTITIES],
    pub(super) rows: [Row; ROWS],
    pub(super) cursors: [Cursor; LANES],
    /// Offsets whose points stand in committed plans, a bit each; no one in the protocol reads it.
    pub(super) counted: [u8; LANES],
    /// Offsets that are known as set aside: what a redrive asks for. Known as soon as the plan is committed, which
    /// lets a redrive come earlier than the entity does.
    pub(super) aside: [u8; LANES],
    /// Whether a point stands in two committed plans.
    pub(super) twice: bool,
    /// Whether a finished plan's note is not just its transitions that did not apply.
    pub(super) misnoted: bool,
}

/// A write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Request {
    /// Step 4: the cursor from the seq below.
    Advance { lane: u8, seq: u8, through: u8, plan: Plan },
    /// Step 4, when it comes too late.
    WritePlan { lane: u8, seq: u8 },
    /// Step 5.
    Write { lane: u8, seq: u8, entity: u8, transition: Transition },
    /// Between steps 5 and 6: transitions that will never apply, a bit each.
    Note { lane: u8, seq: u8, conflicts: u8 },
    /// Step 6.
    Add { lane: u8, seq: u8, row: u8, delta: Delta },
    /// Step 7.
    Finish { lane: u8, seq: u8 },
}

impl Scenario {
    /// Does a request, if its condition holds.
    pub(super) fn land(&self, store: &mut Store, request: Request) -> bool {
        match request {
            Request::Advance { lane, seq, through, plan } => {
                let lane = usize::from(lane);
                let cursor = &mut store.cursors[lane];
                let held = match self.without {
                    Without::CompareAndSet => true,
                    Without::Redo => cursor.seq + 1 == seq,
                    _ => cursor.seq + 1 == seq && !cursor.pending,
                };
                if !held {
                    return false;
                }
                let written = !self.is_without(Without::PlanBeforeCursor);
                *cursor = Cursor { seq, pending: true, through, plan, written, noted: 0 };
                store.twice |= store.counted[lane] & plan.points != 0;
                store.counted[lane] |= plan.points;
                store.aside[lane] |= plan.aside;
            }
            Request::WritePlan { lane, seq } => {
                let cursor = &mut store.cursors[usize::from(lane)];
                cursor.written |= cursor.seq == seq;
            }
            Request::Write { lane, seq, entity, transition } => {
                let entity = &mut store.entities[usize::from(entity)];
                if entity.counter != transition.counter && !self.is_without(Without::Counter) {
                    return false;
                }
                entity.counter = transition.counter + 1;
                entity.history[usize::from(entity.counter)] = transition.after;
                entity.history[usize::from(entity.counter) + 1..].fill(0);
                entity.marks[usize::from(lane)] = seq;
            }
            Request::Add { lane, seq, row, delta } => {
                let row = &mut store.rows[usize::from(row)];
                let mark = &mut row.marks[self.mark(lane)];
                if *mark >= seq && !self.is_without(Without::RowMark) {
                    return false;
                }
                *mark = seq;
                row.is.sum += delta.sum;
                row.is.points += delta.points;
            }
            Request::Note { lane, seq, conflicts } => {
                let cursor = &mut store.cursors[usize::from(lane)];
                // A finished plan's note was looked at, and is not held.
                if cursor.seq == seq && cursor.pending {
                    cursor.noted = conflicts;
                }
            }
            Request::Finish { lane, seq } => {
                let lane = usize::from(lane);
                let cursor = &mut store.cursors[lane];
                if cursor.seq != seq && !self.is_without(Without::FinishCondition) {
                    return false;
                }
                let transitions = cursor.plan.transitions.iter().zip(&store.entities).enumerate();
                let left_out =
                    transitions.filter(|(_, (transition, entity))| transition.is_some() && entity.marks[lane] != seq);
                let conflicts = left_out.fold(0, |conflicts, (at, _)| conflicts | 1 << at);
                store.misnoted |= cursor.pending && cursor.noted != conflicts;
                *cursor = Cursor { pending: false, plan: Plan::default(), written: false, noted: 0, ..*cursor };
            }
        }
        true
    }

    /// Where a lane's mark stands on a row.
    pub(super) fn mark(&self, lane: u8) -> usize {
        if self.is_without(Without::MarkOfEachLane) { 0 } else { usize::from(lane) }
    }

    /// Whether a request could still do something if it landed now or later.
    pub(super) fn lives(&self, store: &Store, request: Request) -> bool {
        if !self.is_without(Without::Nothing) {
            return true;
        }
        // Counters, marks and seqs never go back: refused once, refused for ever.
        match request {
            Request::Advance { lane, seq, .. } => store.cursors[usize::from(lane)].seq < seq,
            Request::WritePlan { .. } => false,
            Request::Write { entity, transition, .. } => {
                store.entities[usize::from(entity)].counter <= transition.counter
            }
            Request::Note { lane, seq, conflicts } => {
                let cursor = store.cursors[usize::from(lane)];
                cursor.seq == seq && cursor.pending && cursor.noted != conflicts
            }
            Request::Add { lane, seq, row, .. } => store.rows[usize::from(row)].marks[self.mark(lane)] < seq,
            Request::Finish { lane, seq } => {
                let cursor = store.cursors[usize::from(lane)];
                cursor.pending && cursor.seq <= seq
            }
        }
    }

    /// Step 6: what a plan adds to the rows when only some of its transitions applied.
    pub(super) fn deltas(&self, plan: &Plan, applied: impl Fn(usize) -> bool) -> Deltas {
        let mut deltas = Deltas::default();
        for (entity, transition) in plan.transitions.iter().enumerate() {
            let Some(Transition { before, after, .. }) = *transition else { continue };
            let keyed = self.redriven(entity as u8).is_some();
            if applied(entity) || (keyed && self.is_without(Without::KeyedPoint)) {
                add(&mut deltas, self.rows_of(entity as u8, after), 1);
                add(&mut deltas, self.rows_of(entity as u8, before), -1);
            }
        }
        add(&mut deltas, self.points(plan.points), 1);
        deltas
    }

    /// What points add to the rows.
    pub(super) fn points(&self, offsets: u8) -> Deltas {
        let mut deltas = Deltas::default();
        for offset in (0..8).filter(|offset| offsets & 1 << offset != 0) {
            deltas[self.row_of_point(offset)].points += 1;
        }
        deltas
    }
}

pub(super) fn add(to: &mut Deltas, what: Deltas, times: i8) {
    for (to, what) in to.iter_mut().zip(what) {
        to.sum += times * what.sum;
        to.points += times * what.points;
    }
}
