//! Plans: what one batch of one lane will do, written before it is done.
//!
//! Persisted as JSON under zstd, so that a later release reads an earlier one's pending plan.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemark_model::fold::effects;
use tidemark_model::metric::Point;
use tidemark_model::set_aside::Fault;
use tidemark_model::{Key, Measures, Rows, State, Transition};

use crate::LedgerError;

/// An item holds 400 KB (409,600 bytes, DynamoDB's limit) with its keys and other attributes.
pub const MAX_PLAN_BYTES: usize = 400_000;

/// A plan's JSON, before compression: bounds memory, and what [`Plan::decode`] must take.
const MAX_PLAN_TEXT: usize = 16 << 20;
/// An update expression takes 300 operators and 4 KB (DynamoDB's limits).
const MAX_MEASURES: usize = 150;
/// Fast, and within a few percent of the best on plans.
const ZSTD_LEVEL: i32 = 3;

/// The intention of one commit. Immutable once written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The entities' steps.
    pub transitions: Vec<Transition>,
    /// What records without identity add to the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<(Key, Measures)>,
}

/// A plan with its persisted form, and the last offset whose points it covers, if it does.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Arc<Plan>,
    pub(crate) body: Vec<u8>,
    pub(crate) through: Option<i64>,
}

/// What happens once because `through` passes an offset once; in the order of the offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Covered<'a> {
    /// A metric's point is counted.
    Point(&'a Point),
    /// The record at an offset is set aside.
    Reject(i64, Fault),
}

impl Covered<'_> {
    pub(crate) fn offset(&self) -> i64 {
        match self {
            Self::Point(point) => point.offset,
            Self::Reject(offset, _) => *offset,
        }
    }
}

