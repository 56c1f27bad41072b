//! A step, told in a line: who does what.

use std::fmt;

use super::store::Request;
use super::work::{Batch, Known, Then, Work};

/// Who takes a step: a work, as it was, and its batch.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) lane: usize,
    pub(super) work: Work,
    pub(super) what: What,
    /// The batch for which success is reported.
    pub(super) reports: Option<Batch>,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Reads { given: bool, batch: Batch, entity: usize, known: Known, stale: bool },
    Looks { given: bool, batch: Batch, seq: u8, pending: bool, through: u8 },
    Sweeps { seq: u8 },
    Answered(Request, bool),
    AnsweredAndTravels(Request),
    AnswerLost(Request),
    Dies,
    DiesSending(Request),
    Lands(Request),
    GivesUp(Batch),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}", self.lane)?;
        let batch = match &self.work {
            Work::Idle => None,
            Work::Reading(reading) => Some(reading.batch),
            Work::Committing(committing) => Some(committing.batch),
            Work::Applying(applying) => match &applying.then {
                Then::Nothing => None,
                Then::Round(batch) => Some(*batch),
                Then::Next(next) => Some(next.batch),
            },
        };
        if let Some(batch) = batch {
            write!(f, ", invocation of {batch}")?;
        } else if self.work != Work::Idle {
            write!(f, ", sweeper")?;
        }
        if let Work::Applying(applying) = &self.work {
            let whose = if matches!(applying.then, Then::Next(_)) { "its" } else { "the pending" };
            write!(f, ", with {whose} plan {}", applying.seq)?;
        }
        write!(f, ": {}", self.what)?;
        match self.reports {
            Some(batch) => write!(f, "; reports success for {batch}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to - self.from {
            1 => write!(f, "record {}", self.from),
            _ => write!(f, "records {} to {}", self.from, self.to - 1),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |f: &mut fmt::Formatter<'_>, given: &bool, batch: &Batch| {
            if *given { write!(f, "an invocation is given {batch}; ") } else { Ok(()) }
        };
        match self {
            Self::Reads { given: is, batch, entity, known: Known { counter, version }, stale } => {
                given(f, is, batch)?;
                let stale = if *stale { ", which is stale" } else { "" };
                write!(f, "reads entity {entity}: counter {counter}, version {version}{stale}")
            }
            Self::Looks { given: is, batch, seq, pending, through } => {
                given(f, is, batch)?;
                let pending = if *pending { "pending" } else { "not pending" };
                write!(f, "reads the cursor: seq {seq}, {pending}, {through} offsets covered")
            }
            Self::Sweeps { seq } => write!(f, "the sweeper reads the cursor: plan {seq} is pending"),
            Self::Answered(request, true) => write!(f, "{request}"),
            Self::Answered(request, false) => write!(f, "{request}: refused"),
            Self::AnsweredAndTravels(request) => write!(f, "{request}; a copy of the request is still under way"),
            Self::AnswerLost(request) => write!(f, "{request}; the answer is lost"),
            Self::Dies => write!(f, "dies"),
            Self::DiesSending(request) => write!(f, "dies, its request is still under way ({request})"),
            Self::Lands(request) => write!(f, "a request lands late: {request}"),
            Self::GivesUp(batch) => write!(f, "the source gives up {batch} and moves on"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advance { seq, through, plan, .. } => {
                write!(f, "commits plan {seq} (")?;
                for (entity, transition) in plan.transitions.iter().enumerate() {
                    let Some(transition) = transition else { continue };
                    write!(f, "entity {entity} from counter {} to version {}, ", transition.counter, transition.after)?;
                }
                for offset in (0..8).filter(|offset| plan.points & 1 << offset != 0) {
                    write!(f, "point {offset}, ")?;
                }
                for offset in (0..8).filter(|offset| plan.aside & 1 << offset != 0) {
                    write!(f, "{offset} set aside, ")?;
                }
                write!(f, "{through} offsets covered)")
            }
            Self::WritePlan { seq, .. } => write!(f, "writes the text of plan {seq}"),
            Self::Write { seq, entity, transition, .. } => {
                let (n, after) = (transition.counter, transition.after);
                write!(f, "writes entity {entity} for plan {seq}: counter {n} to {}, version {after}", n + 1)
            }
            Self::Note { seq, conflicts, .. } => {
                write!(f, "notes of plan {seq}")?;
                (0..8).filter(|at| conflicts & 1 << at != 0).try_for_each(|at| write!(f, ", entity {at}"))?;
                write!(f, ": conflicted")
            }
            Self::Add { seq, row, delta, .. } => {
                write!(f, "adds to row {row} for plan {seq}: {:+}, {:+} points", delta.sum, delta.points)
            }
            Self::Finish { seq, .. } => write!(f, "sets the cursor to not pending for plan {seq}"),
        }
    }
}
