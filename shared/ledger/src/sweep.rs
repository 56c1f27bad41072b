//! The sweeper: finishes plans whose batch never came again.

use crate::{Applied, Call, Ledger, LedgerError, Store};

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Lanes looked at.
    pub lanes: usize,
    /// Plans that had been pending too long and are finished now.
    pub finished: usize,
}

impl<S: Store> Ledger<S> {
    /// Does steps 5 to 7 for every plan pending since before a time in ms: earlier than that no
    /// invocation can still be at work on it.
    ///
    /// # Errors
    /// If a request failed for good; sweeping again goes on.
    pub async fn sweep(&self, pending_before_ms: i64, call: Call) -> Result<Swept, LedgerError> {
        let requests = self.requests(call);
        let mut swept = Swept::default();
        let mut after = None;
        loop {
            let lanes = requests.send(|| self.store.lanes(after.as_ref())).await?;
            for lane in &lanes {
                swept.lanes += 1;
                let cursor = requests.send(|| self.store.read_cursor(lane)).await?;
                let stuck = cursor.filter(|cursor| cursor.pending && cursor.since_ms < pending_before_ms);
                let Some(cursor) = stuck else { continue };
                tracing::info!(lane = %lane, seq = cursor.seq, since_ms = cursor.since_ms, "finishing a pending plan");
                if let Applied::Done { .. } = self.redo(lane, &cursor, &requests).await? {
                    swept.finished += 1;
                }
            }
            after = lanes.last().cloned();
            if after.is_none() {
                return Ok(swept);
            }
        }
    }
}
