//! Metrics: all points in memory, each `eventId` once.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tidemark_model::time::Zone;

use super::{number, plain};
use crate::values::TAKEN_MS;

/// An app, a metric and its tags.
type Series = (String, String, BTreeMap<String, String>);

/// By app and metric: by day, its tag sets.
type Days = BTreeMap<(String, String), BTreeMap<String, BTreeSet<(String, BTreeMap<String, String>)>>>;

/// What the views must read after these points, as [`crate::documents`] gives them, but without the
/// quantiles. Points of one `eventId` say the same; days are those of UTC, and a point without a time is of the
/// first day of all.
pub fn metrics<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let mut seen = BTreeSet::new();
    let mut series: BTreeMap<Series, Vec<Decimal>> = BTreeMap::new();
    let mut days = Days::new();
    for value in values {
        let point: Value = serde_json::from_slice(value).unwrap();
        let part = |field: &str| point[field].as_str().unwrap().to_owned();
        let (app, metric) = (part("appId"), part("metricName"));
        let id = point["eventId"].as_str().map(|id| (app.clone(), metric.clone(), id.to_owned()));
        if id.is_some_and(|id| !seen.insert(id)) {
            continue;
        }
        let tags = point["tags"].as_object().into_iter().flatten();
        let tags: BTreeMap<_, _> =
            tags.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        let date = Zone::default().day(point["timestamp"].as_i64().unwrap_or(TAKEN_MS)).date.to_string();
        let of_metric = days.entry((app.clone(), metric.clone())).or_default();
        of_metric.entry(date).or_default().insert((part("metricType"), tags.clone()));
        series.entry((app, metric, tags)).or_default().push(number(&point["value"]));
    }
    let metric = |((app, metric, tags), values): (Series, Vec<Decimal>)| {
        let sum: Decimal = values.iter().sum();
        let (min, max) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
        json!({
            "appId": app, "metricName": metric, "tags": tags, "count": values.len().to_string(),
            "sum": plain(sum), "min": plain(min), "max": plain(max),
        })
    };
    let of_days = |((app, metric), days): (_, BTreeMap<String, BTreeSet<_>>)| {
        let counts: BTreeMap<String, String> =
            days.into_iter().map(|(date, sets)| (date, sets.len().to_string())).collect();
        json!({"appId": app, "metricName": metric, "days": counts})
    };
    json!({
        "metrics": series.into_iter().map(metric).collect::<Vec<_>>(),
        "series": days.into_iter().map(of_days).collect::<Vec<Value>>(),
    })
}
