//! Works: what an invocation knows at each step of the protocol, and what it sends and does next.

use super::scenario::{Deltas, ENTITIES, Record, Scenario, Without};
use super::store::{Cursor, Plan, Request, Store, Transition};

/// Offsets, the last not among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Batch {
    pub(super) from: u8,
    pub(super) to: u8,
}

/// An entity as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Known {
    pub(super) counter: u8,
    pub(super) version: u8,
}

/// Steps 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Reading {
    pub(super) batch: Batch,
    /// Whether this is not the first round.
    pub(super) again: bool,
    pub(super) known: [Option<Known>; ENTITIES],
    /// The seq and `through` where the cursor was read too early.
    pub(super) cursor: Option<(u8, u8)>,
}

/// Step 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Committing {
    pub(super) batch: Batch,
    /// The cursor's, before.
    pub(super) seq: u8,
    pub(super) through: u8,
    /// What is still to be planned.
    pub(super) rest: Plan,
    /// Whether a transition of an earlier plan was conflicted.
    pub(super) conflicted: bool,
}

/// What became of a transition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    Applied,
    Conflicted,
    Overtaken,
}

/// Steps 5 to 7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Applying {
    pub(super) seq: u8,
    pub(super) plan: Plan,
    pub(super) outcomes: [Option<Outcome>; ENTITIES],
    /// Whether its conflicts are noted.
    pub(super) noted: bool,
    /// Rows that were added to, a bit each.
    pub(super) added: u8,
    pub(super) finished: bool,
    /// Whether the plan is there.
    pub(super) written: bool,
    pub(super) then: Then,
}

/// What comes after a plan was applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Then {
    /// It was the sweeper's.
    Nothing,
    /// It was another's: a new round.
    Round(Batch),
    /// It was this invocation's: the next one of its batch, if there is more.
    Next(Committing),
}

/// How far a work has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Work {
    Idle,
    Reading(Reading),
    Committing(Committing),
    Applying(Applying),
}

/// A work's next state, and the batch for which it reports success on the way.
pub(super) type Next = (Work, Option<Batch>);

impl Scenario {
    pub(super) fn round(&self, batch: Batch, again: bool) -> Reading {
        Reading { batch, again, known: [None; ENTITIES], cursor: None }
    }

    pub(super) fn records(&self, lane: usize, batch: Batch) -> impl Iterator<Item = (u8, Record)> {
        (batch.from..batch.to).map(move |offset| (offset, self.lanes[lane][usize::from(offset)]))
    }

    /// Entities that a batch touches and that were not read yet.
    pub(super) fn unread(&self, lane: usize, reading: &Reading) -> impl Iterator<Item = usize> {
        let touched = |at: u8| {
            self.records(lane, reading.batch).any(|(_, record)| record.state().is_some_and(|(entity, _)| entity == at))
        };
        let unread: [bool; ENTITIES] =
            std::array::from_fn(|entity| reading.known[entity].is_none() && touched(entity as u8));
        (0..ENTITIES).filter(move |entity| unread[*entity])
    }

    /// Step 2: what the cursor makes of a work that has read it.
    pub(super) fn looked(&self, lane: usize, reading: Reading, cursor: &Cursor) -> Vec<Next> {
        if cursor.pending && !self.is_without(Without::Redo) {
            // Without its plan the invocation fails.
            let redo = applying(cursor.seq, cursor.plan, Then::Round(reading.batch));
            return vec![(if cursor.written { Work::Applying(redo) } else { Work::Idle }, None)];
        }
        let seen = Some((cursor.seq, cursor.through));
        self.folded(lane, Reading { cursor: seen, ..reading })
    }

