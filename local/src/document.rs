//! The run as one JSON document, for scripts.

use aggregate::Rejected;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tidemark_model::views::{Tables, VIEWS, rejects};

use crate::play::Played;

/// The document: views, cost, timing, rejects.
#[derive(Serialize)]
pub struct Document<'a> {
    /// Every view under its name, in the order of the list of views; money as exact decimal numbers. That of
    /// rejects is left out: they are a member of their own.
    #[serde(serialize_with = "in_order")]
    pub views: Vec<(&'static str, Box<RawValue>)>,
    cost: Cost,
    timing: Timing,
    rejects: Vec<&'a Rejected>,
}

#[derive(Serialize)]
struct Cost {
    events: usize,
    rejected: usize,
    duplicates: usize,
    write_units: f64,
    read_units: f64,
    write_units_per_event: f64,
}

#[derive(Serialize)]
struct Timing {
    seconds: f64,
    events_per_second: f64,
    cpu_seconds: f64,
}

impl<'a> Document<'a> {
    /// The document of a run.
    ///
    /// # Errors
    /// If a view cannot be serialised.
    pub fn new(tables: &Tables, played: &'a Played) -> serde_json::Result<Self> {
        let seconds = played.elapsed.as_secs_f64();
        Ok(Self {
            views: VIEWS
                .iter()
                .filter(|view| view.name != rejects::VIEW.name)
                .map(|view| Ok((view.name, (view.document)(tables)?)))
                .collect::<serde_json::Result<_>>()?,
            cost: Cost {
                events: played.events,
                rejected: played.rejects.len(),
                duplicates: played.duplicates,
                write_units: played.write_units,
                read_units: played.read_units,
                write_units_per_event: played.write_units / played.events.max(1) as f64,
            },
            timing: Timing {
                seconds,
                events_per_second: played.delivered as f64 / seconds.max(f64::MIN_POSITIVE),
                cpu_seconds: played.cpu.as_secs_f64(),
            },
            rejects: played.rejects.iter().collect(),
        })
    }
}

fn in_order<S: Serializer>(views: &[(&'static str, Box<RawValue>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(views.iter().map(|(name, view)| (name, view)))
}
