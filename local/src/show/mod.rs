//! The run for people: tables, costs, and how to go on.

mod audit;
mod keys;
mod quarantine;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use archive::Daily;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidemark_archive::manifest::{Holds, Manifest};
use tidemark_ledger::Erased;
use tidemark_model::Decimal;

use crate::document::Document;
use crate::play::Played;
use crate::restore::Restored;
use crate::serve::Served;
use crate::stack::{BUCKET, Stack};

pub use audit::{audit, rebuilt};
pub use keys::{issued, keys, revoked};
pub use quarantine::{quarantine, redriven, set_aside};

/// Rows of a table that are shown.
const SHOWN: usize = 10;

/// A field's name and its text.
type Field = (String, String, bool);

/// The views as tables.
pub fn views(document: &Document<'_>) -> String {
    let mut text = String::new();
    for (name, view) in &document.views {
        // A view is a list, or an object with some totals and lists.
        match fields(view) {
            None => text.push_str(&table(name, view)),
            Some(fields) => {
                let totals: Vec<String> = fields
                    .iter()
                    .filter(|(_, value)| !value.get().starts_with('['))
                    .map(|(field, value)| format!("{field} {}", value.get()))
                    .collect();
                let title = format!("{name}: {}", totals.join(", "));
                if !fields.values().any(|value| value.get().starts_with('[')) {
                    text.push_str(&format!("\n{title}\n"));
                }
                for (_, list) in fields.iter().filter(|(_, value)| value.get().starts_with('[')) {
                    text.push_str(&table(&title, list));
                }
            }
        }
    }
    text
}

/// What the run cost.
pub fn cost(played: &Played) -> String {
    let events = played.events.max(1) as f64;
    let mut text = format!(
        "{} events in {:.2} s ({:.0} deliveries a second), {} invocations\n\
         {:.3} write units and {:.3} read units per event ({:.0} and {:.0} in all)\n\
         {} deliveries changed nothing new (duplicates and older versions), {} conflicts between lanes\n",
        played.events,
        played.elapsed.as_secs_f64(),
        played.delivered as f64 / played.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        played.invocations,
        played.write_units / events,
        played.read_units / events,
        played.write_units,
        played.read_units,
        played.duplicates,
        played.conflicts,
    );
    if !played.rejects.is_empty() {
        let _infallible = writeln!(text, "{} records set aside under quarantine/ in S3:", played.rejects.len());
    }
    for reject in played.rejects.iter().take(SHOWN) {
        let _infallible =
            writeln!(text, "  {}-{} offset {}: {}", reject.topic, reject.partition, reject.offset, reject.reason);
    }
    text
}

/// Where a snapshot lies, and what it holds.
pub fn snapshot(daily: &Daily, stack: &Stack) -> String {
    let manifest = match daily {
        Daily::Done(manifest) => manifest,
        Daily::Continues { run, .. } | Daily::Busy { run, .. } => return format!("Snapshot {run} is not finished\n"),
    };
    let where_it_lies = match &stack.folder {
        Some(folder) => folder.display().to_string(),
        None => format!("bucket {BUCKET} at {}, gone with it; --store FOLDER keeps the files", stack.s3_url),
    };
    let snapshot = manifest.files.iter().find(|file| file.holds == Holds::Snapshot);
    format!(
        "Snapshot of {}: {} rows and {} entities in {} files, {:.1} kB, for {:.0} read units, in\n  {where_it_lies}\n  \
         {}\n  manifests/{}.json lists them all\n",
        manifest.date,
        manifest.rows,
        manifest.entities,
        manifest.files.len(),
        manifest.bytes() as f64 / 1_000.0,
        manifest.units.read,
        snapshot.map_or("", |file| file.key.as_str()),
        manifest.run,
    )
}

/// What was restored, and how to go on.
pub fn restored(manifest: &Manifest, restored: &Restored) -> String {
    let Restored { rows, entities, lanes, plans } = restored;
    let lacking = match manifest.unreadable {
        0 => String::new(),
        lost => format!("NOT IN IT: {lost} rows that could not be read when it was made; audit the tables.\n"),
    };
    format!(
        "{lacking}Restored {rows} rows and {entities} entities of run {}, carried on by {plans} plans to the cut of \
         {lanes} lanes.\nDeliver from there, or from the start: what is in them changes nothing. Retention settings \
         and API keys are no part of an archive.",
        manifest.run,
    )
}

/// What an erasure did, or would do.
pub fn erased(erased: &Erased, dry_run: bool) -> String {
    let Erased { found, erased, left, looks } = erased;
    match (dry_run, left) {
        (true, _) => format!("{found} events or orders name the person; nothing was changed."),
        (_, 0) => format!("Erased from {erased} events or orders; none names the person any more (looks {looks})."),
        _ => format!("NOT FINISHED: erased from {erased} events or orders, but {left} still came (looks {looks})."),
    }
}

