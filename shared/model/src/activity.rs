//! Activity: what users did. Tracked events (topic `analytics.events`) and user events (topic
//! `user-events`) are one stream of two spellings: a user event's app is its service.
//!
//! An event is an entity of its own, and the item of its user's timeline. Its identity is its id; or
//! else the place in a request that may come again; or else a fingerprint of its content with its time: equal
//! content at the same millisecond is one event.
//! Of several tellings of one id the earliest counts. Besides, an event is a sighting of its user and
//! session in the app on that day.
//!
//! No key holds an id of a user, a session or an event, but its digest: keys stay when a user is erased.

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

use crate::cloud_event::{self, Envelope};
use crate::field::{id, within};
use crate::fingerprint::{Json, digest, fingerprint};
use crate::raw::{Object, Raw};
use crate::stream::{Accepted, Input, Route, Said, Stream, parse};
use crate::time::{self, DAY_MS, Day};
use crate::{Change, Key, Settings, State, Version};

pub use crate::field::ID_LIMIT;

/// The stream of tracked events.
pub const TRACKED: Stream =
    Stream { name: "activity", topics: &["analytics.events"], decode: decode_tracked, route: route_tracked };

/// The stream of user events.
pub const USER_EVENTS: Stream =
    Stream { name: "user-events", topics: &["user-events"], decode: decode_user_event, route: route_user_event };

/// Apps, types, names and ids are parts of keys: with these limits no key grows too long.
pub const APP_LIMIT: usize = 128;
/// See [`APP_LIMIT`].
pub const TYPE_LIMIT: usize = 100;
/// See [`APP_LIMIT`].
pub const NAME_LIMIT: usize = 200;
/// Keeps an item and a plan under 400 KB, where a plan may hold an event before and after.
const PROPERTIES_LIMIT: usize = 128 << 10;
/// Longer addresses and user agents are not stored.
const PERSONAL_LIMIT: usize = 1024;

/// Personal data that is kept only where configured: as fields, and as members of properties at any
/// depth.
const IP_ADDRESS: [&str; 2] = ["ip_address", "ipAddress"];
const USER_AGENT: [&str; 2] = ["user_agent", "userAgent"];

/// One event, as a timeline shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The app, or the service.
    pub app: CompactString,
    /// Who; of an erased event a digest.
    pub user: CompactString,
    /// What kind of thing.
    #[serde(rename = "type")]
    pub kind: CompactString,
    /// What.
    pub name: CompactString,
    /// When, in ms since 1970.
    pub at: i64,
    /// The day that was, in the configured zone.
    pub day: Day,
    /// When the event may be forgotten, in ms since 1970: a day after it would be late.
    pub expires: i64,
    /// In which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<CompactString>,
    /// What else the producer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Json>,
    /// The user's IP address, where it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<CompactString>,
    /// The user agent, where it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<CompactString>,
    /// Whether its user was erased: nothing else that is personal is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// The partition key of a user's events in an app.
pub fn timeline(app: &str, user: &str) -> CompactString {
    Key::parts(&["USER", app, &digest([app, user])], &[]).pk
}

impl Event {
    /// What is left of the event when its user is erased: what the rows count, and a digest.
    pub(crate) fn erased(&self) -> Self {
        Self {
            user: digest([&*self.app, &*self.user]),
            session: None,
            properties: None,
            ip_address: None,
            user_agent: None,
            erased: true,
            ..self.clone()
        }
    }

    /// When a window of this event may be forgotten.
    pub fn window_expires(&self, end_ms: i64) -> i64 {
        end_ms.saturating_add(self.expires.saturating_sub(self.at))
    }
}

/// A user or a session was seen in an app on a day: counted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where.
    pub app: CompactString,
    /// The date.
    pub date: CompactString,
    /// What was seen.
    pub what: Sighted,
    /// When that may be forgotten, in ms since 1970: with the day's row.
    pub expires: i64,
}

/// What can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sighted {
    /// A user.
    User,
    /// A session.
    Session,
}

