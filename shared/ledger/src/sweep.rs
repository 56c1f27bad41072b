//! The sweeper: finishes plans whose batch never came again.

use crate::requests::Requests;
use crate::{Applied, Call, LaneId, Ledger, LedgerError, Store};

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
    /// The first failure, after all lanes have been looked at.
    pub async fn sweep(&self, pending_before_ms: i64, call: Call) -> Result<Swept, LedgerError> {
        let requests = self.requests(call);
        let mut swept = Swept::default();
        let (mut after, mut failure) = (None, None);
        loop {
            let lanes = requests.send(|| self.store.lanes(after.as_ref())).await?;
            for lane in &lanes {
                swept.lanes += 1;
                match self.sweep_lane(lane, pending_before_ms, call, &requests).await {
                    Ok(finished) => swept.finished += usize::from(finished),
                    Err(error) => {
                        tracing::error!(lane = %lane, error = %error, "lane could not be swept");
                        failure.get_or_insert(error);
                    }
                }
            }
            after = lanes.last().cloned();
            if after.is_none() {
                return failure.map_or(Ok(swept), Err);
            }
        }
    }

    async fn sweep_lane(
        &self,
        lane: &LaneId,
        before_ms: i64,
        call: Call,
        requests: &Requests,
    ) -> Result<bool, LedgerError> {
        let cursor = requests.send(|| self.store.read_cursor(lane)).await?;
        let Some(cursor) = cursor.filter(|cursor| cursor.pending && cursor.since_ms < before_ms) else {
            return Ok(false);
        };
        tracing::info!(lane = %lane, seq = cursor.seq, since_ms = cursor.since_ms, "finishing a pending plan");
        Ok(matches!(self.redo(lane, &cursor, call, requests).await?, Applied::Done { .. }))
    }
}
