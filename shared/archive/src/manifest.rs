//! Manifests: what a finished run wrote. Written last, so that whoever goes by a manifest finds all of it.

use serde::{Deserialize, Serialize};

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its name: job and scheduled time.
    pub run: String,
    /// What it did: `daily` or `report`.
    pub job: String,
    /// For when it was scheduled, in UTC.
    pub scheduled: String,
    /// The day it is of, in the configured zone: `dt` in the paths.
    pub date: String,
    /// When it began, in UTC.
    pub started: String,
    /// When it had written everything else, in UTC.
    pub finished: String,
    /// Invocations that it took.
    pub invocations: u32,
    /// Rows in the files of views.
    pub rows: u64,
    /// Rows and entities past their TTL, left out.
    pub expired: u64,
    /// Rows that could not be read, left out; the log names them.
    pub unreadable: u64,
    /// Entities in their files.
    pub entities: u64,
    /// Plans committed while rows and entities were read.
    pub plans: u64,
    /// Plans that had been left pending, and were finished.
    pub plans_swept: u64,
    /// Request units that the run consumed.
    pub units: Consumed,
    /// Its files, in the order of their keys.
    pub files: Vec<File>,
}

/// Request units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Consumed {
    /// Read request units.
    pub read: f64,
    /// Write request units.
    pub write: f64,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its key.
    pub key: String,
    /// What is in it: `rows`, `entities`, `plans`, `lanes`, `snapshot` or `report`.
    pub holds: Holds,
    /// Whose rows, if it holds rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// Rows, entities, plans or lanes in it, if it holds such.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// A view's rows, as Parquet.
    Rows,
    /// Entities, as Parquet.
    Entities,
    /// Plans, as JSON lines.
    Plans,
    /// Lanes, as JSON.
    Lanes,
    /// The day's JSON document.
    Snapshot,
    /// A report's JSON document.
    Report,
}

impl Manifest {
    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
