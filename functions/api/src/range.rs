//! Ranges of time.

use tidemark_model::time::window_start;

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
