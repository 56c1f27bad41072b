//! The machine that is explored: the store, the works of each lane, the source that gives them their
//! records, and every way in which a state may go on.
//!
//! A request lands and is answered in one step: one that travels for long is a work that waits long
//! before it sends, beside another on its lane. What may land when its work is gone stands in
//! [`State::sent`].

use super::scenario::{LANES, Record, Scenario, Without};
use super::store::{Request, Store};
use super::told::{Step, What};
use super::work::{Batch, Known, Next, Reading, Then, Work, applying};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) works: [[Work; 2]; LANES],
    /// Requests that may land at any time, any number of times. Left out are those that can do nothing
    /// any more.
    pub(super) sent: [Option<Request>; 2],
    /// How many records of each lane the source takes for done.
    pub(super) acked: [u8; LANES],
    /// Those of the first lane that it gave up, a bit each.
    pub(super) lost: u8,
    /// How many reads may still find an older state.
    pub(super) stale: u8,
}

impl Scenario {
    pub(super) fn first_state(&self) -> State {
        State {
            store: Store::default(),
            works: [[Work::Idle; 2]; LANES],
            sent: [None; 2],
            acked: [0; LANES],
            lost: 0,
            stale: self.stale,
        }
    }

    /// Every way in which a state may go on.
    pub(super) fn every_step(&self, state: &State, mut each: impl FnMut(Step, State)) {
        for (lane, works) in state.works.iter().enumerate().take(self.lanes.len()) {
            // Sorted: the idle come first.
            for (at, work) in works.iter().enumerate().skip(2 - self.overlapping[lane]) {
                if at == 1 && self.overlapping[lane] == 2 && works[0] == works[1] {
                    continue;
                }
                let mut take = |what, (next, reports): Next, mut after: State| {
                    after.works[lane][at] = next;
                    if let Some(batch) = reports {
                        after.acked[lane] = after.acked[lane].max(batch.to);
                    }
                    each(Step { lane, work: *work, what, reports }, self.canonical(after));
                };
                if *work == Work::Idle {
                    for batch in self.batches(state, lane) {
                        self.reads(state, lane, self.round(batch, false), true, &mut take);
                    }
                    self.sweeps(state, lane, &mut take);
                    continue;
                }
                if let Work::Reading(reading) = work {
                    self.reads(state, lane, *reading, false, &mut take);
                }
                for request in self.requests(lane, work).into_iter().flatten() {
                    self.sends(state, lane, work, request, &mut take);
                }
                take(What::Dies, (Work::Idle, None), *state);
            }
        }
        for request in state.sent.into_iter().flatten() {
            let mut after = *state;
            if self.land(&mut after.store, request) && after.store != state.store {
                let lane = match request {
                    Request::Advance { lane, .. }
                    | Request::WritePlan { lane, .. }
                    | Request::Write { lane, .. }
                    | Request::Note { lane, .. }
                    | Request::Add { lane, .. }
                    | Request::Finish { lane, .. } => usize::from(lane),
                };
                let step = Step { lane, work: Work::Idle, what: What::Lands(request), reports: None };
                each(step, self.canonical(after));
            }
        }
        self.gives_up(state, each);
    }

    /// What the source may give an invocation of a lane.
    fn batches(&self, state: &State, lane: usize) -> impl Iterator<Item = Batch> {
        let next = state.acked[lane];
        let first = if self.replay { 0 } else { next };
        let len = if self.redrivable(state, lane) { self.lanes[lane].len() as u8 } else { 0 };
        (first..=next).flat_map(move |from| (from + 1..=len).map(move |to| Batch { from, to }))
    }

    /// Whether a lane's redriven points are known as set aside.
    pub(super) fn redrivable(&self, state: &State, lane: usize) -> bool {
        self.lanes[lane].iter().all(|record| {
            let Record::Redrive { lane: of, offset, .. } = *record else { return true };
            let of = usize::from(of);
            match self.without {
                Without::RedriveUncounted => state.store.cursors[of].through > offset,
                _ => state.store.aside[of] & 1 << offset != 0,
            }
        })
    }

