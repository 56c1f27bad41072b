//! The machine that is explored: a store that does what requests say, works (invocations that apply
//! plans, refreshes) that send them, and every way in which a state may go on.
//!
//! A request lands and is answered in one step: one that travels for long is a work that waits long
//! before it sends, beside another on its lane. What may land once more when its work is gone or has
//! gone on stands in [`State::sent`]. How full an index is, is left out: a refresh may want any floor,
//! and a plan may raise it at any time.

use std::fmt;

use super::store::{Cursor, Delta, Floor, LANES, LOWEST, Plan, ROWS, Request, Row, Scenario, Store, Without, there};

/// Where the refreshes stand among the works, after the lanes.
const REFRESHES: usize = LANES;

/// What an invocation keeps of a row's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Seen {
    present: i8,
    by: i8,
    rank: Option<i8>,
    /// Whether the plan made the row appear (1) or vanish (-1); 0 when the tally knows.
    crossing: i8,
    /// Whether the least and the greatest value must move.
    beyond: [bool; 2],
}

type Writes = [Option<Request>; ROWS];

/// An invocation that applies a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Applying {
    seq: u8,
    /// The floor where it was read too early.
    floor: i8,
    seen: [Option<Seen>; ROWS],
    /// Whether the tally was added to already.
    told: bool,
}

/// A refresh.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Refresh {
    read: Floor,
    new: Floor,
    writes: Writes,
}

/// How far a work has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Work {
    Idle,
    /// Waits for the rows not seen yet.
    Adding(Applying),
    /// Adds this to the tally.
    Tallying(Applying, i8),
    /// Reads the floor next.
    Asking(Applying),
    /// Sets the floor.
    Setting(Refresh),
    /// Looks at this row next.
    Scanning(Refresh, u8),
    /// Sends the follow-up writes in any order, then the last request.
    Placing(Writes, Request),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) works: [[Work; 2]; LANES + 1],
    /// Follow-up writes from when they may be sent: each may land at any time, any number of times.
    /// Left out are those that can do nothing any more.
    pub(super) sent: Vec<Request>,
}

/// A step, and who takes it: which work of which lane.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Goes(usize, usize),
    Answered(usize, usize, Request),
    AnswerLost(usize, usize, Request),
    Dies(usize, usize),
    /// Late, or again.
    Lands(Request),
    PlanRaisesFloor(i8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |lane: &usize, at: &usize| match *lane {
            REFRESHES => format!("refresh {at}"),
            lane => format!("lane {lane}'s invocation {at}"),
        };
        match self {
            Self::Goes(lane, at) => write!(f, "{} begins or reads", who(lane, at)),
            Self::Answered(lane, at, request) => write!(f, "{}: {request:?}", who(lane, at)),
            Self::AnswerLost(lane, at, request) => write!(f, "{}: {request:?}, answer lost", who(lane, at)),
            Self::Dies(lane, at) => write!(f, "{} dies", who(lane, at)),
            Self::Lands(request) => write!(f, "lands late or again: {request:?}"),
            Self::PlanRaisesFloor(floor) => write!(f, "a plan raises the floor to {floor}"),
        }
    }
}

impl Scenario {
    pub(super) fn first_state(&self) -> State {
        let floor = Floor { floor: self.floors[0], shown: self.floors[0], set: 0 };
        let row = |(present, by)| {
            let rank = (present > 0 && by >= floor.floor).then_some(by);
            Row { present, by, rank, ..Row::default() }
        };
        let rows = self.start.map(row);
        let tally = rows.iter().map(|row| there(row.present)).sum();
        let store = Store { rows, tally, tally_marks: [0; LANES], cursors: [Cursor::default(); LANES], floor };
        State { store, works: [[Work::Idle; 2]; LANES + 1], sent: Vec::new() }
    }

