//! Ranges of time, and of days.

use compact_str::CompactString;
use tidemark_model::time::{DAY_MS, Zone, window_start};

/// From a time up to another, which is not in it; in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first ms.
    pub start_ms: i64,
    /// The first ms after it.
    pub end_ms: i64,
}

impl Range {
    /// The range of whole windows of a width that holds this one.
    #[must_use]
    pub fn widened(self, width_ms: i64) -> Self {
        let end_ms = window_start(self.end_ms.saturating_sub(1), width_ms).saturating_add(width_ms);
        Self { start_ms: window_start(self.start_ms, width_ms), end_ms }
    }
}

/// Days from one to another, both in it; in days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first one.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

impl Days {
    /// How many.
    pub fn count(self) -> i64 {
        self.last - self.first + 1
    }

    /// The dates of the first and of the last one, as ISO 8601 writes them.
    pub fn dates(self) -> (CompactString, CompactString) {
        let date = |day| Zone::default().day(day * DAY_MS).date;
        (date(self.first), date(self.last))
    }
}
