//! The quarantine, for people.

use std::fmt::Write;

use tidemark_model::Origin;

use super::{right_aligned, ruled};
use crate::quarantine::{Content, Listed, Outcome, Shown, Standing};

/// Records in the quarantine as a table, and how many stand how.
pub fn quarantine(records: &[Listed]) -> String {
    let mut table = ruled();
    table.set_header(["topic", "partition", "offset", "when", "reason", "state"]);
    for Listed { origin, when, reason, state } in records {
        table.add_row([
            origin.topic.clone(),
            origin.partition.to_string(),
            origin.offset.to_string(),
            when.clone().unwrap_or_default(),
            reason.clone(),
            standing(*state).to_owned(),
        ]);
    }
    right_aligned(&mut table, 1..3);
    let count = |state| records.iter().filter(|record| record.state == state).count();
    let states = [Standing::SetAside, Standing::Fixed, Standing::Redriven, Standing::NotCommitted];
    let counts = states.map(|state| format!("{} {}", count(state), standing(state)));
    format!("{table}\n{} records: {}.", records.len(), counts.join(", "))
}

/// Records in the quarantine, whole.
pub fn set_aside(records: &[Shown]) -> String {
    let one = |Shown { listed, key, value, fixed, .. }: &Shown| {
        let Origin { source, epoch, .. } = &listed.origin;
        let mut text = format!("{} (source {source}, epoch {epoch})\n", named(&listed.origin));
        for (name, told) in [
            ("state", Some(standing(listed.state).to_owned())),
            ("when", listed.when.clone()),
            ("reason", Some(listed.reason.clone())),
            ("key", key.clone()),
            ("value", Some(content(value))),
            ("fixed", fixed.as_ref().map(content)),
        ] {
            if let Some(told) = told {
                let _infallible = writeln!(text, "  {name:7}{told}");
            }
        }
        text
    };
    let all: String = records.iter().map(|record| one(record) + "\n").collect();
    format!("{all}{} records.", records.len())
}

/// What became of a record that was to be redriven.
pub fn redriven(outcome: &Outcome) -> String {
    format!("{} {}", named(&outcome.origin), outcome.outcome)
}

fn named(origin: &Origin) -> String {
    format!("{}-{} offset {}", origin.topic, origin.partition, origin.offset)
}

fn standing(state: Standing) -> &'static str {
    match state {
        Standing::SetAside => "set aside",
        Standing::Fixed => "fixed",
        Standing::Redriven => "redriven",
        Standing::NotCommitted => "not committed",
    }
}

fn content(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Base64(base64) => format!("no UTF-8; in base64 {base64}"),
        Content::None(why) => format!("({why})"),
    }
}
