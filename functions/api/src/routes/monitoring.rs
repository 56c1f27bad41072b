//! `/metrics`: how the deployment does, for Prometheus.
//!
//! Every number comes from the tables, strongly consistent. So it is the same from every instance of the function,
//! and goes on after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join;
use http::{StatusCode, header};
use prometheus::proto::MetricFamily;
use tidemark_ledger::dynamo::Span;
use tidemark_ledger::{Call, Cursor, LaneStats, Store};
use tidemark_model::set_aside::Fault;
use tidemark_model::views::{CURRENT, event_totals, rejects};
use tidemark_model::{Key, Measures};

use super::{Route, route};
use crate::exposition::{CONTENT_TYPE, Observed, counter, gauge, histogram, text};
use crate::{Api, Now, Operator, Params, Problem};

/// Types of services that are read at most.
const MOST_READ: usize = 10_000;
/// Types of services that are shown at most: those of the most events.
const MOST_SHOWN: usize = 1_000;
/// Bytes of a label's value that comes from data: a type or service of a longer name is not shown.
const LONGEST_LABEL: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(metrics)]
}

/// How the deployment does, in Prometheus's text format.
///
/// For callers with the scope `admin` that are bound to all apps.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Prometheus's text format, version 0.0.4.",
        body = String, content_type = "text/plain"))
)]
async fn metrics(
    State(api): State<Arc<Api>>,
    _caller: Operator,
    mut params: Params,
    Now(call): Now,
) -> Result<Response, Problem> {
    params.finish()?;
    let (ledger, store) = (&api.ledger, api.ledger.store());
    let span = event_totals_span();
    let reads = try_join(ledger.send(|| store.lane_stats(), call), ledger.send(|| store.newest_span(&span), call));
    let (lanes, totals) = reads.await?;
    let (lanes, (totals, more)) = (lanes.value, totals.value);
    let rejects = rejects_of(&api, &lanes, call).await?;
    let mut families = events(totals, more.is_some());
    families.push(errors(&rejects));
    families.extend(partitions(&lanes));
    families.extend(plans(&lanes));
    let text = text(families).map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; see the logs")
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

fn event_totals_span() -> Span {
    Span::of(event_totals::VIEW.kind, ("SERVICE#".to_owned(), format!("SERVICE#{}", char::MAX)), MOST_READ)
}

/// The rejects of every topic that a lane is of.
async fn rejects_of(api: &Api, lanes: &[(Cursor, LaneStats)], call: Call) -> Result<Vec<(Key, Measures)>, Problem> {
    let topics: BTreeSet<&str> = lanes.iter().filter_map(|(cursor, _)| Some(cursor.place()?.1)).collect();
    let keys: Vec<Key> = topics.iter().map(|topic| Key::of(rejects::VIEW.kind, topic, CURRENT)).collect();
    Ok(api.ledger.send(|| api.ledger.store().newest_rows(keys.clone()), call).await?.value)
}

fn events(rows: Vec<(Key, Measures)>, more: bool) -> Vec<MetricFamily> {
    let total = |(key, row): (Key, Measures)| {
        let [_, service, kind] = <[_; 3]>::try_from(key.sk_parts()).ok()?;
        Some((row.get("events").to_f64(), service, kind)).filter(|(events, ..)| *events > 0.0)
    };
    let mut totals: Vec<_> = rows.into_iter().filter_map(total).collect();
    let (all, stored): (usize, f64) = (totals.len(), totals.iter().map(|(events, ..)| events).sum());
    totals.retain(|(_, service, kind)| service.len().max(kind.len()) <= LONGEST_LABEL);
    totals.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| (&one.1, &one.2).cmp(&(&other.1, &other.2))));
    totals.truncate(MOST_SHOWN);
    let hidden = all.saturating_sub(totals.len());
    let processed = totals
        .into_iter()
        .map(|(events, service, kind)| ([("type", kind.into_string()), ("service", service.into_string())], events));
    // A sum of the first types alone could fall when another comes between them.
    let stored = (!more).then_some(([], stored));
    vec![
        counter("events_processed_total", "Events counted, each once, by type and by service (the app).", processed),
        counter("events_stored_total", "Events counted, each once, of all types and services.", stored),
        gauge(
            "events_hidden_series",
            "Pairs of type and service that are left out of events_processed_total: beyond the first 1,000 by events, \
             or of longer names than 200 bytes.",
            [([], hidden as f64)],
        ),
    ]
}

