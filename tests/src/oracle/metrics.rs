//! Metrics: all points in memory, each `eventId` once.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{number, plain};

/// An app, a metric and its tags.
type Series = (String, String, BTreeMap<String, String>);

/// What the view must read after these points, as [`crate::documents`] gives it, but without the
/// quantiles. Points of one `eventId` say the same.
pub fn metrics<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let mut seen = BTreeSet::new();
    let mut series: BTreeMap<Series, Vec<Decimal>> = BTreeMap::new();
    for value in values {
        let point: Value = serde_json::from_slice(value).unwrap();
        let part = |field: &str| point[field].as_str().unwrap().to_owned();
        let (app, metric) = (part("appId"), part("metricName"));
        let id = point["eventId"].as_str().map(|id| (app.clone(), metric.clone(), id.to_owned()));
        if id.is_some_and(|id| !seen.insert(id)) {
            continue;
        }
        let tags = point["tags"].as_object().into_iter().flatten();
        let tags = tags.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
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
    json!({"metrics": series.into_iter().map(metric).collect::<Vec<_>>()})
}
