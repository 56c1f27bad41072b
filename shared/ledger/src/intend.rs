//! Step 3: what a batch comes to over what is known, as plans.

use std::sync::Arc;

use tidemark_model::metric::{Admission, Point, wanted};
use tidemark_model::{Batch, Fold, Key, Known, Map, SetAside, State, Transition, fold};

use crate::plan::{Covered, Planned};
use crate::{LaneId, LedgerError, Plan, off_thread};

/// What step 3 comes to.
pub(crate) struct Intention {
    /// The plans to commit, in their order.
    pub(crate) plans: Vec<Planned>,
    /// Whether the batch must be looked at again when they are committed.
    pub(crate) more: bool,
    /// Changes that say nothing new.
    pub(crate) duplicates: usize,
    /// Changes that contradict what was stored before them.
    pub(crate) contradictions: usize,
    /// Points that count as overflow.
    pub(crate) overflow: usize,
}

/// Step 3, off the async thread.
pub(crate) async fn intend(
    batch: Arc<Batch>,
    lane: LaneId,
    known: Arc<Map<Key, Known>>,
    through: Option<i64>,
    plan_bytes: usize,
) -> Result<Intention, LedgerError> {
    off_thread(move || plans(&batch, &lane, &known, through, plan_bytes)).await.unwrap_or(Err(LedgerError::Deadline))
}

fn plans(
    batch: &Batch,
    lane: &LaneId,
    known: &Map<Key, Known>,
    through: Option<i64>,
    plan_bytes: usize,
) -> Result<Intention, LedgerError> {
    let Fold { mut transitions, duplicates, contradictions } = fold(&batch.changes, known);
    let intention = |plans, more, overflow| Ok(Intention { plans, more, duplicates, contradictions, overflow });
    let admission = Admission::new(known, batch.max_tag_sets);
    let points = batch.points.iter().filter(|point| Some(point.offset) > through);
    let of_points = points.clone().map(|point| (&point.series, &point.day, point.day.end_ms + point.kept_ms));
    let of_states = transitions.iter().flat_map(|transition| wanted(&transition.after));
    let admitting = admission.steps(of_points.chain(of_states));
    if !admitting.is_empty() {
        return intention(Plan::split(admitting, &[], |_| Plan::default(), None, plan_bytes)?, true, 0);
    }
    // Records that change nothing still move `through` and `through_ts`, by an empty plan: else one of
    // them, coming again below a later `through`, would look like a recreated topic's.
    if transitions.is_empty() && batch.last_offset() <= through {
        return intention(Vec::new(), false, 0);
    }
    let of_states = admission.settle(&mut transitions);
    let rejects = batch.rejects.iter().filter(|reject| Some(reject.offset) > through);
    let rejects = rejects.map(|reject| Covered::Reject(reject.offset, reject.fault));
    let mut covered: Vec<Covered<'_>> = points.map(Covered::Point).chain(rejects).collect();
    covered.sort_unstable_by_key(Covered::offset);
    let of_points = admission.overflow(pointed(&covered));
    let covering = |covered: &[Covered<'_>]| Plan {
        transitions: setting_aside(batch, lane, covered),
        points: admission.rows(pointed(covered)).into_sorted(),
    };
    let plans = Plan::split(transitions, &covered, covering, batch.last_offset(), plan_bytes)?;
    intention(plans, false, of_states + of_points)
}

fn pointed<'a>(covered: &'a [Covered<'a>]) -> impl Iterator<Item = &'a Point> {
    covered.iter().filter_map(|covered| match covered {
        Covered::Point(point) => Some(*point),
        Covered::Reject(..) => None,
    })
}

/// The steps that make records set aside known as such. Nothing has touched these entities before: they come
/// to be when `through` passes their offsets, which it does once.
fn setting_aside(batch: &Batch, lane: &LaneId, covered: &[Covered<'_>]) -> Vec<Transition> {
    let lane = lane.to_string();
    let rejects = covered.iter().filter_map(|covered| match covered {
        Covered::Reject(offset, fault) => Some((*offset, *fault)),
        Covered::Point(_) => None,
    });
    let step = |(offset, fault)| Transition {
        key: SetAside::key(&lane, offset),
        counter: 0,
        version: SetAside::VERSION,
        before: None,
        after: State::SetAside(SetAside {
            topic: batch.topic.as_str().into(),
            fault: Some(fault),
            redriven: false,
            expires: batch.rejects_expire,
        }),
    };
    rejects.map(step).collect()
}
