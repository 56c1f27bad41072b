//! Metrics: per series and window of one and of fifteen minutes, count, sum, min, max and the buckets
//! of a quantile sketch. Any longer window is a sum of these.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, Part, Source, Tables, View};
use crate::metric::Series;
use crate::number::Number;
use crate::parcel::Strand;
use crate::rows::{Contribution, TTL, seconds_up};
use crate::sketch::{bucket, quantile};
use crate::time::{IN_ORDER_MS, MINUTE_MS, QUARTER_MS, window_start};
use crate::{Decimal, Key, Measures, State};

/// The view.
pub const VIEW: View = View {
    name: "metrics",
    kind: KIND,
    rows,
    source: Source::Points,
    board: None,
    ranking: None,
    columns: &[
        Column::pk("app_id", 1),
        Column::pk("metric_name", 2),
        Column::pk("period", 3),
        Column::sk("starts", 1),
        Column::sk("metric_type", 2),
        Column { name: "tags", of: Part::SkPairs(3) },
        Column::count("count", "count"),
        Column::decimal("sum", "sum"),
        Column::decimal("min", "min"),
        Column::decimal("max", "max"),
    ],
    document,
};

const KIND: &str = "METRIC";
/// The windows: what their rows are called, and their width in ms.
const WINDOWS: [(&str, i64); 2] = [("1M", MINUTE_MS), ("15M", QUARTER_MS)];

/// Names and values.
type Tags = Vec<(CompactString, CompactString)>;

/// One series over everything that is kept.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    app_id: CompactString,
    metric_name: CompactString,
    #[serde(serialize_with = "as_object")]
    tags: Tags,
    count: Number,
    sum: Number,
    min: Number,
    max: Number,
    p50: Number,
    p95: Number,
    p99: Number,
}

/// What a point measures, and how long its windows are kept after they end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// When, in ms since 1970.
    pub(crate) at: i64,
    /// What.
    pub(crate) value: Decimal,
    /// In ms.
    pub(crate) kept_ms: i64,
}

/// What points of a series add to the rows of their windows.
pub(crate) fn shares(series: &Series, points: &[Measured], mut add: impl FnMut(Key, Measures)) {
    for (name, width) in WINDOWS {
        let mut windows: BTreeMap<i64, Measures> = BTreeMap::new();
        for point in points {
            let start = window_start(point.at, width);
            let measures = windows.entry(start).or_default();
            measures.add("count", Decimal::whole(1));
            measures.add("sum", point.value);
            measures.add("min", point.value);
            measures.add("max", point.value);
            measures.add(&bucket(point.value), Decimal::whole(1));
            let expires_ms = start.saturating_add(width).saturating_add(point.kept_ms);
            measures.add(TTL, Decimal::whole(seconds_up(expires_ms)));
        }
        for (start, measures) in windows {
            add(key(series, name, start), measures);
        }
    }
}

/// A key as long as any of a series: what must fit the store.
pub(crate) fn longest_key(series: &Series) -> Key {
    key(series, "15M", crate::time::LATEST_MS)
}

/// Where the rows of a metric's windows are whose start is in a range of time, in ms since 1970: their partition
/// key, and sort keys that no row comes before or after. Of windows by the minute, or else of the wider ones.
pub fn rows_between(app: &str, metric: &str, by_minute: bool, start_ms: i64, end_ms: i64) -> (Key, Key) {
    let [(minute, _), (quarter, _)] = WINDOWS;
    let pk = [KIND, app, metric, if by_minute { minute } else { quarter }];
    let place =
        |ms: i64| Key::parts(&pk, &["METRICS", &ms.clamp(*IN_ORDER_MS.start(), *IN_ORDER_MS.end()).to_string()]);
    (place(start_ms), place(end_ms))
}

/// Of what a row's window is, and when it begins, in ms since 1970; `None` for other rows.
pub fn series_of(row: &Key) -> Option<(Series, i64)> {
    let [_, app, metric, _]: [CompactString; 4] = row.pk_parts().try_into().ok()?;
    let mut parts = row.sk_parts().into_iter().skip(1);
    let (start, kind) = (parts.next()?.parse().ok()?, parts.next()?);
    let mut tags = Vec::new();
    while let Some(name) = parts.next() {
        tags.push((name, parts.next()?));
    }
    Some((Series { app, metric, kind, tags }, start))
}

fn key(series: &Series, window: &str, start: i64) -> Key {
    let start = start.to_string();
    let mut sk = vec!["METRICS", &start, &series.kind];
    sk.extend(series.tags.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
    Key::parts(&[KIND, &series.app, &series.metric, window], &sk)
}

fn rows(state: &State, contribution: &mut Contribution) {
    match state {
        State::Sample(sample) => {
            let kept_ms = sample.expires.saturating_sub(sample.at);
            let measured = Measured { at: sample.at, value: sample.value, kept_ms };
            shares(&sample.series, &[measured], |key, measures| contribution.add_measures(key, &measures));
        }
        State::Parcel(parcel) => {
            for Strand { series, kept_ms, points, .. } in &parcel.strands {
                let measured = |&(at, value): &(i64, Decimal)| Measured { at, value, kept_ms: *kept_ms };
                let points: Vec<Measured> = points.iter().map(measured).collect();
                shares(series, &points, |key, measures| contribution.add_measures(key, &measures));
            }
        }
        _ => {}
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let mut series: BTreeMap<(CompactString, CompactString, Tags), Measures> = BTreeMap::new();
    for (key, measures) in tables.of(KIND).filter(|(key, _)| key.pk.ends_with("#15M")) {
        let Some((Series { app, metric, tags, .. }, _)) = series_of(key) else { continue };
        let sum = series.entry((app, metric, tags)).or_default();
        measures.iter().for_each(|(name, n)| sum.add(name, n));
    }
    let metric = |((app_id, metric_name, tags), row): ((CompactString, CompactString, Tags), Measures)| {
        let number = |name| Number(row.get(name));
        let at = |q| Number(quantile(&row, q).unwrap_or_default());
        let (count, sum, min, max) = (number("count"), number("sum"), number("min"), number("max"));
        Metric { app_id, metric_name, tags, count, sum, min, max, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    };
    to_raw_value(&series.into_iter().map(metric).collect::<Vec<_>>())
}

fn as_object<S: Serializer>(tags: &[(CompactString, CompactString)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(tags.len()))?;
    for (name, value) in tags {
        object.serialize_entry(name, value)?;
    }
    object.end()
}