    /// The requests that a work may send now.
    fn requests(&self, lane: usize, work: Work) -> Vec<Request> {
        match work {
            Work::Idle | Work::Asking(_) | Work::Scanning(..) => Vec::new(),
            Work::Adding(applying) => {
                let add = |row| Request::Add { lane: lane as u8, seq: applying.seq, row: row as u8 };
                self.unseen(lane, applying).map(add).collect()
            }
            Work::Tallying(applying, n) => vec![Request::Tally { lane: lane as u8, seq: applying.seq, n }],
            Work::Setting(Refresh { read, new, .. }) => vec![Request::SetFloor { read, new }],
            Work::Placing(writes, last) => {
                let writes: Vec<Request> = writes.into_iter().flatten().collect();
                if writes.is_empty() { vec![last] } else { writes }
            }
        }
    }

    fn unseen(&self, lane: usize, applying: Applying) -> impl Iterator<Item = usize> {
        let plan = *self.plan(lane, applying.seq);
        (0..ROWS).filter(move |row| plan[*row].is_some() && applying.seen[*row].is_none())
    }

    /// The work after a request of its was answered; the store is as the request left it.
    fn answered(&self, store: &Store, lane: usize, work: Work, request: Request, held: bool) -> Work {
        match (work, request) {
            (Work::Adding(mut applying), Request::Add { row: at, .. }) => {
                let at = usize::from(at);
                let (row, delta) = (&store.rows[at], self.plan(lane, applying.seq)[at].unwrap());
                if row.marks[lane] > applying.seq {
                    return Work::Idle;
                }
                let before = match self.without {
                    Without::Before => row.present - delta.present,
                    _ => row.befores[lane],
                };
                let crossing = if applying.told { 0 } else { there(before + delta.present) - there(before) };
                let beyond = |value| row.extremes.map(|[least, greatest]| [value < least, value > greatest]);
                let beyond = delta.value.and_then(beyond).unwrap_or_default();
                applying.seen[at] = Some(Seen { present: row.present, by: row.by, rank: row.rank, crossing, beyond });
                match self.unseen(lane, applying).next() {
                    Some(_) => Work::Adding(applying),
                    None if applying.told => Work::Asking(applying),
                    None => tallying(applying),
                }
            }
            (Work::Tallying(applying, _), _) => match self.unseen(lane, applying).next() {
                Some(_) => Work::Adding(applying),
                None => Work::Asking(applying),
            },
            // Another refresh, or a plan that raised it: the next refresh comes.
            (Work::Setting(_), _) if !held => Work::Idle,
            (Work::Setting(refresh), _) => match self.without {
                Without::FloorBeforeScan => settling(refresh),
                Without::Shown if refresh.new.floor < refresh.read.floor => Work::Scanning(refresh, 0),
                _ if refresh.new.shown == refresh.new.floor => Work::Idle,
                _ => Work::Scanning(refresh, 0),
            },
            (Work::Placing(mut writes, last), request) if request != last => {
                writes.iter_mut().filter(|write| **write == Some(request)).for_each(|write| *write = None);
                Work::Placing(writes, last)
            }
            _ => Work::Idle,
        }
    }

