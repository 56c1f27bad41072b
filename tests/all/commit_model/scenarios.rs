//! The scenarios: each small enough for every run of it.

use super::scenario::Record::{Aside, Point, Redrive, State};
use super::scenario::{Record, Scenario, Without};

fn told(entity: u8, version: u8) -> Record {
    State { entity, version }
}

/// Lanes of records; two invocations of the first may overlap.
fn lanes(lanes: &[&[Record]]) -> Scenario {
    Scenario {
        lanes: lanes.iter().map(|records| records.to_vec()).collect(),
        overlapping: [2, 1, 1],
        rows: 2,
        split: false,
        stale: 0,
        travelling: 0,
        discards: false,
        sweeper: false,
        replay: false,
        plans: 12,
        without: Without::Nothing,
    }
}

/// The scenarios, each named.
pub(super) fn all(large: bool) -> Vec<(&'static str, Scenario)> {
    let one = |scenario: Scenario| Scenario { overlapping: [1, 1, 1], ..scenario };
    let late = |scenario: Scenario| Scenario { travelling: 1, ..scenario };
    let stale = |scenario: Scenario| Scenario { stale: 1, ..scenario };
    let replayed = |scenario: Scenario| Scenario { replay: true, sweeper: true, ..scenario };
    let split = |scenario: Scenario| Scenario { split: true, ..scenario };
    let given_up = |scenario: Scenario| Scenario { discards: true, sweeper: true, ..scenario };

    let states = || lanes(&[&[told(0, 1), told(0, 2)]]);
    let two_entities = || lanes(&[&[told(0, 1), told(1, 1)]]);
    let out_of_order = || lanes(&[&[told(0, 2)], &[told(0, 1)]]);
    let three_versions = || lanes(&[&[told(0, 2)], &[told(0, 1), told(0, 3)]]);
    let crossed = || lanes(&[&[told(0, 1), told(1, 2)], &[told(1, 1), told(0, 2)]]);
    let three_lanes = || one(lanes(&[&[told(0, 1)], &[told(0, 2)], &[told(0, 3)]]));
    let points = || lanes(&[&[Point, told(0, 1), Point]]);
    let points_beside = || lanes(&[&[Point, told(0, 1), Point], &[told(0, 2)]]);
    let key = |offset| Redrive { key: 1, lane: 0, offset };

    let mut scenarios = vec![
        ("states, replayed", Scenario { travelling: 2, ..replayed(stale(states())) }),
        ("two entities, late requests", late(stale(two_entities()))),
        ("two lanes out of order, late requests", late(out_of_order())),
        ("two lanes out of order, stale reads", stale(out_of_order())),
        ("two lanes out of order, replayed", late(stale(replayed(one(out_of_order()))))),
        ("two lanes, three versions", stale(one(three_versions()))),
        ("two lanes, two entities each", one(crossed())),
        ("three lanes on one entity", three_lanes()),
        ("points beside states, replayed", late(replayed(points()))),
        ("a split batch, replayed", split(replayed(points()))),
        ("a split batch, late requests", late(split(points()))),
        ("a split batch beside another lane", split(one(points_beside()))),
        ("a batch given up", given_up(points())),
        ("a lane of many writers", given_up(two_entities())),
        ("a request on two lanes", late(lanes(&[&[told(0, 1)], &[told(0, 1)]]))),
        ("a redrive of what was set aside or given up", given_up(lanes(&[&[Aside, Point], &[key(0)]]))),
        ("a redrive beside a split batch", split(lanes(&[&[Point, Aside], &[key(1)]]))),
        ("a redrive, twice, of what was set aside", given_up(one(lanes(&[&[Point, Aside], &[key(1)], &[key(1)]])))),
    ];
    if large {
        scenarios.extend([
            ("three records of two entities", stale(lanes(&[&[told(0, 1), told(1, 1), told(0, 2)]]))),
            ("two lanes that both overlap", Scenario { overlapping: [2, 2, 1], ..out_of_order() }),
            ("two lanes, three versions, overlapping", three_versions()),
            ("two lanes, two entities each, stale reads", stale(one(crossed()))),
            ("three lanes on one entity, late requests", late(three_lanes())),
            ("a split batch, replayed, late requests", late(split(replayed(points())))),
            ("a split batch beside another lane, overlapping", split(points_beside())),
            ("a batch given up, late requests", late(given_up(points()))),
            ("two lanes of many writers", given_up(lanes(&[&[told(0, 1), told(1, 1)], &[told(0, 1)]]))),
            ("a redrive, twice, overlapping", given_up(lanes(&[&[Point, Aside], &[key(1)], &[key(1)]]))),
        ]);
    }
    scenarios
}

/// Each piece that is taken out, and a scenario that holds with it.
pub(super) fn broken() -> Vec<(Without, Scenario)> {
    let own = || lanes(&[&[told(0, 1), told(0, 2)]]);
    let two = || lanes(&[&[told(0, 1)], &[told(0, 2)]]);
    let points = || lanes(&[&[Point, Point]]);
    let split = || Scenario { split: true, ..points() };
    let key = Redrive { key: 1, lane: 0, offset: 0 };
    let later = Redrive { key: 1, lane: 0, offset: 1 };
    vec![
        (Without::RowMark, own()),
        (Without::MarkOfEachLane, two()),
        (Without::Counter, two()),
        (Without::EntityMark, own()),
        (Without::EntitiesFirst, two()),
        (Without::CompareAndSet, own()),
        (Without::CompareAndSet, points()),
        (Without::Redo, own()),
        (Without::ConflictsLeftOut, two()),
        (Without::Overtaken, lanes(&[&[told(0, 2)], &[told(0, 1)]])),
        (Without::EntitiesBeforeCursor, lanes(&[&[told(0, 2)], &[told(0, 1)]])),
        (Without::OwnThroughNotFurther, split()),
        (Without::OwnThroughAtAll, split()),
        (Without::AboveThrough, points()),
        (Without::Version, lanes(&[&[told(0, 2)], &[told(0, 1)]])),
        (Without::StrongRepetition, Scenario { plans: 6, ..two() }),
        (Without::RowsBeforeFinish, own()),
        (Without::FinishCondition, own()),
        (Without::ConflictsRepeated, two()),
        (Without::PlanBeforeCursor, own()),
        (Without::KeyedPoint, lanes(&[&[Aside], &[key], &[key]])),
        (Without::AsideWithThrough, Scenario { split: true, ..lanes(&[&[Point, Aside], &[later]]) }),
        (Without::ConflictsNoted, two()),
        (Without::NotedBeforeFinish, two()),
        (Without::RedriveUncounted, lanes(&[&[Aside], &[key]])),
    ]
}
