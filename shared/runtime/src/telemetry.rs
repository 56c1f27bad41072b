//! Logs as JSON lines, metrics in CloudWatch's embedded metric format (EMF).
//!
//! EMF is a log line that CloudWatch turns into metrics: no request, no agent.
//! Source: CloudWatch user guide, "Embedded metric format specification".

use serde_json::{Map, Value, json};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging, once, from a level on. `RUST_LOG` overrides it, by levels and `target=level` pairs; these are no
/// patterns of spans and fields, whose parser would be half a megabyte of each function.
pub fn start_logging<W>(writer: W, level: &str)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let said = std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    let filter: Targets = said.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer);
    let _already_started = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

/// A metric's unit, in CloudWatch's words.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A duration.
    Milliseconds,
    /// A size.
    Bytes,
}

/// One metric: name, unit, value.
pub type Metric = (&'static str, Unit, f64);

/// An EMF line: metrics of one function, with properties that are searchable but no metrics.
pub fn emf(namespace: &str, function: &str, timestamp_ms: i64, metrics: &[Metric], properties: Value) -> String {
    let defined: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| {
            let unit = match unit {
                Unit::Count => "Count",
                Unit::Milliseconds => "Milliseconds",
                Unit::Bytes => "Bytes",
            };
            json!({"Name": name, "Unit": unit})
        })
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": timestamp_ms,
            "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [["function"]], "Metrics": defined}],
        }),
    );
    line.insert("function".to_owned(), function.into());
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))));
    if let Value::Object(properties) = properties {
        line.extend(properties);
    }
    Value::Object(line).to_string()
}

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emf_line_defines_every_metric_it_carries() {
        let line = emf("Tidemark", "aggregate", 7, &[("Records", Unit::Count, 3.0)], json!({"requestId": "r"}));
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                    "Namespace": "Tidemark", "Dimensions": [["function"]],
                    "Metrics": [{"Name": "Records", "Unit": "Count"}],
                }]},
                "function": "aggregate", "Records": 3.0, "requestId": "r",
            })
        );
    }
}