/// An event in either spelling.
struct Heard<'a> {
    app: Option<Raw<'a>>,
    user: Option<Raw<'a>>,
    kind: CompactString,
    name: Option<CompactString>,
    timestamp: Option<Raw<'a>>,
    id: Option<Raw<'a>>,
    session: Option<Raw<'a>>,
    properties: Option<Raw<'a>>,
    ip_address: Option<Raw<'a>>,
    user_agent: Option<Raw<'a>>,
    /// What the fields are called, for people.
    fields: [&'static str; 4],
    envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tracked<'a> {
    #[serde(borrow, default)]
    specversion: Option<Raw<'a>>,
    #[serde(borrow, default)]
    app_id: Option<Raw<'a>>,
    #[serde(borrow, default)]
    user_id: Option<Raw<'a>>,
    #[serde(borrow, default)]
    event_type: Option<Raw<'a>>,
    #[serde(borrow, default)]
    event_name: Option<Raw<'a>>,
    #[serde(borrow, default)]
    properties: Option<Raw<'a>>,
    #[serde(borrow, default)]
    session_id: Option<Raw<'a>>,
    #[serde(borrow, default)]
    user_agent: Option<Raw<'a>>,
    #[serde(borrow, default)]
    ip_address: Option<Raw<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Raw<'a>>,
    #[serde(borrow, default)]
    event_id: Option<Raw<'a>>,
}

#[derive(Deserialize)]
struct UserEvent<'a> {
    #[serde(borrow, default)]
    specversion: Option<Raw<'a>>,
    #[serde(borrow, default)]
    event_type: Option<Raw<'a>>,
    #[serde(borrow, default)]
    user_id: Option<Raw<'a>>,
    #[serde(borrow, default)]
    service: Option<Raw<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Raw<'a>>,
    #[serde(borrow, default)]
    data: Option<Raw<'a>>,
    #[serde(borrow, default)]
    event_id: Option<Raw<'a>>,
}

fn decode_tracked(input: &Input<'_>, said: &mut Said) -> Result<Accepted, String> {
    decode(input, said, |value, envelope, said| {
        let Object(event) = parse::<Object<Tracked<'_>>>(value)?;
        if event.specversion.is_some() {
            return Ok(None);
        }
        let kind = kind(event.event_type.as_ref(), envelope.as_ref(), "eventType")?;
        let name = text(required("eventName", event.event_name.as_ref())?, "eventName", NAME_LIMIT)?;
        let heard = Heard {
            app: event.app_id,
            user: event.user_id,
            kind,
            name: Some(name),
            timestamp: event.timestamp,
            id: event.event_id,
            session: event.session_id,
            properties: event.properties,
            ip_address: event.ip_address,
            user_agent: event.user_agent,
            fields: ["appId", "userId", "eventId", "sessionId"],
            envelope,
        };
        accept(input, heard, said).map(Some)
    })
}

fn decode_user_event(input: &Input<'_>, said: &mut Said) -> Result<Accepted, String> {
    decode(input, said, |value, envelope, said| {
        let Object(event) = parse::<Object<UserEvent<'_>>>(value)?;
        if event.specversion.is_some() {
            return Ok(None);
        }
        let kind = kind(event.event_type.as_ref(), envelope.as_ref(), "event_type")?;
        let heard = Heard {
            app: event.service,
            user: event.user_id,
            kind: user_event_type(&kind),
            name: None,
            timestamp: event.timestamp,
            id: event.event_id,
            session: None,
            properties: event.data,
            ip_address: None,
            user_agent: None,
            fields: ["service", "user_id", "event_id", "session_id"],
            envelope,
        };
        accept(input, heard, said).map(Some)
    })
}

/// Reads a value as it is, or what a CloudEvents envelope holds; the reader says `None` to a value
/// that is such an envelope itself.
fn decode(
    input: &Input<'_>,
    said: &mut Said,
    read: impl Fn(&[u8], Option<Envelope>, &mut Said) -> Result<Option<Accepted>, String>,
) -> Result<Accepted, String> {
    let value = input.value()?;
    if let Some(accepted) = read(value, cloud_event::in_headers(input)?, said)? {
        return Ok(accepted);
    }
    let (envelope, data) = cloud_event::in_value(value)?;
    read(&data, Some(envelope), said)?.ok_or_else(|| "a CloudEvent within a CloudEvent".to_owned())
}

/// The type that both spellings of a user event name; unknown ones are kept as they are.
fn user_event_type(kind: &str) -> CompactString {
    const KNOWN: [&str; 8] =
        ["registered", "login", "logout", "profile_updated", "profile_viewed", "search", "activated", "deactivated"];
    let short = kind.strip_prefix("user.").or_else(|| kind.strip_prefix("user_")).unwrap_or(kind);
    let short = if short == "search_performed" { "search" } else { short };
    CompactString::from(if KNOWN.contains(&short) { short } else { kind })
}

