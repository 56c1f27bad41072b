//! Step 6 of the commit protocol, explored: every interleaving of a few small plans, of invocations
//! that overlap and die, of refreshes, and of requests that land late, twice or unanswered.
//!
//! Whenever everything is at rest, the rows, the tally, the places and the least and greatest values
//! must be exact; and each piece of the protocol, taken out, must break a run.

mod machine;
mod store;

use machine::{State, Step, Work};
use store::{Delta, LOWEST, Plan, ROWS, Scenario, Store, Without};
use tidemark_tests::explore::{Model, explore};

/// What deltas are made of.
const DELTAS: [i8; 3] = [-1, 1, 2];

#[test]
fn rows_tallies_and_places_are_exact_whatever_happens() {
    let mut all = 0;
    for (name, scenarios) in [
        ("two lanes, all deltas", two_lanes()),
        ("a lane goes on beside another", a_lane_goes_on()),
        ("three lanes", three_lanes()),
        ("two rows", two_rows()),
        ("least and greatest", extremes()),
        ("a refresh", a_refresh()),
        ("two refreshes", two_refreshes()),
    ] {
        let states: usize = scenarios
            .iter()
            .map(|scenario| explore(scenario).unwrap_or_else(|found| panic!("{scenario:?}: {found}")))
            .sum();
        println!("{name}: {} scenarios, {states} states", scenarios.len());
        all += states;
    }
    println!("{all} states");
}

#[test]
fn each_piece_taken_out_breaks_a_run() {
    let started = |start, scenario: Scenario| Scenario { start: [start, (0, 0)], ..scenario };
    let cases = [
        (Without::Before, one_row(&[&[(1, 1)], &[(1, 1)]])),
        (Without::RowsFirst, one_row(&[&[(1, 1)], &[(1, 1)]])),
        (Without::AllRows, both_rows([(1, 1), (1, 1)], None)),
        (Without::RankCondition, one_row(&[&[(1, 1)], &[(-1, -1)]])),
        (Without::PresentInCondition, one_row(&[&[(1, 1)], &[(-1, 0)]])),
        (Without::RankInUnrank, started((1, 2), with_refreshes(1, 1, one_row(&[&[(1, -2)]])))),
        (Without::FloorBeforeScan, with_refreshes(1, 1, one_row(&[&[(1, 0)]]))),
        (Without::AdditionsBeforeFloor, with_refreshes(1, 1, one_row(&[&[(1, 0)]]))),
        (Without::ExtremeCondition, valued([3, 2, 1])),
        (Without::ExtremeCondition, valued([1, 2, 3])),
        (Without::FloorCondition, started((1, 0), with_refreshes(1, 2, one_row(&[&[(1, 0)]])))),
        (Without::Shown, started((1, 0), with_refreshes(1, 1, one_row(&[])))),
    ];
    for (without, scenario) in cases {
        assert!(explore(&scenario).is_ok(), "it is {without:?} that breaks the run");
        let scenario = Scenario { without, ..scenario };
        let Err(found) = explore(&scenario) else { panic!("without {without:?} nothing breaks") };
        println!("without {without:?}, {scenario:?}: {found}");
    }
}

/// Lanes of plans that add to one row: `present` and `by`.
fn one_row(lanes: &[&[(i8, i8)]]) -> Scenario {
    let plan = |(present, by): &(i8, i8)| [Some(Delta { present: *present, by: *by, value: None }), None];
    let lanes = lanes.iter().map(|plans| plans.iter().map(plan).collect()).collect();
    Scenario {
        lanes,
        overlapping: 1,
        rows: 1,
        start: [(0, 0); ROWS],
        floors: vec![1],
        refreshes: 0,
        settings: 0,
        without: Without::Nothing,
    }
}

/// A plan that adds to two rows, beside one that adds to them.
fn both_rows(one: [(i8, i8); ROWS], other: Option<[(i8, i8); ROWS]>) -> Scenario {
    let plan = |rows: [(i8, i8); ROWS]| -> Plan { rows.map(|(present, by)| Some(Delta { present, by, value: None })) };
    let lanes = [one].into_iter().chain(other).map(|rows| vec![plan(rows)]).collect();
    Scenario { lanes, rows: 2, ..one_row(&[]) }
}

/// A lane's two plans and another lane's one, each with a value.
fn valued(values: [i8; 3]) -> Scenario {
    let [first, second, other] = values.map(|value| [Some(Delta { present: 1, by: 0, value: Some(value) }), None]);
    Scenario { lanes: vec![vec![first, second], vec![other]], ..one_row(&[]) }
}

fn with_refreshes(refreshes: usize, settings: u8, scenario: Scenario) -> Scenario {
    Scenario { floors: vec![1, LOWEST], refreshes, settings, overlapping: 0, ..scenario }
}

