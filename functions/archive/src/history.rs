//! History: what sellers and categories were when their days were closed, for the API to show.
//!
//! A daily run passes over every row anyway. What it writes to its files, it writes to the state table, too: one item
//! for each row and day, again and again the same or a newer reading. A day is closed by the run of the next one, with
//! what has been counted until that reads it.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_archive::ObjectStore;
use tidemark_ledger::dynamo::{Closing, DynamoStore};
use tidemark_ledger::{Call, LedgerError, Metered, Units};
use tidemark_model::time::DAY_MS;
use tidemark_model::views::View;
use tidemark_model::{Key, Measures};

use crate::Archive;
use crate::run::Run;

/// The views whose rows have a history.
const VIEWS: [&str; 2] = ["sellers", "categories"];
/// Requests beside each other.
const AT_ONCE: usize = 8;
/// Before rows are sent again that a throttled write left out.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether a view's rows have one.
pub(crate) fn has_history(view: &View) -> bool {
    VIEWS.contains(&view.name)
}

impl<O: ObjectStore + Clone + 'static> Archive<DynamoStore, O> {
    /// The day that a run closes: the one before its own. A run of an earlier day, made today, closes none: its
    /// totals are today's.
    pub(crate) fn closing(&self, run: &Run) -> Option<Closing> {
        let zone = &self.options.zone;
        let end_ms = Some(zone.day_start(run.at_ms)).filter(|end_ms| *end_ms == zone.day_start(run.started_ms))?;
        let start_ms = zone.day_start(end_ms - 1);
        let expires_ms = end_ms + self.options.history_ms? + DAY_MS;
        Some(Closing { date: zone.day(start_ms).date, start_ms, closed_ms: run.started_ms, expires_ms })
    }

    /// Keeps what rows were when a day was closed.
    pub(crate) async fn close(
        &self,
        closing: &Closing,
        rows: &[(Key, Measures)],
        call: Call,
    ) -> Result<Units, LedgerError> {
        let chunks: Vec<_> = rows.chunks(DynamoStore::CLOSED_AT_ONCE).map(<[_]>::to_vec).collect();
        stream::iter(chunks)
            .map(|rows| self.close_some(closing, rows, call))
            .buffer_unordered(AT_ONCE)
            .try_fold(Units::default(), |mut all, units| async move {
                all += units;
                Ok(all)
            })
            .await
    }

    async fn close_some(
        &self,
        closing: &Closing,
        mut rows: Vec<(Key, Measures)>,
        call: Call,
    ) -> Result<Units, LedgerError> {
        let mut all = Units::default();
        loop {
            let request = || self.ledger.store().close(closing, &rows);
            let Metered { value: left, units } = self.ledger.send(request, call).await?;
            all += units;
            if left.is_empty() {
                return Ok(all);
            }
            rows = left;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