    /// Steps 1 to 3, one read; `given` where the invocation begins with it. What is newest comes first.
    fn reads(
        &self,
        state: &State,
        lane: usize,
        reading: Reading,
        given: bool,
        take: &mut impl FnMut(What, Next, State),
    ) {
        let batch = reading.batch;
        let early = self.is_without(Without::EntitiesBeforeCursor) && reading.cursor.is_none();
        let mut all_read = true;
        for at in self.unread(lane, &reading).take_while(|_| !early) {
            all_read = false;
            let entity = &state.store.entities[at];
            for counter in (0..=entity.counter).rev() {
                let stale = counter < entity.counter;
                let careless = reading.again && self.is_without(Without::StrongRepetition);
                if stale && !careless && (reading.again || state.stale == 0) {
                    break;
                }
                let known = Known { counter, version: entity.history[usize::from(counter)] };
                let mut reading = reading;
                reading.known[at] = Some(known);
                let mut after = *state;
                after.stale -= u8::from(stale && !reading.again);
                let what = What::Reads { given, batch, entity: at, known, stale };
                for next in self.folded(lane, reading) {
                    take(what, next, after);
                }
            }
        }
        if all_read {
            let cursor = &state.store.cursors[lane];
            let what = What::Looks { given, batch, seq: cursor.seq, pending: cursor.pending, through: cursor.through };
            for next in self.looked(lane, reading, cursor) {
                take(what, next, *state);
            }
        }
    }

    fn sweeps(&self, state: &State, lane: usize, take: &mut impl FnMut(What, Next, State)) {
        let cursor = &state.store.cursors[lane];
        if self.sweeper && cursor.pending && cursor.written {
            let work = Work::Applying(applying(cursor.seq, cursor.plan, Then::Nothing));
            take(What::Sweeps { seq: cursor.seq }, (work, None), *state);
        }
    }

    /// A request of a work's, and what may become of it.
    fn sends(
        &self,
        state: &State,
        lane: usize,
        work: &Work,
        request: Request,
        take: &mut impl FnMut(What, Next, State),
    ) {
        let mut after = *state;
        let held = self.land(&mut after.store, request);
        let next = self.answered(&after.store, lane, work, request, held);
        take(What::Answered(request, held), next, after);
        if after.store != state.store {
            take(What::AnswerLost(request), (*work, None), after);
        }
        let room = state.sent.iter().flatten().count() < self.travelling;
        if !room || state.sent.contains(&Some(request)) {
            return;
        }
        after.sent[0] = Some(request);
        if self.lives(&after.store, request) {
            take(What::AnsweredAndTravels(request), next, after);
        }
        if self.lives(&state.store, request) {
            let mut after = *state;
            after.sent[0] = Some(request);
            take(What::DiesSending(request), (Work::Idle, None), after);
        }
    }

    /// The first lane's source moves on without success.
    fn gives_up(&self, state: &State, mut each: impl FnMut(Step, State)) {
        let from = state.acked[0];
        for to in (from + 1..=self.lanes[0].len() as u8).take_while(|_| self.discards) {
            let batch = Batch { from, to };
            let mut after = *state;
            after.acked[0] = to;
            after.lost |= (from..to).fold(0, |lost, offset| lost | 1 << offset);
            each(Step { lane: 0, work: Work::Idle, what: What::GivesUp(batch), reports: None }, after);
        }
    }

    /// Brings states that go on alike into one form.
    fn canonical(&self, mut state: State) -> State {
        state.works.iter_mut().for_each(|works| works.sort_unstable());
        for sent in &mut state.sent {
            *sent = sent.filter(|request| self.lives(&state.store, *request));
        }
        state.sent.sort_unstable();
        state
    }

    /// Whether every lane's records, when they come once more and nothing disturbs them, come to success.
    pub(super) fn left_alone(&self, state: &State) -> Result<(), String> {
        let mut state = *state;
        for lane in 0..self.lanes.len() {
            let to = self.lanes[lane].len() as u8;
            if !self.redrivable(&state, lane) {
                continue;
            }
            let (mut given, mut reported) = (true, false);
            for _ in 0..100 {
                let mut next = None;
                let mut take = |_: What, after: Next, state: State| next = next.or(Some((after, state)));
                match state.works[lane][1] {
                    Work::Idle if !given => break,
                    Work::Idle => {
                        given = false;
                        let reading = self.round(Batch { from: 0, to }, true);
                        self.reads(&state, lane, reading, true, &mut take);
                    }
                    Work::Reading(reading) => self.reads(&state, lane, reading, false, &mut take),
                    work => {
                        let request = self.requests(lane, &work)[0].or(self.requests(lane, &work)[1]);
                        request.iter().for_each(|request| self.sends(&state, lane, &work, *request, &mut take));
                    }
                }
                let Some(((work, reports), after)) = next else { break };
                state = after;
                state.works[lane][1] = work;
                reported |= reports.is_some();
            }
            if !reported {
                return Err(format!("left alone, lane {lane} does not come to success with all its records"));
            }
        }
        Ok(())
    }
}