fn accept(input: &Input<'_>, heard: Heard<'_>, said: &mut Said) -> Result<Accepted, String> {
    let settings = input.settings;
    let [app_field, user_field, id_field, session_field] = heard.fields;
    let app = text(required(app_field, heard.app.as_ref())?, app_field, APP_LIMIT)?;
    input.may_tell(&app)?;
    let user = text(required(user_field, heard.user.as_ref())?, user_field, ID_LIMIT)?;
    let name = heard.name.unwrap_or_else(|| heard.kind.clone());
    let session = heard.session.as_ref().filter(is_given).map(|raw| text(raw, session_field, ID_LIMIT)).transpose()?;
    let own_time = match (&heard.timestamp, &heard.envelope) {
        (Some(raw), _) if is_given(&raw) => Some(time::read("timestamp", raw)?),
        (_, Some(Envelope { time: Some(text), .. })) => Some(time::iso("time", text)?),
        _ => None,
    };
    let at = input.not_ahead("timestamp", own_time.unwrap_or_else(|| input.taken_ms()))?;
    let retention = settings.activity_retention.of(&app);
    if at < settings.now_ms.saturating_sub(retention) {
        return Ok(Accepted::Late);
    }

    if heard.properties.as_ref().is_some_and(|raw| raw.json().len() > 2 * PROPERTIES_LIMIT) {
        return Err(too_long());
    }
    let content = heard.properties.as_ref().filter(is_given).map(|raw| Json::without(raw, &[])).transpose()?;
    // What may be dropped anyway is no reason to set an event aside, and is quoted nowhere.
    let personal = |raw: &Option<Raw<'_>>| {
        let raw = raw.as_ref().filter(is_given)?;
        Some(CompactString::from(raw.text().unwrap_or_else(|| raw.json().to_owned())))
    };
    let (ip_address, user_agent) = (personal(&heard.ip_address), personal(&heard.user_agent));
    let parts = [
        Some(&app),
        Some(&user),
        Some(&heard.kind),
        Some(&name),
        session.as_ref(),
        ip_address.as_ref(),
        user_agent.as_ref(),
    ];
    let parts = parts.into_iter().map(|part| part.map_or("", CompactString::as_str));
    let fingerprint = fingerprint(parts.chain([content.as_ref().map_or("", Json::text)]));
    let has_time = own_time.is_some();
    let identity =
        identity(input, has_time, heard.id.as_ref().filter(is_given), heard.envelope.as_ref(), fingerprint, id_field)?;
    let day = settings.zone.day(at);
    let kept = retention.saturating_add(DAY_MS);
    // What has an id is that id, whatever its tellings say of the time: the earliest counts.
    let timed = matches!(identity.kind, "fp" | "rq");
    let moment = if timed { format_compact!("{at:015}") } else { CompactString::default() };
    let mut sk: Vec<&str> = if timed { vec!["EVENT", &moment] } else { vec!["ID"] };
    sk.extend([identity.kind, &*identity.id]);
    let version = Version { major: if timed { 0 } else { -at }, minor: 0, tie: fingerprint as u64 };
    let key = Key { pk: timeline(&app, &user), ..Key::parts(&[], &sk) };
    let omitted = omitted(settings);
    let holds_omitted = |content: &Json| omitted.iter().any(|name| content.text().contains(name));
    let properties = match (&heard.properties, content) {
        (Some(raw), Some(content)) if holds_omitted(&content) => Some(Json::without(raw, &omitted)?),
        (_, content) => content,
    };
    if properties.as_ref().is_some_and(|json| json.text().len() > PROPERTIES_LIMIT) {
        return Err(too_long());
    }
    let event = Event {
        ip_address: ip_address.filter(|text| settings.store_ip_address && text.len() <= PERSONAL_LIMIT),
        user_agent: user_agent.filter(|text| settings.store_user_agent && text.len() <= PERSONAL_LIMIT),
        expires: at.saturating_add(kept),
        kind: heard.kind,
        app,
        user,
        name,
        at,
        day,
        session,
        properties,
        erased: false,
    };
    // A telling of an id that loses against an earlier one is no sighting of its day.
    let told_by = (!timed).then(|| Box::new((key.clone(), version)));
    said.changes.extend(sightings(&event, told_by));
    said.changes.push(Change { key, version, state: State::Event(Box::new(event)), claimed: None, told_by: None });
    Ok(Accepted::Counted)
}

/// The members of properties that are not stored.
fn omitted(settings: &Settings) -> Vec<&'static str> {
    [(settings.store_ip_address, IP_ADDRESS), (settings.store_user_agent, USER_AGENT)]
        .into_iter()
        .filter(|(stored, _)| !stored)
        .flat_map(|(_, names)| names)
        .collect()
}

