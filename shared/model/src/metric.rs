//! Metrics: points of series. Topic `analytics.metrics`.
//!
//! A point has no identity and is counted by its offset, unless it comes with an `eventId`: then it
//! is an entity, counted once. Or it comes in a request: then that counts once, with all of them ([`Parcel`]).
//! A series is an app, a metric, its type and a set of tags.
//!
//! How many tag sets a metric may have on a day is limited: the first ones are admitted, by an entity
//! that only grows, before any point of theirs is counted; what is not admitted counts under one
//! series of its own. So a metric that is tagged by request id costs one row, not a million.

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::activity::APP_LIMIT;
use crate::field::{ID_LIMIT, VALUE_LIMIT, id, within};
use crate::parcel::{Parcel, Strand};
use crate::raw::{Object, Raw};
use crate::rows::{Map, Rows};
use crate::stream::{Accepted, Input, Route, Said, Stream, parse};
use crate::time::{self, DAY_MS, Day};
use crate::views::metrics::{self, Measured};
use crate::{Change, Decimal, Key, Known, State, Transition, Version};

/// The stream of metrics.
pub const STREAM: Stream = Stream { name: "metrics", topics: &["analytics.metrics"], decode, route };

/// Bytes of a metric's name at most.
pub const NAME_LIMIT: usize = 200;
/// Bytes of a metric's type at most.
pub const TYPE_LIMIT: usize = 32;
/// Tags of one point at most.
const TAGS_LIMIT: usize = 64;
/// The tag of the series under which points of tag sets beyond the limit are counted.
pub const OVERFLOW: &str = "(overflow)";

/// What a point belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// The app.
    pub app: CompactString,
    /// The metric's name.
    pub metric: CompactString,
    /// Its type, as the producer says.
    #[serde(rename = "type")]
    pub kind: CompactString,
    /// Its tags, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(CompactString, CompactString)>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its record's offset.
    pub offset: i64,
    /// Of what.
    pub series: Series,
    /// When, in ms since 1970.
    pub at: i64,
    /// The day that was, in the configured zone.
    pub day: Day,
    /// What was measured.
    pub value: Decimal,
    /// How long its windows are kept after they end, in ms.
    pub kept_ms: i64,
}

/// A point that has an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Of what it is counted: of its own series, or of the overflow.
    pub series: Series,
    /// When, in ms since 1970.
    pub at: i64,
    /// The day that was.
    pub day: Day,
    /// What was measured.
    pub value: Decimal,
    /// When the sample may be forgotten, in ms since 1970: a day after it would be late.
    pub expires: i64,
}

/// The tag sets that a metric was admitted on a day. Only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagSets {
    /// The app; empty in states of releases that did not say it.
    #[serde(default, skip_serializing_if = "CompactString::is_empty")]
    pub app: CompactString,
    /// The metric, likewise.
    #[serde(default, skip_serializing_if = "CompactString::is_empty")]
    pub metric: CompactString,
    /// The date, likewise.
    #[serde(default, skip_serializing_if = "CompactString::is_empty")]
    pub date: CompactString,
    /// Hashes of the sets, ascending. Should two sets share one, both are admitted.
    pub sets: Vec<u32>,
    /// When that may be forgotten, in ms since 1970.
    pub expires: i64,
}

impl Series {
    /// The series that counts what is not admitted.
    fn overflow(&self) -> Self {
        Self { tags: vec![(OVERFLOW.into(), "true".into())], ..self.clone() }
    }

    fn hash(&self) -> u32 {
        let mut text = String::new();
        for part in self.tags.iter().flat_map(|(name, value)| [name, value]).chain([&self.kind]) {
            text.push_str(&format!("{}:{part}", part.len()));
        }
        xxh3_64(text.as_bytes()) as u32
    }
}

impl Point {
    /// The entity of a point that its lane has not counted, by the lane's id and its record's offset.
    pub fn key(lane: &str, offset: i64) -> Key {
        Key::parts(&["SAMPLE", lane], &["OFFSET", &format!("{offset:020}")])
    }

