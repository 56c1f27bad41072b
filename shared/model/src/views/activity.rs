//! Activity: events of each app by day and by 15 minutes, by type and name; its distinct users and
//! sessions by day.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, ONE, Source, Tables, View};
use crate::activity::Sighted;
use crate::number::Number;
use crate::rows::Contribution;
use crate::time::{MINUTE_MS, window_start};
use crate::{Decimal, Key, State};

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
const WINDOW_MS: i64 = 15 * MINUTE_MS;

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
            let start = window_start(event.at, WINDOW_MS);
            let window_expires = Some(event.window_expires(start.saturating_add(WINDOW_MS)));
            let (app, kind, name) = (&[KIND, event.app.as_str()], event.kind.as_str(), event.name.as_str());
            let day = |rest: &[&str]| Key::parts(app, &[&["DAY", event.day.date.as_str()], rest].concat());
            contribution.add_window(day(&[]), day_expires, [("events", ONE)]);
            contribution.add_window(day(&[kind, name]), day_expires, [("events", ONE)]);
            let window = Key::parts(app, &["15M", itoa::Buffer::new().format(start), kind, name]);
            contribution.add_window(window, window_expires, [("events", ONE)]);
        }
        State::Seen(seen) => {
            let what = match seen.what {
                Sighted::User => "users",
                Sighted::Session => "sessions",
            };
            let day = Key::parts(&[KIND, &seen.app], &["DAY", &seen.date]);
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