    /// Step 3, when all is read; where a record was set aside, as each release of the decoder has it.
    pub(super) fn folded(&self, lane: usize, reading: Reading) -> Vec<Next> {
        let (Some((seq, through)), None) = (reading.cursor, self.unread(lane, &reading).next()) else {
            return vec![(Work::Reading(reading), None)];
        };
        let Reading { batch, known, .. } = reading;
        let mut transitions = [None; ENTITIES];
        for (entity, transition) in transitions.iter_mut().enumerate() {
            let Some(Known { counter, version }) = known[entity] else { continue };
            let told = self.records(lane, batch).filter_map(|(_, record)| record.state());
            let versions = told.filter(|(of, _)| usize::from(*of) == entity).map(|(_, version)| version);
            let last = self.is_without(Without::Version);
            let Some(after) = (if last { versions.last() } else { versions.max() }) else { continue };
            let news = after > version || (last && after != version);
            *transition = news.then_some(Transition { counter, before: version, after });
        }
        if transitions.iter().all(Option::is_none) && batch.to <= through {
            return vec![(Work::Idle, Some(batch))];
        }
        let above = |offset| offset >= through || self.is_without(Without::AboveThrough);
        let points = |of: fn(Record) -> bool| {
            let points = self.records(lane, batch).filter(|(offset, record)| above(*offset) && of(*record));
            points.fold(0, |points, (offset, _)| points | 1 << offset)
        };
        let certain = points(|record| matches!(record, Record::Point));
        let perhaps = points(|record| matches!(record, Record::Aside));
        let commit = |points, aside| {
            let rest = Plan { transitions, points, aside, through: batch.to };
            (Work::Committing(Committing { batch, seq, through, rest, conflicted: false }), None)
        };
        let mut next = vec![commit(certain, perhaps)];
        if perhaps != 0 {
            next.push(commit(certain | perhaps, 0));
        }
        next
    }

    /// The next plan of what is still to be planned, and what is left then.
    fn split(&self, rest: Plan) -> (Plan, Plan) {
        let transitions = rest.transitions.iter().flatten().count();
        let covered = rest.points | rest.aside;
        if !self.split || transitions + covered.count_ones() as usize <= 1 {
            return (rest, Plan::default());
        }
        let (mut plan, mut later) = (Plan::default(), rest);
        if self.is_without(Without::AsideWithThrough) {
            plan.aside = std::mem::take(&mut later.aside);
        }
        if let Some(at) = rest.transitions.iter().position(Option::is_some) {
            plan.transitions[at] = later.transitions[at].take();
            return (plan, later);
        }
        let offset = covered.trailing_zeros() as u8;
        plan.points = rest.points & 1 << offset;
        plan.aside |= later.aside & 1 << offset;
        later.points &= !plan.points;
        later.aside &= !plan.aside;
        plan.through = match self.without {
            Without::OwnThroughNotFurther => rest.through,
            Without::OwnThroughAtAll => 0,
            _ => offset + 1,
        };
        (plan, later)
    }

    /// Requests that a work may send now, in any order.
    pub(super) fn requests(&self, lane: usize, work: &Work) -> [Option<Request>; 2] {
        let lane = lane as u8;
        match work {
            Work::Idle | Work::Reading(_) => [None; 2],
            Work::Committing(Committing { seq, through, rest, .. }) => {
                let (plan, _) = self.split(*rest);
                let through = plan.through.max(*through);
                [Some(Request::Advance { lane, seq: seq + 1, through, plan }), None]
            }
            Work::Applying(applying) => {
                let seq = applying.seq;
                if !applying.written {
                    return [Some(Request::WritePlan { lane, seq }), None];
                }
                let writes = self.writes(lane, applying);
                let adds = self.adds(lane, applying);
                let finish = [(!applying.finished).then_some(Request::Finish { lane, seq }), None];
                let note = [self.note(lane, applying), None];
                let order = match self.without {
                    Without::EntitiesFirst => [adds, writes, note, finish],
                    Without::RowsBeforeFinish => [writes, note, finish, adds],
                    Without::NotedBeforeFinish => [writes, adds, finish, note],
                    _ => [writes, note, adds, finish],
                };
                order.into_iter().find(|requests| *requests != [None; 2]).unwrap_or_default()
            }
        }
    }

    fn writes(&self, lane: u8, applying: &Applying) -> [Option<Request>; 2] {
        std::array::from_fn(|entity| {
            let transition = applying.plan.transitions[entity].filter(|_| applying.outcomes[entity].is_none())?;
            Some(Request::Write { lane, seq: applying.seq, entity: entity as u8, transition })
        })
    }