/// Its user and its session, as seen on its day.
fn sightings(event: &Event, told_by: Option<Box<(Key, Version)>>) -> impl Iterator<Item = Change> {
    let session = event.session.as_ref().map(|session| (Sighted::Session, "SESSION", session));
    [Some((Sighted::User, "USER", &event.user)), session].into_iter().flatten().map(move |(what, kind, id)| Change {
        key: Key::parts(&["SEEN", &event.app, &event.day.date, &digest([&*event.app, id])], &[kind]),
        version: Version { major: 0, minor: 0, tie: 0 },
        state: State::Seen(Seen {
            app: event.app.clone(),
            date: event.day.date.clone(),
            what,
            expires: event.window_expires(event.day.end_ms),
        }),
        claimed: None,
        told_by: told_by.clone(),
    })
}

fn too_long() -> String {
    format!("properties are longer than {PROPERTIES_LIMIT} bytes")
}

/// What tells an event from others of its user, at its time if it has one.
struct Identity {
    kind: &'static str,
    id: CompactString,
}

fn identity(
    input: &Input<'_>,
    has_time: bool,
    id: Option<&Raw<'_>>,
    envelope: Option<&Envelope>,
    fingerprint: u128,
    field: &str,
) -> Result<Identity, String> {
    if let Some(envelope) = envelope {
        return Ok(Identity { kind: "ce", id: digest([&*envelope.source, &*envelope.id]) });
    }
    if let Some(id) = id {
        return Ok(Identity { kind: "id", id: digest([&*text(id, field, usize::MAX)?]) });
    }
    match input.requested {
        Some(requested) if requested.may_come_again => {
            return Ok(Identity { kind: "id", id: digest([requested.id]) });
        }
        // Equals that say no time were sent at once: they are as many as there are.
        Some(requested) if !has_time => return Ok(Identity { kind: "rq", id: digest([requested.id]) }),
        _ => {}
    }
    if !has_time && input.record.timestamp_ms().is_none() {
        // Without any time, its place in the stream is all that a redelivery keeps.
        let (topic, partition) = (input.record.topic(), input.record.partition);
        return Ok(Identity { kind: "at", id: format_compact!("{topic}-{partition}-{}", input.record.offset) });
    }
    Ok(Identity { kind: "fp", id: format_compact!("{fingerprint:032x}") })
}

fn kind(raw: Option<&Raw<'_>>, envelope: Option<&Envelope>, field: &'static str) -> Result<CompactString, String> {
    match (raw.filter(is_given), envelope) {
        (None, Some(envelope)) => {
            within("type", &envelope.kind, TYPE_LIMIT)?;
            Ok(CompactString::from(&envelope.kind))
        }
        (raw, _) => text(required(field, raw)?, field, TYPE_LIMIT),
    }
}

fn required<'r, 'a>(field: &str, raw: Option<&'r Raw<'a>>) -> Result<&'r Raw<'a>, String> {
    raw.filter(is_given).ok_or_else(|| format!("{field} is missing"))
}

fn is_given(raw: &&Raw<'_>) -> bool {
    !matches!(raw.json(), "null" | "\"\"")
}

fn text(raw: &Raw<'_>, field: &str, limit: usize) -> Result<CompactString, String> {
    let text = match raw.text() {
        Some(text) => CompactString::from(text),
        None => id(field, raw)?,
    };
    within(field, &text, limit)?;
    Ok(text)
}

fn route_tracked(value: &[u8]) -> Route {
    let event = |value: &[u8]| {
        let Object(event) = parse::<Object<Tracked<'_>>>(value).ok()?;
        Some((event.specversion.is_some(), key_of(event.user_id), time_of(event.timestamp)))
    };
    routed("analytics.events", value, event)
}

fn route_user_event(value: &[u8]) -> Route {
    let event = |value: &[u8]| {
        let Object(event) = parse::<Object<UserEvent<'_>>>(value).ok()?;
        Some((event.specversion.is_some(), key_of(event.user_id), time_of(event.timestamp)))
    };
    routed("user-events", value, event)
}

fn key_of(user: Option<Raw<'_>>) -> Option<String> {
    id("user", &user?).ok().map(String::from)
}

fn time_of(timestamp: Option<Raw<'_>>) -> Option<i64> {
    time::read("timestamp", &timestamp?).ok()
}

/// By the event, or by the one within an envelope.
fn routed(
    topic: &'static str,
    value: &[u8],
    event: impl Fn(&[u8]) -> Option<(bool, Option<String>, Option<i64>)>,
) -> Route {
    if let Some((false, key, time_ms)) = event(value) {
        return Route { topic, key, time_ms };
    }
    let Ok((envelope, data)) = cloud_event::in_value(value) else { return Route { topic, ..Route::default() } };
    let inner = event(&data);
    let time_ms = envelope.time.and_then(|time| time::iso("time", &time).ok());
    let time_ms = inner.as_ref().and_then(|(_, _, time_ms)| *time_ms).or(time_ms);
    Route { topic, key: inner.and_then(|(_, user, _)| user), time_ms }
}
