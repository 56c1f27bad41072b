//! Activity: all events in memory, each identity once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{DAY_MS, canonical, date, months};

/// What a user event's type may be after `user.` or `user_`; any other one is kept as it is.
const KNOWN: [&str; 8] =
    ["registered", "login", "logout", "profile_updated", "profile_viewed", "search", "activated", "deactivated"];

/// An event in either spelling.
struct Heard {
    app: String,
    user: String,
    kind: String,
    name: String,
    session: Option<String>,
    at: i64,
    /// What tells it from others of its user and time.
    identity: String,
}

/// What the views must read after these tracked and user events, as [`crate::documents`] gives it.
/// Every event says when it was, and events of one id and time say the same.
pub fn activity<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let mut events = BTreeMap::new();
    let (mut users, mut sessions) = (BTreeSet::new(), BTreeSet::new());
    for value in values {
        let Heard { app, user, kind, name, session, at, identity } = heard(value);
        let date = date(at.div_euclid(DAY_MS));
        users.insert((app.clone(), date.clone(), user.clone()));
        if let Some(session) = session {
            sessions.insert((app.clone(), date.clone(), session));
        }
        events.insert((app.clone(), user, at, identity), (app, date, kind, name));
    }
    let mut apps: BTreeMap<String, BTreeMap<String, BTreeMap<String, usize>>> = BTreeMap::new();
    let mut totals: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (app, date, kind, name) in events.into_values() {
        *apps.entry(app.clone()).or_default().entry(date).or_default().entry(name).or_default() += 1;
        *totals.entry((app, kind)).or_default() += 1;
    }
    let distinct = |seen: &BTreeSet<(String, String, String)>, app: &str, date: &str| {
        seen.iter().filter(|(of, on, _)| of == app && on == date).count().to_string()
    };
    let day = |app: &str, date: &str, names: &BTreeMap<String, usize>| {
        let counts: BTreeMap<&String, String> = names.iter().map(|(name, n)| (name, n.to_string())).collect();
        json!({
            "date": date, "events": names.values().sum::<usize>().to_string(), "names": counts,
            "activeUsers": distinct(&users, app, date), "sessions": distinct(&sessions, app, date),
        })
    };
    let app = |(app, days): (&String, &BTreeMap<String, BTreeMap<String, usize>>)| {
        let days: Vec<Value> = days.iter().map(|(date, names)| day(app, date, names)).collect();
        json!({"appId": app, "days": days})
    };
    let total =
        |((app, kind), n): (&(String, String), &usize)| json!({"service": app, "type": kind, "count": n.to_string()});
    json!({
        "apps": apps.iter().map(app).collect::<Vec<_>>(),
        "eventTotals": totals.iter().map(total).collect::<Vec<_>>(),
    })
}

fn heard(value: &[u8]) -> Heard {
    let event: Value = serde_json::from_slice(value).unwrap();
    let given = |field: &str| event[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let must = |field: &str| given(field).unwrap();
    let (app, user, kind, properties) = match given("appId") {
        Some(app) => (app, must("userId"), must("eventType"), &event["properties"]),
        None => (must("service"), must("user_id"), user_event_type(&must("event_type")), &event["data"]),
    };
    let name = given("eventName").unwrap_or_else(|| kind.clone());
    let session = given("sessionId");
    let identity = given("eventId").or_else(|| given("event_id")).map(|id| format!("id {id}"));
    let identity = identity.unwrap_or_else(|| {
        let properties = canonical(properties, false);
        json!([kind, name, session, given("ipAddress"), given("userAgent"), properties]).to_string()
    });
    Heard { app, user, kind, name, session, at: ms(&event["timestamp"]), identity }
}

fn user_event_type(kind: &str) -> String {
    let short = ["user.", "user_"].iter().find_map(|prefix| kind.strip_prefix(prefix)).unwrap_or(kind);
    let short = if short == "search_performed" { "search" } else { short };
    if KNOWN.contains(&short) { short.to_owned() } else { kind.to_owned() }
}

/// A time in ms: a number of them, or ISO 8601 with `Z` and perhaps a fraction.
fn ms(time: &Value) -> i64 {
    let Some(text) = time.as_str() else { return time.as_i64().unwrap() };
    let numbers = |text: &str, between: char| -> Vec<i64> { text.split(between).map(|n| n.parse().unwrap()).collect() };
    let (date, clock) = text.strip_suffix('Z').unwrap().split_once('T').unwrap();
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let (date, clock) = (numbers(date, '-'), numbers(clock, ':'));
    let years: i64 = (1970..date[0]).flat_map(months).sum();
    let before: i64 = months(date[0]).iter().take(date[1] as usize - 1).sum();
    let seconds = clock[0] * 3_600 + clock[1] * 60 + clock[2];
    let thousandths: i64 = format!("{fraction:0<3}")[..3].parse().unwrap();
    (years + before + date[2] - 1) * DAY_MS + seconds * 1_000 + thousandths
}