    /// The point with an identity. Where several of one differ, the first that arrives counts: a least or a
    /// greatest value cannot be taken back.
    pub fn identified(self, key: Key) -> Change {
        let Self { series, at, day, value, kept_ms, .. } = self;
        let sample = Sample { series, at, day, value, expires: at.saturating_add(kept_ms) };
        let version = Version { major: 0, minor: 0, tie: 0 };
        Change { key, version, state: State::Sample(Box::new(sample)), claimed: None, told_by: None }
    }
}

impl TagSets {
    /// The entity that admits a series on a day.
    pub fn key(series: &Series, day: &Day) -> Key {
        Key::parts(&["TAGSETS", &series.app, &series.metric], &[&day.date])
    }

    /// The entities that decide about a state.
    pub fn keys_of(state: &State) -> impl Iterator<Item = Key> {
        wanted(state).map(|(series, day, _)| Self::key(series, day))
    }
}

/// The series that a state wants to count for, each with its day and when the last of its windows may be forgotten,
/// in ms since 1970.
pub fn wanted(state: &State) -> impl Iterator<Item = (&Series, &Day, i64)> {
    // The same as a point's, so that it is one time for all of a day.
    let ends = |sample: &Sample| sample.day.end_ms.saturating_add(sample.expires.saturating_sub(sample.at));
    let (sample, strands) = match state {
        State::Sample(sample) => (Some((&sample.series, &sample.day, ends(sample))), &[][..]),
        State::Parcel(parcel) => (None, &*parcel.strands),
        _ => (None, &[][..]),
    };
    sample.into_iter().chain(strands.iter().map(|s| (&s.series, &s.day, s.day.end_ms + s.kept_ms)))
}

/// Who is admitted, as far as is known.
pub struct Admission<'a> {
    known: &'a Map<Key, Known>,
    most: usize,
}

impl<'a> Admission<'a> {
    /// By what is known, up to a number of tag sets of a metric and day.
    pub fn new(known: &'a Map<Key, Known>, most: usize) -> Self {
        Self { known, most }
    }

