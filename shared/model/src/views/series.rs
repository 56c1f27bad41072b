//! Series: which metrics an app has on each day, and by how many tag sets.
//!
//! A row changes only when a tag set is admitted, so that it costs next to nothing, and tells what there is to
//! ask [`super::metrics`] for.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, Source, Tables, View};
use crate::number::Number;
use crate::rows::Contribution;
use crate::{Decimal, Key, State};

/// The view.
pub const VIEW: View = View {
    name: "series",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[
        Column::pk("app_id", 1),
        Column::sk("metric_date", 1),
        Column::sk("metric_name", 2),
        Column::count("tag_sets", "sets"),
    ],
    document,
};

const KIND: &str = "SERIES";

/// A metric of an app on a day.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnDay {
    app_id: CompactString,
    metric_name: CompactString,
    days: BTreeMap<CompactString, Number>,
}

/// Where the rows of an app's days are: their partition key, and sort keys that no row comes before or after.
pub fn rows_between(app: &str, first: &str, last: &str) -> (Key, Key) {
    (Key::parts(&[KIND, app], &["DAY", first]), Key::behind(&[KIND, app], &["DAY", last]))
}

/// The date and the metric of a row; `None` for other rows.
pub fn of_metric(row: &Key) -> Option<[CompactString; 2]> {
    let [_, date, metric]: [CompactString; 3] = row.sk_parts().try_into().ok()?;
    row.is_of(KIND).then_some([date, metric])
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::TagSets(sets) = state else { return };
    // What an earlier release admitted does not say of what.
    if !sets.app.is_empty() {
        let key = Key::parts(&[KIND, &sets.app], &["DAY", &sets.date, &sets.metric]);
        contribution.add_window(key, Some(sets.expires), [("sets", Decimal::whole(sets.sets.len() as i64))]);
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let mut series: BTreeMap<(CompactString, CompactString), BTreeMap<CompactString, Number>> = BTreeMap::new();
    for (key, row) in tables.of(KIND) {
        let (Some(app), Some([date, metric])) = (key.pk_parts().pop(), of_metric(key)) else { continue };
        series.entry((app, metric)).or_default().insert(date, Number(row.get("sets")));
    }
    let of = |((app_id, metric_name), days)| OnDay { app_id, metric_name, days };
    to_raw_value(&series.into_iter().map(of).collect::<Vec<_>>())
}