fn pairs() -> impl Iterator<Item = (i8, i8)> {
    DELTAS.iter().flat_map(|present| DELTAS.map(|by| (*present, by)))
}

fn two_lanes() -> Vec<Scenario> {
    pairs().flat_map(|one| pairs().map(move |other| one_row(&[&[one], &[other]]))).collect()
}

fn a_lane_goes_on() -> Vec<Scenario> {
    let plans = |first: i8, second: i8| DELTAS.map(|other| one_row(&[&[(first, 1), (second, -1)], &[(other, 1)]]));
    DELTAS.iter().flat_map(|first| DELTAS.iter().flat_map(move |second| plans(*first, *second))).collect()
}

fn three_lanes() -> Vec<Scenario> {
    DELTAS.map(|step| Scenario { overlapping: 0, ..one_row(&[&[(step, 1)], &[(-1, -1)], &[(1, 2)]]) }).into()
}

fn two_rows() -> Vec<Scenario> {
    vec![both_rows([(1, 1), (-1, 1)], Some([(-1, -1), (2, 1)]))]
}

fn extremes() -> Vec<Scenario> {
    [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]].map(valued).into()
}

fn a_refresh() -> Vec<Scenario> {
    let alone = pairs().map(|one| Scenario { start: [(1, 1), (0, 0)], ..with_refreshes(1, 2, one_row(&[&[one]])) });
    let beside = DELTAS.map(|by| with_refreshes(1, 1, one_row(&[&[(1, 2)], &[(1, by - 1)]])));
    let others = [
        Scenario { overlapping: 1, ..with_refreshes(1, 2, one_row(&[&[(1, 0)]])) },
        Scenario { floors: vec![1, 2, LOWEST], ..with_refreshes(1, 2, one_row(&[&[(1, 1)]])) },
        with_refreshes(1, 2, one_row(&[&[(1, 0), (1, 1)]])),
        with_refreshes(1, 1, both_rows([(1, 0), (1, 1)], None)),
    ];
    alone.chain(beside).chain(others).collect()
}

fn two_refreshes() -> Vec<Scenario> {
    vec![with_refreshes(2, 2, one_row(&[&[(1, 0)]])), with_refreshes(2, 3, one_row(&[&[(1, 0)]]))]
}

impl Model for Scenario {
    type State = State;
    type Step = Step;

    fn begin(&self) -> State {
        self.first_state()
    }

    fn steps(&self, state: &State, each: impl FnMut(Step, State)) {
        self.every_step(state, each);
    }

    fn fault(&self, state: &State) -> Option<String> {
        fault(self, state)
    }
}

/// What must hold when everything is at rest, and does not.
fn fault(scenario: &Scenario, state: &State) -> Option<String> {
    let Store { rows, tally, cursors, floor, .. } = &state.store;
    if state.works.iter().flatten().any(|work| *work != Work::Idle) || cursors.iter().any(|cursor| cursor.pending) {
        return None;
    }
    let mut true_rows = scenario.start;
    let mut values = [const { Vec::new() }; ROWS];
    for (plans, cursor) in scenario.lanes.iter().zip(cursors) {
        for (at, delta) in plans.iter().take(usize::from(cursor.seq)).flat_map(|plan| plan.iter().enumerate()) {
            let Some(delta) = delta else { continue };
            true_rows[at].0 += delta.present;
            true_rows[at].1 += delta.by;
            values[at].extend(delta.value);
        }
    }
    let present = true_rows.iter().filter(|(present, _)| *present > 0).count();
    if usize::try_from(*tally) != Ok(present) {
        return Some(format!("the tally is {tally}, not {present}"));
    }
    let least = |values: &Vec<i8>| Some([*values.iter().min()?, *values.iter().max()?]);
    for ((row, (present, by)), values) in rows.iter().zip(true_rows).zip(&values) {
        let needed = row.present > 0 && row.by >= floor.shown;
        let wrong = match row.rank {
            _ if (row.present, row.by) != (present, by) => "numbers that are not the sum of its deltas",
            _ if row.extremes != least(values) => "a wrong least or greatest value",
            None if needed => "no place, but reaches the floor",
            Some(_) if present <= 0 => "a place, but is absent",
            Some(rank) if rank != by => "a wrong place",
            _ => continue,
        };
        return Some(format!("a row has {wrong}: {row:?}"));
    }
    if floor.shown == floor.floor {
        return None;
    }
    let refreshed = State { store: scenario.refreshed(state.store), ..state.clone() };
    if refreshed.store.floor.shown != floor.floor {
        return Some("a refresh does not show the floor".to_owned());
    }
    fault(scenario, &refreshed).map(|fault| format!("after a refresh, {fault}"))
}