    /// What a work may become by reading; the first to come commits the lane's next plan.
    fn goes(&self, store: &mut Store, lane: usize, work: Work) -> Vec<Work> {
        match work {
            Work::Idle if lane == REFRESHES => self.floors.iter().filter_map(|to| self.refresh(store, *to)).collect(),
            Work::Idle => self.apply(store, lane).into_iter().collect(),
            Work::Adding(applying) => {
                let early = self.without == Without::AllRows && !applying.told;
                applying.seen.iter().flatten().take(1).filter(|_| early).map(|_| tallying(applying)).collect()
            }
            Work::Asking(Applying { seq, floor, seen, .. }) => {
                let early = self.without == Without::AdditionsBeforeFloor;
                let floor = if early { floor } else { store.floor.floor };
                let mut writes = Writes::default();
                for (at, seen) in seen.iter().enumerate() {
                    let (row, Some(seen)) = (at as u8, seen) else { continue };
                    let moved = (0..2).find(|which| seen.beyond[usize::from(*which)]);
                    writes[at] = match self.plan(lane, seq)[at].and_then(|delta| delta.value) {
                        Some(value) => moved.map(|which| Request::SetExtreme { row, which, value }),
                        None => place(row, *seen, floor),
                    };
                }
                vec![Work::Placing(writes, Request::Finish { lane: lane as u8, seq })]
            }
            Work::Scanning(mut refresh, row) => {
                let at = usize::from(row);
                let Row { present, by, rank, .. } = store.rows[at];
                let seen = Seen { present, by, rank, crossing: 0, beyond: [false; 2] };
                refresh.writes[at] = place(row, seen, refresh.new.floor);
                vec![match self.without {
                    _ if at + 1 < self.rows => Work::Scanning(refresh, row + 1),
                    Without::FloorBeforeScan => Work::Setting(refresh),
                    _ => settling(refresh),
                }]
            }
            _ => Vec::new(),
        }
    }

    /// Begins to apply the lane's pending plan, or its next.
    fn apply(&self, store: &mut Store, lane: usize) -> Option<Work> {
        let cursor = &mut store.cursors[lane];
        if !cursor.pending {
            if usize::from(cursor.seq) == self.lanes.get(lane)?.len() {
                return None;
            }
            *cursor = Cursor { seq: cursor.seq + 1, pending: true };
        }
        let seq = cursor.seq;
        let floor = if self.without == Without::AdditionsBeforeFloor { store.floor.floor } else { LOWEST };
        let applying = Applying { seq, floor, seen: [None; ROWS], told: false };
        if self.without != Without::RowsFirst {
            return Some(Work::Adding(applying));
        }
        let crossing = |(row, delta): (&Row, &Option<Delta>)| {
            delta.map_or(0, |delta| there(row.present + delta.present) - there(row.present))
        };
        let n = store.rows.iter().zip(self.plan(lane, seq)).map(crossing).sum();
        Some(Work::Tallying(Applying { told: true, ..applying }, n))
    }

    /// Begins a refresh that found this floor to be the right one.
    fn refresh(&self, store: &Store, to: i8) -> Option<Work> {
        let read = store.floor;
        let refresh = |new| Refresh { read, new, writes: Writes::default() };
        if to == read.floor {
            return (read.shown != read.floor).then_some(Work::Scanning(refresh(read), 0));
        }
        if read.set == self.settings {
            return None;
        }
        let shown = if self.without == Without::Shown { to } else { read.shown.max(to) };
        let refresh = refresh(Floor { floor: to, shown, set: read.set + 1 });
        let scans_first = self.without == Without::FloorBeforeScan;
        Some(if scans_first { Work::Scanning(refresh, 0) } else { Work::Setting(refresh) })
    }

    /// Whether a request that was sent could still do something if it landed again.
    fn lives(&self, store: &Store, request: Request) -> bool {
        let mut after = *store;
        if self.without != Without::Nothing || (self.land(&mut after, request) && after != *store) {
            return true;
        }
        // Marks, seqs, extremes and (`set`, `floor`) never go back: refused once, refused for ever. A
        // row's numbers may come back until all additions to it have landed.
        let Request::SetRank { row, present, by, .. } = request else { return false };
        let row = usize::from(row);
        let touches = |plan: &Plan| plan[row].is_some();
        let now = store.rows[row];
        let mut lanes = self.lanes.iter().zip(now.marks);
        (now.present, now.by) == (present, by)
            || lanes.any(|(plans, mark)| plans.iter().skip(usize::from(mark)).any(touches))
    }

