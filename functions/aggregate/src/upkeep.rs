//! Upkeep: what no batch does. A schedule asks for it.

use serde::{Deserialize, Serialize};
use tidemark_archive::ObjectStore;
use tidemark_ledger::{Call, LedgerError, Store};

use crate::{Aggregate, chain};

/// Lambda's longest timeout: no invocation can still be at work on what was left pending before.
const LONGEST_INVOCATION_MS: i64 = 900_000;

/// What a schedule asks for, as its input: `{"job": "upkeep"}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    job: String,
}

/// What upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Upkeep {
    /// Lanes looked at.
    pub lanes: usize,
    /// Plans that had been left pending and are finished now.
    pub finished: usize,
    /// Rankings' floors that were set anew.
    pub floors: usize,
    /// Rows that got or lost their place in a ranking.
    pub ranked: usize,
}

/// A schedule's input that cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("there is no job `{0}`; there is upkeep")]
pub struct UnknownJob(String);

impl Asked {
    /// What a payload asks for; `None` if it is something else, such as records.
    ///
    /// # Errors
    /// If it asks for a job that there is not.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, UnknownJob> {
        // A batch is large and begins otherwise: only what can be an input is parsed.
        let is_short = payload.len() < 1_000;
        match is_short.then(|| serde_json::from_slice::<Self>(payload).ok()).flatten() {
            Some(asked) if asked.job == "upkeep" => Ok(Some(asked)),
            Some(asked) => Err(UnknownJob(asked.job)),
            None => Ok(None),
        }
    }
}

impl<S: Store, O: ObjectStore> Aggregate<S, O> {
    /// Finishes plans whose batch never came again, and sets the rankings' floors by a look at all rows.
    ///
    /// # Errors
    /// The first failure, after both were tried; a repetition goes on from anywhere.
    pub async fn upkeep(&self, call: Call) -> Result<Upkeep, LedgerError> {
        let swept = self.ledger.sweep(call.now_ms - LONGEST_INVOCATION_MS, call).await;
        if let Err(error) = &swept {
            tracing::error!(error = %chain(error), "pending plans could not all be finished");
        }
        let refreshed = self.ledger.refresh_rankings(call).await?;
        let swept = swept?;
        let done =
            Upkeep { lanes: swept.lanes, finished: swept.finished, floors: refreshed.floors, ranked: refreshed.ranked };
        tracing::info!(
            lanes = done.lanes,
            finished = done.finished,
            floors = done.floors,
            ranked = done.ranked,
            "upkeep done"
        );
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_schedules_input_asks_for_a_job() {
        assert!(matches!(Asked::read(br#"{"job": "upkeep"}"#), Ok(Some(_))));
        assert!(matches!(Asked::read(br#"{"records": {}}"#), Ok(None)));
        assert!(matches!(Asked::read(b"{"), Ok(None)));
        let error = Asked::read(br#"{"job": "cleaning"}"#).unwrap_err();
        assert_eq!(error.to_string(), "there is no job `cleaning`; there is upkeep");
    }
}
