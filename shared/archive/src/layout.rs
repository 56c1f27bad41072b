//! Where everything lies in the bucket.
//!
//! | key | what |
//! |---|---|
//! | `analytics/{date}/{ms}.json` | the snapshot of a day |
//! | `analytics/{report}/{YYYYMMDD_HHMMSS}.json` | a report, by its time in UTC |
//! | `parquet/{view}/dt={date}/part-{n}.parquet` | a view's rows, whole, as of a day |
//! | `entities/dt={date}/part-{n}.parquet` | the entities, as of a day |
//! | `recovery/dt={date}/lanes.json`, `plans.jsonl` | what was committed while these were read |
//! | `manifests/{run}.json` | what a finished run wrote |
//! | `runs/daily.json` | a run that is not finished, and who is at it |
//! | `quarantine/...` | records set aside, see [`crate::Quarantine`] |

use tidemark_model::time::to_name;

/// The run that is not finished.
pub const RUN: &str = "runs/daily.json";
/// Where manifests are.
pub const MANIFESTS: &str = "manifests/";

/// The snapshot of a day, by its time in ms.
pub fn snapshot(date: &str, at_ms: i64) -> String {
    format!("analytics/{date}/{at_ms}.json")
}

/// A report, by its time in ms.
pub fn report(name: &str, at_ms: i64) -> String {
    format!("analytics/{name}/{}.json", to_name(at_ms))
}

/// Where a view's rows of a day are.
pub fn rows(view: &str, date: &str) -> String {
    format!("parquet/{view}/dt={date}/")
}

/// Where the entities of a day are.
pub fn entities(date: &str) -> String {
    format!("entities/dt={date}/")
}

/// Where the lanes and plans of a day are.
pub fn recovery(date: &str) -> String {
    format!("recovery/dt={date}/")
}

/// The manifest of a run.
pub fn manifest(run: &str) -> String {
    format!("{MANIFESTS}{run}.json")
}