    /// The steps that admit what may still be admitted. They must have been taken before anything of
    /// these series is counted.
    pub fn steps<'b>(&self, wanted: impl IntoIterator<Item = (&'b Series, &'b Day, i64)>) -> Vec<Transition> {
        let mut missing: Map<Key, TagSets> = Map::default();
        for (series, day, expires) in wanted {
            let key = TagSets::key(series, day);
            let hash = series.hash();
            if self.sets(&key).binary_search(&hash).is_err() {
                let (app, metric) = (series.app.clone(), series.metric.clone());
                let none = || TagSets { app, metric, date: day.date.clone(), sets: Vec::new(), expires };
                let entry = missing.entry(key).or_insert_with(none);
                entry.sets.push(hash);
                entry.expires = entry.expires.max(expires);
            }
        }
        let mut steps: Vec<Transition> =
            missing.into_iter().filter_map(|(key, missing)| self.step(key, missing)).collect();
        steps.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        steps
    }

    fn step(&self, key: Key, mut missing: TagSets) -> Option<Transition> {
        missing.sets.sort_unstable();
        missing.sets.dedup();
        let before = self.known.get(&key);
        let mut sets = self.sets(&key).to_vec();
        let stored = before.and_then(|known| known.state.expires());
        missing.sets.truncate(self.most.saturating_sub(sets.len()));
        if missing.sets.is_empty() {
            return None;
        }
        sets.append(&mut missing.sets);
        sets.sort_unstable();
        let expires = stored.map_or(missing.expires, |stored| stored.max(missing.expires));
        Some(Transition {
            key,
            counter: before.map_or(0, |known| known.counter),
            version: Version { major: sets.len() as i64, minor: 0, tie: 0 },
            before: before.map(|known| known.state.clone()),
            after: State::TagSets(TagSets { sets, expires, ..missing }),
        })
    }

    /// Whether a series counts for itself.
    fn admits(&self, series: &Series, day: &Day) -> bool {
        self.sets(&TagSets::key(series, day)).binary_search(&series.hash()).is_ok()
    }

    /// What points add to the rows.
    pub fn rows<'b>(&self, points: impl IntoIterator<Item = &'b Point>) -> Rows {
        let mut series: Map<(&Series, &Day), Vec<Measured>> = Map::default();
        for Point { series: of, day, at, value, kept_ms, .. } in points {
            let measured = Measured { at: *at, value: *value, kept_ms: *kept_ms };
            series.entry((of, day)).or_default().push(measured);
        }
        let mut rows = Rows::default();
        for ((series, day), points) in series {
            let counted = if self.admits(series, day) { series } else { &series.overflow() };
            metrics::shares(counted, &points, |key, measures| rows.add_measures(key, &measures));
        }
        rows
    }

    /// How many points count as overflow.
    pub fn overflow<'b>(&self, points: impl IntoIterator<Item = &'b Point>) -> usize {
        let mut counts: Map<(&Series, &Day), usize> = Map::default();
        for point in points {
            *counts.entry((&point.series, &point.day)).or_default() += 1;
        }
        counts.into_iter().filter(|((series, day), _)| !self.admits(series, day)).map(|(_, count)| count).sum()
    }

    /// Settles for what new samples and parcels count; how many points count as overflow.
    pub fn settle(&self, transitions: &mut [Transition]) -> usize {
        let states = transitions.iter_mut().map(|transition| &mut transition.after);
        let of_state = |state: &mut State| match state {
            State::Sample(sample) => self.settle_series(&mut sample.series, &sample.day, 1),
            State::Parcel(Parcel { strands, .. }) => strands
                .iter_mut()
                .map(|Strand { series, day, points, .. }| self.settle_series(series, day, points.len()))
                .sum(),
            _ => 0,
        };
        states.map(of_state).sum()
    }

    fn settle_series(&self, series: &mut Series, day: &Day, points: usize) -> usize {
        if self.admits(series, day) {
            return 0;
        }
        *series = series.overflow();
        points
    }

    fn sets(&self, key: &Key) -> &'a [u32] {
        match self.known.get(key).map(|known| &known.state) {
            Some(State::TagSets(sets)) => &sets.sets,
            _ => &[],
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    #[serde(borrow, default)]
    app_id: Option<Raw<'a>>,
    #[serde(borrow, default)]
    metric_name: Option<Raw<'a>>,
    #[serde(borrow, default)]
    metric_type: Option<Raw<'a>>,
    #[serde(borrow, default)]
    value: Option<Raw<'a>>,
    #[serde(borrow, default)]
    tags: Option<Raw<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Raw<'a>>,
    #[serde(borrow, default)]
    event_id: Option<Raw<'a>>,
}

fn decode(input: &Input<'_>, said: &mut Said) -> Result<Accepted, String> {
    let settings = input.settings;
    let Object(metric) = parse::<Object<Metric<'_>>>(input.value()?)?;
    let series = Series {
        app: part("appId", metric.app_id, APP_LIMIT)?,
        metric: part("metricName", metric.metric_name, NAME_LIMIT)?,
        kind: part("metricType", metric.metric_type, TYPE_LIMIT)?,
        tags: tags(metric.tags)?,
    };
    input.may_tell(&series.app)?;
    let value = value(&metric.value.ok_or("value is missing")?)?;
    let own_time = metric.timestamp.filter(|raw| raw.json() != "null");
    let own_time = own_time.map(|raw| time::read("timestamp", &raw)).transpose()?;
    let at = input.not_ahead("timestamp", own_time.unwrap_or_else(|| input.taken_ms()))?;
    let retention = settings.metrics_retention.of(&series.app);
    if at < settings.now_ms.saturating_sub(retention) {
        return Ok(Accepted::Late);
    }
    if metrics::longest_key(&series).sk.len() > Key::SK_BYTES {
        return Err("tags are longer than a key takes, 1024 bytes with the type".to_owned());
    }
    let day = settings.zone.day(at);
    let kept_ms = retention.saturating_add(DAY_MS);
    let point = Point { offset: input.record.offset, series, at, day, value, kept_ms };
    let Some(event_id) = metric.event_id.filter(|raw| !matches!(raw.json(), "null" | "\"\"")) else {
        said.points.push(point);
        return Ok(Accepted::Counted);
    };
    let event_id = id("eventId", &event_id)?;
    let key = Key::parts(&["SAMPLE", &point.series.app, &point.series.metric], &["ID", &event_id]);
    if key.sk.len() > Key::SK_BYTES {
        return Err("eventId is longer than a key takes".to_owned());
    }
    said.changes.push(point.identified(key));
    Ok(Accepted::Counted)
}