impl Plan {
    /// Splits a batch's work into plans of so many bytes at most, in the order in which they must be
    /// committed: those with what `through` guards come last and each cover their offsets, the last one all
    /// of the batch's. There is always at least one, be it empty. `covering` says what covered offsets come to:
    /// it stands in the plan that moves `through` over them, and in no other.
    ///
    /// # Errors
    /// If one transition alone does not fit, which the limits at decoding rule out.
    pub(crate) fn split(
        transitions: Vec<Transition>,
        covered: &[Covered<'_>],
        covering: impl Fn(&[Covered<'_>]) -> Self,
        last_offset: Option<i64>,
        most_bytes: usize,
    ) -> Result<Vec<Planned>, LedgerError> {
        let mut plans = Vec::new();
        let mut waiting = vec![(transitions, covered, last_offset)];
        while let Some((mut transitions, covered, through)) = waiting.pop() {
            let free = transitions.len();
            let Self { transitions: bound, points } = covering(covered);
            transitions.extend(bound);
            let mut plan = Self { transitions, points };
            match plan.fitting(most_bytes) {
                Ok(body) => plans.push(Planned { plan: Arc::new(plan), body, through }),
                Err(LedgerError::PlanTooLarge { .. }) if free > 1 => {
                    plan.transitions.truncate(free);
                    let later = plan.transitions.split_off(free / 2);
                    waiting.push((later, covered, through));
                    waiting.push((plan.transitions, &[], None));
                }
                Err(LedgerError::PlanTooLarge { .. }) if free == 1 && !covered.is_empty() => {
                    plan.transitions.truncate(free);
                    waiting.push((Vec::new(), covered, through));
                    waiting.push((plan.transitions, &[], None));
                }
                Err(LedgerError::PlanTooLarge { .. }) if covered.len() > 1 => {
                    let (first, later) = covered.split_at(covered.len() / 2);
                    waiting.push((Vec::new(), later, through));
                    waiting.push((Vec::new(), first, first.last().map(Covered::offset)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(plans)
    }

    /// The persisted form, if every row's delta fits one request, too.
    fn fitting(&self, most_bytes: usize) -> Result<Vec<u8>, LedgerError> {
        // Of entities, only a metric's samples and parcels can bring many names into one row.
        let is_measured = |step: &&Transition| matches!(step.after, State::Sample(_) | State::Parcel(_));
        match self.deltas(self.transitions.iter().filter(is_measured)).iter().map(|(_, delta)| delta.len()).max() {
            Some(measures) if measures > MAX_MEASURES => Err(LedgerError::PlanTooLarge { bytes: measures }),
            _ => self.encode(most_bytes),
        }
    }

    /// The deltas to the rows when only some of the transitions apply.
    pub(crate) fn deltas<'a>(&self, applied: impl Iterator<Item = &'a Transition>) -> Vec<(Key, Measures)> {
        let mut rows: Rows = self.points.iter().cloned().collect();
        rows.merge(effects(applied));
        rows.into_sorted()
    }

    /// Leaves out transitions by their places, ascending.
    pub(crate) fn leave_out(&mut self, places: &[usize]) {
        let mut place = 0..;
        self.transitions.retain(|_| place.next().is_none_or(|place| places.binary_search(&place).is_err()));
    }

    /// The persisted form.
    fn encode(&self, most_bytes: usize) -> Result<Vec<u8>, LedgerError> {
        let json = serde_json::to_vec(self).map_err(|e| LedgerError::Plan(e.into()))?;
        if json.len() > MAX_PLAN_TEXT {
            return Err(LedgerError::PlanTooLarge { bytes: json.len() });
        }
        let body = zstd::bulk::compress(&json, ZSTD_LEVEL).map_err(LedgerError::Plan)?;
        if body.len() > most_bytes {
            return Err(LedgerError::PlanTooLarge { bytes: body.len() });
        }
        Ok(body)
    }

    /// Reads the persisted form.
    ///
    /// # Errors
    /// If the bytes are not a plan.
    pub fn decode(body: &[u8]) -> Result<Self, LedgerError> {
        let json = zstd::bulk::decompress(body, MAX_PLAN_TEXT).map_err(LedgerError::Plan)?;
        serde_json::from_slice(&json).map_err(|e| LedgerError::Plan(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_model::product::{Product, Status};
    use tidemark_model::{Decimal, Version};

    /// What may change a product without an effect on rows.
    fn transition(id: i64, name: &str) -> Transition {
        let status = Status::Deleted { expires: None };
        Transition {
            key: Key::of("PRODUCT", &id.to_string(), "STATE"),
            counter: 0,
            version: Version { major: 1, minor: 0, tie: 0 },
            before: None,
            after: State::Product(Product { id, seller: "s".into(), name: name.into(), status }),
        }
    }

    /// Records that each bring so many numbers of their own into one row.
    fn rows(of_each: usize) -> impl Fn(&[Covered<'_>]) -> Plan {
        move |covered| {
            let names = covered.iter().flat_map(|one| (0..of_each).map(move |n| format!("{} {n}", one.offset())));
            let mut rows = Rows::default();
            names.for_each(|name| rows.add(Key::of("ROW", "1", "X"), &[(&name, Decimal::whole(1))]));
            Plan { transitions: vec![], points: rows.into_sorted() }
        }
    }

    fn rejects(offsets: std::ops::Range<i64>) -> Vec<Covered<'static>> {
        offsets.map(|offset| Covered::Reject(offset, Fault::Refused)).collect()
    }

    /// Of each plan its transitions, the numbers of its points' row, and how far it covers.
    fn outline(plans: &[Planned]) -> Vec<(usize, usize, Option<i64>)> {
        let numbers = |plan: &Plan| plan.points.iter().map(|(_, row)| row.len()).sum();
        plans.iter().map(|planned| (planned.plan.transitions.len(), numbers(&planned.plan), planned.through)).collect()
    }

    #[test]
    fn a_row_takes_as_many_numbers_as_a_request_and_no_more() {
        let outline_of =
            |offsets| outline(&Plan::split(vec![], &rejects(offsets), rows(1), Some(9_999), MAX_PLAN_BYTES).unwrap());
        assert_eq!(outline_of(0..150), [(0, 150, Some(9_999))]);
        assert_eq!(outline_of(1_000..1_151), [(0, 75, Some(1_074)), (0, 76, Some(9_999))]);
    }

    #[test]
    fn plans_with_points_come_last_and_each_covers_its_own_offsets() {
        let transitions = |n| (0..n).map(|id| transition(id, "")).collect::<Vec<_>>();
        let points = [(0, 60, Some(10)), (0, 120, Some(12)), (0, 120, Some(14)), (0, 120, Some(20))];
        for n in [1, 3] {
            let plans = Plan::split(transitions(n), &rejects(10..17), rows(60), Some(20), MAX_PLAN_BYTES).unwrap();
            let (first, last) = plans.split_at(n as usize);
            assert_eq!(outline(first), vec![(1, 0, None); n as usize]);
            assert_eq!(outline(last), points);
        }
    }

    /// In an earlier one it would be noted before `through` has passed it: a later decoder could still count it.
    #[test]
    fn what_is_set_aside_stands_in_the_plan_that_covers_it() {
        let offsets = |plan: &Plan| plan.transitions.iter().map(|step| step.counter as i64).collect::<Vec<_>>();
        let covering = |covered: &[Covered<'_>]| {
            let noise =
                |offset: i64| (0..40).map(|n| format!("{:x}", (offset * 7_919 + n) * 104_729)).collect::<String>();
            let step = |offset: i64| Transition { counter: offset as u64, ..transition(offset, &noise(offset)) };
            Plan { transitions: covered.iter().map(|one| step(one.offset())).collect(), points: vec![] }
        };
        let bytes = |offset| covering(&rejects(offset..offset + 1)).encode(MAX_PLAN_BYTES).unwrap().len();
        let most_bytes = (10..14).map(bytes).max().unwrap();
        let free = vec![Transition { counter: 99, ..transition(99, "") }];
        let plans = Plan::split(free, &rejects(10..14), covering, Some(20), most_bytes).unwrap();
        let outline: Vec<_> = plans.iter().map(|planned| (offsets(&planned.plan), planned.through)).collect();
        assert_eq!(
            outline,
            [(vec![99], None), (vec![10], Some(10)), (vec![11], Some(11)), (vec![12], Some(12)), (vec![13], Some(20))]
        );
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let too_large = |outcome: Result<Vec<Planned>, LedgerError>| {
            assert!(matches!(outcome, Err(LedgerError::PlanTooLarge { .. })), "{outcome:?}");
        };
        too_large(Plan::split(vec![], &rejects(0..1), rows(151), None, MAX_PLAN_BYTES));
        let one = |covered: &[Covered<'_>], most_bytes| {
            Plan::split(vec![transition(1, "")], covered, rows(0), None, most_bytes)
        };
        let bytes = one(&[], MAX_PLAN_BYTES).unwrap()[0].body.len();
        assert!(one(&[], bytes).is_ok(), "to the last byte");
        too_large(one(&[], bytes - 1));
        too_large(one(&rejects(0..1), bytes - 1));
    }

    #[test]
    fn a_plan_that_is_as_long_as_it_may_be_is_read_back() {
        let plan = |letters: usize| Plan { transitions: vec![transition(1, &"a".repeat(letters))], points: vec![] };
        let rest = serde_json::to_vec(&plan(0)).unwrap().len();
        let longest = plan(MAX_PLAN_TEXT - rest);
        assert_eq!(Plan::decode(&longest.encode(MAX_PLAN_BYTES).unwrap()).unwrap(), longest);
        let longer = plan(MAX_PLAN_TEXT - rest + 1).encode(MAX_PLAN_BYTES);
        assert!(matches!(longer, Err(LedgerError::PlanTooLarge { bytes }) if bytes == MAX_PLAN_TEXT + 1), "{longer:?}");
    }
}