    fn note(&self, lane: u8, applying: &Applying) -> Option<Request> {
        let outcomes = applying.outcomes.iter().enumerate();
        let conflicted = outcomes.filter(|(_, outcome)| **outcome == Some(Outcome::Conflicted));
        let conflicts = conflicted.fold(0, |conflicts, (at, _)| conflicts | 1 << at);
        let is_due = conflicts != 0 && !applying.noted && !self.is_without(Without::ConflictsNoted);
        is_due.then_some(Request::Note { lane, seq: applying.seq, conflicts })
    }

    fn adds(&self, lane: u8, applying: &Applying) -> [Option<Request>; 2] {
        let deltas = self.summed(applying);
        std::array::from_fn(|row| {
            let unsent = deltas[row] != Default::default() && applying.added & 1 << row == 0;
            unsent.then_some(Request::Add { lane, seq: applying.seq, row: row as u8, delta: deltas[row] })
        })
    }

    fn summed(&self, applying: &Applying) -> Deltas {
        let all = matches!(self.without, Without::ConflictsLeftOut | Without::EntitiesFirst);
        self.deltas(&applying.plan, |entity| all || applying.outcomes[entity] == Some(Outcome::Applied))
    }

    /// The work after a request of its was answered; the store is as the request left it.
    pub(super) fn answered(&self, store: &Store, lane: usize, work: &Work, request: Request, held: bool) -> Next {
        match (work, request) {
            (Work::Committing(Committing { batch, .. }), _) if !held => (Work::Reading(self.round(*batch, true)), None),
            (Work::Committing(committing), Request::Advance { seq, through, plan, .. }) => {
                let (_, rest) = self.split(committing.rest);
                let then = Then::Next(Committing { seq, through, rest, ..*committing });
                let written = !self.is_without(Without::PlanBeforeCursor);
                (Work::Applying(Applying { written, ..applying(seq, plan, then) }), None)
            }
            (Work::Applying(applying), _) => {
                let mut applying = *applying;
                match request {
                    Request::Write { entity, .. } => {
                        let entity = usize::from(entity);
                        let mark = store.entities[entity].marks[lane];
                        applying.outcomes[entity] = Some(self.outcome(mark, applying.seq, held));
                    }
                    Request::Note { .. } => applying.noted = true,
                    Request::Add { row, .. } => applying.added |= 1 << row,
                    Request::WritePlan { .. } => applying.written = true,
                    Request::Finish { .. } | Request::Advance { .. } => applying.finished = true,
                }
                self.applied(lane, applying)
            }
            _ => (*work, None),
        }
    }

    /// Step 5: what the lane's mark on an entity says after the write.
    fn outcome(&self, mark: u8, seq: u8, held: bool) -> Outcome {
        match self.without {
            Without::EntityMark if !held => Outcome::Conflicted,
            Without::Overtaken if mark > seq => Outcome::Applied,
            _ if mark > seq => Outcome::Overtaken,
            _ if mark == seq => Outcome::Applied,
            _ => Outcome::Conflicted,
        }
    }

    /// A work that applies a plan, or what comes after it.
    fn applied(&self, lane: usize, applying: Applying) -> Next {
        let unwritten = self.writes(lane as u8, &applying) != [None; 2];
        let overtaken = !unwritten && applying.outcomes.contains(&Some(Outcome::Overtaken));
        if !overtaken && self.requests(lane, &Work::Applying(applying)) != [None; 2] {
            return (Work::Applying(applying), None);
        }
        let again = |batch| (Work::Reading(self.round(batch, true)), None);
        match applying.then {
            Then::Nothing => (Work::Idle, None),
            Then::Round(batch) => again(batch),
            Then::Next(next) if overtaken => again(next.batch),
            Then::Next(mut next) => {
                next.conflicted |= applying.outcomes.contains(&Some(Outcome::Conflicted));
                match next {
                    Committing { rest, .. } if rest != Plan::default() => (Work::Committing(next), None),
                    Committing { conflicted: true, batch, .. } if !self.is_without(Without::ConflictsRepeated) => {
                        again(batch)
                    }
                    _ => (Work::Idle, Some(next.batch)),
                }
            }
        }
    }
}

/// Begins to apply a plan.
pub(super) fn applying(seq: u8, plan: Plan, then: Then) -> Applying {
    Applying { seq, plan, outcomes: [None; ENTITIES], noted: false, added: 0, finished: false, written: true, then }
}