fn errors(rejects: &[(Key, Measures)]) -> MetricFamily {
    let samples = |(key, row): &(Key, Measures)| {
        let topic = key.id(rejects::VIEW.kind, CURRENT)?.into_string();
        let of_reason = move |(reason, n): (&str, f64)| ([("type", topic.clone()), ("reason", reason.to_owned())], n);
        let known = Fault::ALL.map(|fault| (fault.word(), row.get(fault.word()).to_f64()));
        // What an earlier release has set aside.
        let rest = row.get("records").to_f64() - known.iter().map(|(_, n)| n).sum::<f64>();
        let rest = Some(("unknown", rest)).filter(|(_, n)| *n > 0.0);
        Some(known.into_iter().chain(rest).map(of_reason))
    };
    let help = "Records that could not be counted, by topic: of topics without a stream, without JSON, or refused by \
                their stream. Each lies in the quarantine with its reason.";
    counter("processing_errors_total", help, rejects.iter().filter_map(samples).flatten())
}

/// What the lanes know of Kafka's partitions, each in its newest epoch.
fn partitions(lanes: &[(Cursor, LaneStats)]) -> Vec<MetricFamily> {
    let mut newest: BTreeMap<(&str, &str, i32), (u32, &Cursor)> = BTreeMap::new();
    for (cursor, _) in lanes.iter().filter(|(cursor, _)| cursor.through.is_some()) {
        let Some((source, topic, partition, epoch)) = cursor.place() else { continue };
        let known = newest.entry((source, topic, partition)).or_insert((epoch, cursor));
        if epoch > known.0 {
            *known = (epoch, cursor);
        }
    }
    let of_each = |number: fn(&Cursor) -> Option<f64>| {
        newest.iter().filter_map(move |((source, topic, partition), (_, cursor))| {
            let (source, topic, partition) = ((*source).to_owned(), (*topic).to_owned(), partition.to_string());
            Some(([("source", source), ("topic", topic), ("partition", partition)], number(cursor)?))
        })
    };
    vec![
        gauge(
            "kafka_consumer_lag",
            "Seconds from the newest record's Kafka timestamp to the commit of the plan that counted it.",
            of_each(|cursor| Some(seconds(cursor.since_ms.saturating_sub(cursor.through_ts?).max(0)))),
        ),
        gauge(
            "kafka_consumer_offset",
            "The last offset that is counted.",
            of_each(|cursor| cursor.through.map(|offset| offset as f64)),
        ),
        gauge(
            "kafka_consumer_newest_record_timestamp_seconds",
            "The newest Kafka timestamp of what is counted.",
            of_each(|cursor| cursor.through_ts.map(seconds)),
        ),
        gauge(
            "kafka_consumer_last_commit_timestamp_seconds",
            "When a plan was last committed.",
            of_each(|cursor| Some(seconds(cursor.since_ms))),
        ),
    ]
}

/// What plans have cost, by topic: those of the API are under `ingest`, redriven records under `quarantine`.
fn plans(lanes: &[(Cursor, LaneStats)]) -> Vec<MetricFamily> {
    let (mut topics, mut pending): (BTreeMap<&str, LaneStats>, BTreeMap<&str, u32>) = Default::default();
    for (cursor, stats) in lanes {
        let Some((_, topic, ..)) = cursor.place() else { continue };
        *topics.entry(topic).or_default() += stats;
        *pending.entry(topic).or_default() += u32::from(cursor.pending);
    }
    let of = |topic: &&str| [("topic", (*topic).to_owned())];
    let of_each = |number: fn(&LaneStats) -> f64| topics.iter().map(move |(topic, stats)| (of(topic), number(stats)));
    let took = |stats: &LaneStats| {
        let bounds = LaneStats::BOUNDS_MS.into_iter().map(|ms| ms as f64 / 1_000.0);
        let classes = bounds.zip(stats.took).collect();
        Observed { classes, count: stats.took.iter().sum(), sum: stats.seconds.to_f64() }
    };
    vec![
        histogram(
            "event_processing_duration_seconds",
            "How long plans took, from the start of their commit until all of their events were counted.",
            topics.iter().map(|(topic, stats)| (of(topic), took(stats))),
        ),
        counter("commit_plans_total", "Plans applied.", of_each(|stats| stats.plans as f64)),
        counter(
            "commit_conflicts_total",
            "Changes of entities that another lane forestalled and that were planned again.",
            of_each(|stats| stats.conflicts as f64),
        ),
        gauge(
            "commit_pending_plans",
            "Plans that are being applied, or wait to be finished by whoever comes next.",
            pending.iter().map(|(topic, pending)| (of(topic), f64::from(*pending))),
        ),
        counter(
            "consumed_write_units_total",
            "DynamoDB write units that plans consumed.",
            of_each(|stats| stats.write_units.to_f64()),
        ),
        counter(
            "consumed_read_units_total",
            "DynamoDB read units that plans consumed.",
            of_each(|stats| stats.read_units.to_f64()),
        ),
    ]
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