fn part(field: &str, raw: Option<Raw<'_>>, limit: usize) -> Result<CompactString, String> {
    let raw = raw.filter(|raw| !matches!(raw.json(), "null" | "\"\""));
    let part = id(field, &raw.ok_or_else(|| format!("{field} is missing"))?)?;
    within(field, &part, limit)?;
    Ok(part)
}

/// A measurement is no money: what is finer than 10^-12 is rounded.
///
/// # Errors
/// The reason why it cannot be counted.
pub fn value(raw: &Raw<'_>) -> Result<Decimal, String> {
    let value = Decimal::nearest(raw.json()).map_err(|e| format!("value {:.64} {e}", raw.json()))?;
    if value >= VALUE_LIMIT || value <= -VALUE_LIMIT {
        return Err(format!("value {value} is not between -{VALUE_LIMIT} and {VALUE_LIMIT}"));
    }
    Ok(value)
}

fn tags(raw: Option<Raw<'_>>) -> Result<Vec<(CompactString, CompactString)>, String> {
    let Some(raw) = raw.filter(|raw| raw.json() != "null") else { return Ok(Vec::new()) };
    let mut tags = Vec::new();
    for tag in sonic_rs::to_object_iter(raw.json()) {
        let (name, value) = tag.map_err(|_| format!("tags {:.64} are not an object", raw.json()))?;
        let value: Raw<'_> = sonic_rs::from_str(value.as_raw_str()).map_err(|e| crate::stream::first_line(&e))?;
        let text = match value.json() {
            "true" | "false" | "null" => CompactString::from(value.json()),
            json if json.starts_with(['{', '[']) => return Err(format!("tag `{name:.64}` is not a text")),
            json if json.starts_with('"') => id("tag", &value)?,
            _ => decimal_tag(&value)?,
        };
        within("tag", &name, ID_LIMIT)?;
        tags.push((CompactString::from(&*name), text));
        if tags.len() > TAGS_LIMIT {
            return Err(format!("there are more than {TAGS_LIMIT} tags"));
        }
    }
    // The last one counts, as usual where a member comes twice.
    tags.reverse();
    tags.sort_by(|a, b| a.0.cmp(&b.0));
    tags.dedup_by(|a, b| a.0 == b.0);
    Ok(tags)
}

fn decimal_tag(value: &Raw<'_>) -> Result<CompactString, String> {
    let number: Decimal = value.json().parse().map_err(|e| format!("tag {:.64} {e}", value.json()))?;
    Ok(format_compact!("{number}"))
}

fn route(value: &[u8]) -> Route {
    let topic = "analytics.metrics";
    let Ok(Object(metric)) = parse::<Object<Metric<'_>>>(value) else { return Route { topic, ..Route::default() } };
    let time_ms = metric.timestamp.and_then(|raw| time::read("timestamp", &raw).ok());
    let key = metric.app_id.and_then(|raw| id("appId", &raw).ok());
    Route { topic, key: key.map(String::from), time_ms }
}
