//! Activity: events of each app by day and by 15 minutes, by type and name; its distinct users and
//! sessions by day.
//!
//! A day's row counts its events by 15 minutes, too: numbers `q{start / 900,000}` of an item that is written
//! anyway, so that a month by 15 minutes is thirty items.

use std::collections::BTreeMap;

use compact_str::{CompactString, format_compact};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, ONE, Source, Tables, View};
use crate::activity::Sighted;
use crate::number::Number;
use crate::rows::{Contribution, TTL, seconds_up};
use crate::time::{QUARTER_MS, window_start};
use crate::{Decimal, Key, Measures, State};

/// The view.
pub const VIEW: View = View {
    name: "apps",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[
        Column::pk("app_id", 1),
        Column::sk("period", 0),
        Column::sk("starts", 1),
        Column::sk("event_type", 2),
        Column::sk("event_name", 3),
        Column::count("events", "events"),
        Column::count("active_users", "users"),
        Column::count("sessions", "sessions"),
    ],
    document,
};

const KIND: &str = "APP";

/// The row of an app's day.
pub fn day_row(app: &str, date: &str) -> Key {
    Key::parts(&[KIND, app], &["DAY", date])
}

/// Where the rows of an app's days are: their partition key, and sort keys that no row comes before or after.
pub fn rows_between(app: &str, first: &str, last: &str) -> (Key, Key) {
    (day_row(app, first), Key::behind(&[KIND, app], &["DAY", last]))
}

/// The windows of a day's row: when each begins, in ms since 1970, and its events.
pub fn windows(row: &Measures) -> impl Iterator<Item = (i64, Decimal)> {
    row.iter().filter_map(|(name, n)| Some((name.strip_prefix('q')?.parse::<i64>().ok()?.checked_mul(QUARTER_MS)?, n)))
}

/// The day, the type and the name that a row counts the events of; `None` for other rows.
pub fn of_name(row: &Key) -> Option<[CompactString; 3]> {
    let [period, date, kind, name]: [CompactString; 4] = row.sk_parts().try_into().ok()?;
    (period == "DAY").then_some([date, kind, name])
}

/// One app.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct App {
    app_id: CompactString,
    days: Vec<Day>,
}

/// One of its days.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Day {
    date: CompactString,
    events: Number,
    active_users: Number,
    sessions: Number,
    names: BTreeMap<CompactString, Number>,
}

fn rows(state: &State, contribution: &mut Contribution) {
    match state {
        State::Event(event) => {
            let day_expires = Some(event.window_expires(event.day.end_ms));
            let start = window_start(event.at, QUARTER_MS);
            let window_expires = Some(event.window_expires(start.saturating_add(QUARTER_MS)));
            let (app, kind, name) = (&[KIND, event.app.as_str()], event.kind.as_str(), event.name.as_str());
            let mut of_day = Measures::default();
            of_day.add("events", ONE);
            of_day.add(&format_compact!("q{}", start.div_euclid(QUARTER_MS)), ONE);
            of_day.add(TTL, Decimal::whole(seconds_up(event.window_expires(event.day.end_ms))));
            contribution.add_measures(day_row(&event.app, &event.day.date), &of_day);
            let named = Key::parts(app, &["DAY", &event.day.date, kind, name]);
            contribution.add_window(named, day_expires, [("events", ONE)]);
            let window = Key::parts(app, &["15M", itoa::Buffer::new().format(start), kind, name]);
            contribution.add_window(window, window_expires, [("events", ONE)]);
        }
        State::Seen(seen) => {
            let what = match seen.what {
                Sighted::User => "users",
                Sighted::Session => "sessions",
            };
            let day = day_row(&seen.app, &seen.date);
            contribution.add_window(day, Some(seen.expires), [(what, ONE)]);
        }
        _ => {}
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let mut apps: BTreeMap<CompactString, BTreeMap<CompactString, Day>> = BTreeMap::new();
    // What an event left when a newer telling of it moved it says nothing any more.
    for (key, row) in tables.of(KIND).filter(|(_, row)| !row.is_empty()) {
        let (pk, sk) = (key.pk_parts(), key.sk_parts());
        let (Some(app), ["DAY", date, rest @ ..]) =
            (pk.get(1), &*sk.iter().map(CompactString::as_str).collect::<Vec<_>>())
        else {
            continue;
        };
        let day = apps.entry(app.clone()).or_default().entry((*date).into()).or_insert_with(|| Day {
            date: (*date).into(),
            events: Number(Decimal::ZERO),
            active_users: Number(Decimal::ZERO),
            sessions: Number(Decimal::ZERO),
            names: BTreeMap::new(),
        });
        match rest {
            [] => {
                day.events = Number(row.get("events"));
                day.active_users = Number(row.get("users"));
                day.sessions = Number(row.get("sessions"));
            }
            [_, name] => {
                let count = day.names.entry((*name).into()).or_insert(Number(Decimal::ZERO));
                count.0 = count.0.plus(row.get("events"));
            }
            _ => {}
        }
    }
    let app = |(app_id, days): (_, BTreeMap<_, Day>)| App { app_id, days: days.into_values().collect() };
    to_raw_value(&apps.into_iter().map(app).collect::<Vec<_>>())
}