/// How to go on while the stack is served.
pub fn serving(stack: &Stack, served: &Served) -> String {
    let (dynamodb, s3, Served { url, key }) = (&stack.dynamodb_url, &stack.s3_url, served);
    format!(
        "\nAPI      {url}\nDynamoDB {dynamodb}\nS3       {s3}\n\n\
         Ask it, with this key of everything:\n  \
         curl -H 'X-Api-Key: {key}' '{url}/analytics/sellers?limit=3'\n\nIn two other terminals:\n  \
         cargo lambda watch --env-file events/local.env \\\n    \
         --env-var AWS_ENDPOINT_URL_DYNAMODB={dynamodb} --env-var AWS_ENDPOINT_URL_S3={s3}\n  \
         cargo lambda invoke aggregate --data-file events/products.json\n  \
         cargo lambda invoke api --data-file events/api-sellers.json\n\nCtrl-C stops.\n"
    )
}

/// How to go on after the run.
pub const GO_ON: &str = "\nGo on:\n  \
    cargo run -- --chaos 7                 the same streams, delivered as badly as it gets\n  \
    cargo run -- --input orders=FILE       your own records; products, activity, user-events, metrics, too\n  \
    cargo run -- --help                    all options\n\n\
    By hand, each in a terminal of its own:\n  \
    cargo run -- --serve     (DynamoDB http://127.0.0.1:8100, S3 http://127.0.0.1:8101)\n  \
    cargo lambda watch --env-file events/local.env\n  \
    cargo lambda invoke aggregate --data-file events/products.json\n";

fn fields(view: &RawValue) -> Option<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(view.get()).ok()
}

fn table(title: &str, list: &RawValue) -> String {
    let rows: Vec<Vec<Field>> = serde_json::from_str::<Vec<Box<RawValue>>>(list.get())
        .unwrap_or_default()
        .iter()
        .flat_map(|row| flattened(row))
        .collect();
    let fractions: Vec<bool> = (0..rows.first().map_or(0, Vec::len))
        .map(|at| rows.iter().filter_map(|row| row.get(at)).any(|(_, text, number)| *number && text.contains('.')))
        .collect();
    let mut table = ruled();
    if let Some(first) = rows.first() {
        table.set_header(first.iter().map(|(name, _, _)| name));
        let numbers = first.iter().enumerate().filter(|(_, (_, _, number))| *number);
        right_aligned(&mut table, numbers.map(|(at, _)| at));
    }
    for row in rows.iter().take(SHOWN) {
        // A column of amounts has digits after every point.
        table.add_row(row.iter().zip(&fractions).map(|((_, text, _), fraction)| match fraction {
            true if !text.contains('.') => format!("{text}.00"),
            _ => text.clone(),
        }));
    }
    let more = rows.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("… and {more} more\n") } else { String::new() };
    format!("\n{title}\n{table}\n{more}")
}

/// A row as lines of a table: one for each member of the list within it, if there is one.
fn flattened(row: &RawValue) -> Vec<Vec<Field>> {
    let exact = fields(row).unwrap_or_default();
    let Some((_, list)) = exact.iter().find(|(_, value)| value.get().starts_with('[')) else {
        return vec![row_fields(row)];
    };
    let outer: Vec<Field> = row_fields(row).into_iter().filter(|(_, text, _)| !text.starts_with('[')).collect();
    let members: Vec<Box<RawValue>> = serde_json::from_str(list.get()).unwrap_or_default();
    members.iter().map(|member| outer.iter().cloned().chain(row_fields(member)).collect()).collect()
}

/// A row's fields in their order; numbers to at most two digits after the point, objects as a list
/// of names and values, the largest first.
fn row_fields(row: &RawValue) -> Vec<Field> {
    let Ok(Value::Object(object)) = serde_json::from_str(row.get()) else { return Vec::new() };
    let exact = fields(row).unwrap_or_default();
    object
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text, false),
            Value::Object(members) => (name, listed(members), false),
            _ => {
                let text = exact.get(&name).map(|raw| two_digits(raw.get())).unwrap_or_default();
                (name, text, true)
            }
        })
        .collect()
}

fn listed(members: Map<String, Value>) -> String {
    let mut members: Vec<(String, Value)> = members.into_iter().collect();
    members.sort_by_key(|(_, value)| Reverse(value.as_i64()));
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => format!("{name} {text}"),
        value => format!("{name} {value}"),
    };
    members.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn two_digits(number: &str) -> String {
    let rounded = number.parse::<Decimal>().map_or_else(|_| number.to_owned(), |n| n.rounded(2).to_string());
    match (number.contains('.'), rounded.split_once('.')) {
        (true, Some((whole, fraction))) => format!("{whole}.{fraction:0<2}"),
        (true, None) => format!("{rounded}.00"),
        (false, _) => rounded,
    }
}

fn ruled() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table
}

fn right_aligned(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