    /// What a refresh comes to that finds the floor right and is left alone.
    pub(super) fn refreshed(&self, mut store: Store) -> Store {
        let mut work = self.refresh(&store, store.floor.floor).unwrap_or(Work::Idle);
        while work != Work::Idle {
            work = match self.requests(REFRESHES, work).first() {
                Some(request) => {
                    let held = self.land(&mut store, *request);
                    self.answered(&store, REFRESHES, work, *request, held)
                }
                None => self.goes(&mut store, REFRESHES, work)[0],
            };
        }
        store
    }

    /// Every way in which a state may go on.
    pub(super) fn every_step(&self, state: &State, mut each: impl FnMut(Step, State)) {
        for (lane, works) in state.works.iter().enumerate() {
            // Sorted: the idle come first.
            for (at, work) in works.iter().enumerate().skip(2 - self.allowed(lane)) {
                let with = |store: Store, work: Work| {
                    let mut next = State { store, ..state.clone() };
                    next.works[lane][at] = work;
                    next.sent.extend(self.requests(lane, work).into_iter().filter(Request::follows_up));
                    self.canonical(next)
                };
                let mut store = state.store;
                for work in self.goes(&mut store, lane, *work) {
                    each(Step::Goes(lane, at), with(store, work));
                }
                for request in self.requests(lane, *work) {
                    let mut store = state.store;
                    let held = self.land(&mut store, request);
                    let next = self.answered(&store, lane, *work, request, held);
                    each(Step::Answered(lane, at, request), with(store, next));
                    if store != state.store {
                        each(Step::AnswerLost(lane, at, request), with(store, *work));
                    }
                }
                if *work != Work::Idle {
                    each(Step::Dies(lane, at), with(state.store, Work::Idle));
                }
            }
        }
        for request in &state.sent {
            let mut store = state.store;
            if self.land(&mut store, *request) && store != state.store {
                each(Step::Lands(*request), self.canonical(State { store, ..state.clone() }));
            }
        }
        for floor in self.floors.iter().filter(|floor| **floor > state.store.floor.floor) {
            let mut next = state.clone();
            next.store.floor.floor = *floor;
            next.store.floor.shown = next.store.floor.shown.max(*floor);
            each(Step::PlanRaisesFloor(*floor), self.canonical(next));
        }
    }

    /// How many works of a lane, or refreshes, there may be at once.
    fn allowed(&self, lane: usize) -> usize {
        match lane {
            REFRESHES => self.refreshes,
            lane if lane < self.overlapping => 2,
            lane => usize::from(lane < self.lanes.len()),
        }
    }

    /// Brings states that go on alike into one form.
    fn canonical(&self, mut state: State) -> State {
        state.works.iter_mut().for_each(|works| works.sort_unstable());
        state.sent.sort_unstable();
        state.sent.dedup();
        let State { store, sent, .. } = &mut state;
        sent.retain(|request| self.lives(store, *request));
        state
    }
}

/// The place that a row must be given, if another than it has: the ledger's `new_rank`.
fn place(row: u8, seen: Seen, floor: i8) -> Option<Request> {
    let Seen { present, by, rank: old, .. } = seen;
    if present > 0 && by >= floor {
        let rank = Some(by);
        return (old != rank).then_some(Request::SetRank { row, present, by, old: None, rank });
    }
    let wrong = old.is_some_and(|old| present <= 0 || old != by);
    wrong.then_some(Request::SetRank { row, present, by, old, rank: None })
}

fn tallying(mut applying: Applying) -> Work {
    let n = applying.seen.iter().flatten().map(|seen| seen.crossing).sum();
    applying.seen.iter_mut().flatten().for_each(|seen| seen.crossing = 0);
    Work::Tallying(Applying { told: true, ..applying }, n)
}

/// A refresh that places what it saw, and then shows the floor to readers.
fn settling(Refresh { new, writes, .. }: Refresh) -> Work {
    let shown = Floor { shown: new.floor, ..new };
    Work::Placing(writes, Request::SetFloor { read: new, new: shown })
}
