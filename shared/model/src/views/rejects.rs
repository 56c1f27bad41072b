//! Rejects: how many records of a topic have been set aside, and how many of these count by now.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Source, Tables, View};
use crate::number::Number;
use crate::rows::Contribution;
use crate::{Decimal, Key, State};

/// The view. Its totals stay when the records that they count are forgotten.
pub const VIEW: View = View {
    name: "rejects",
    kind: KIND,
    rows,
    source: Source::Forgotten,
    board: None,
    ranking: None,
    columns: &[Column::pk("topic", 1), Column::count("records", "records"), Column::count("redriven", "redriven")],
    document,
};

const KIND: &str = "REJECTS";

/// A topic's numbers.
#[derive(Debug, Serialize)]
pub struct Rejects {
    /// Records that were set aside.
    pub records: Number,
    /// Those of them that count by now.
    pub redriven: Number,
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::SetAside(set_aside) = state else { return };
    let redriven = if set_aside.redriven { ONE } else { Decimal::ZERO };
    contribution.add(Key::of(KIND, &set_aside.topic, CURRENT), [("records", ONE), ("redriven", redriven)]);
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let topics = tables.of(KIND).filter_map(|(key, row)| {
        let number = |name| Number(row.get(name));
        Some((key.id(KIND, CURRENT)?, Rejects { records: number("records"), redriven: number("redriven") }))
    });
    to_raw_value(&topics.collect::<BTreeMap<_, _>>())
}
