//! Rejects: how many records of a topic have been set aside, for what, and how many of these count by now.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Source, Tables, View};
use crate::number::Number;
use crate::rows::Contribution;
use crate::set_aside::Fault;
use crate::{Decimal, Key, State};

/// The view. Its totals stay when the records that they count are forgotten.
pub const VIEW: View = View {
    name: "rejects",
    kind: KIND,
    rows,
    source: Source::Forgotten,
    board: None,
    ranking: None,
    columns: &[
        Column::pk("topic", 1),
        Column::count("records", "records"),
        Column::count("no_stream", Fault::NoStream.word()),
        Column::count("unreadable", Fault::Unreadable.word()),
        Column::count("refused", Fault::Refused.word()),
        Column::count("redriven", "redriven"),
    ],
    document,
};

const KIND: &str = "REJECTS";

/// A topic's numbers.
#[derive(Debug, Serialize)]
pub struct Rejects {
    /// Records that were set aside.
    pub records: Number,
    /// Those of them whose topic carries no known stream.
    pub no_stream: Number,
    /// Those that hold no JSON.
    pub unreadable: Number,
    /// Those that say what their stream does not take.
    pub refused: Number,
    /// Those of them that count by now.
    pub redriven: Number,
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::SetAside(set_aside) = state else { return };
    let redriven = if set_aside.redriven { ONE } else { Decimal::ZERO };
    let key = Key::of(KIND, &set_aside.topic, CURRENT);
    if let Some(fault) = set_aside.fault {
        contribution.add(key.clone(), [(fault.word(), ONE)]);
    }
    contribution.add(key, [("records", ONE), ("redriven", redriven)]);
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let topics = tables.of(KIND).filter_map(|(key, row)| {
        let number = |name| Number(row.get(name));
        let rejects = Rejects {
            records: number("records"),
            no_stream: number(Fault::NoStream.word()),
            unreadable: number(Fault::Unreadable.word()),
            refused: number(Fault::Refused.word()),
            redriven: number("redriven"),
        };
        Some((key.id(KIND, CURRENT)?, rejects))
    });
    to_raw_value(&topics.collect::<BTreeMap<_, _>>())
}
