//! Event totals: how many events of each type every service has had, of all time.

use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, ONE, Source, Tables, View};
use crate::number::Number;
use crate::rows::Contribution;
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "eventTotals",
    kind: KIND,
    rows,
    source: Source::Forgotten,
    board: None,
    ranking: None,
    columns: &[Column::sk("service", 1), Column::sk("type", 2), Column::count("count", "events")],
    document,
};

const KIND: &str = "EVENTS";

/// Where the rows of an app are, or of all apps: their partition key, and sort keys that no row comes before or after.
pub fn rows_of(app: Option<&str>) -> (Key, Key) {
    let sk = [&["SERVICE"][..], app.as_slice()].concat();
    (Key::parts(&[KIND], &[&*sk, &[""][..]].concat()), Key::behind(&[KIND], &sk))
}

/// The app and the type that a row counts the events of; `None` for other rows.
pub fn of_type(row: &Key) -> Option<[CompactString; 2]> {
    let [_, app, kind]: [CompactString; 3] = row.sk_parts().try_into().ok()?;
    row.is_of(KIND).then_some([app, kind])
}

/// One type of a service.
#[derive(Debug, Serialize)]
struct EventTotal {
    service: CompactString,
    r#type: CompactString,
    count: Number,
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Event(event) = state else { return };
    contribution.add(Key::parts(&[KIND], &["SERVICE", &event.app, &event.kind]), [("events", ONE)]);
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let totals = tables.of(KIND).filter(|(_, row)| !row.is_empty()).filter_map(|(key, row)| {
        let [service, r#type] = of_type(key)?;
        Some(EventTotal { service, r#type, count: Number(row.get("events")) })
    });
    let mut totals: Vec<_> = totals.collect();
    totals.sort_by_key(|total| std::cmp::Reverse(total.count.0));
    to_raw_value(&totals)
}
