//! Upkeep and audits: what no batch does. A schedule asks for it, or an operator.

use serde::{Deserialize, Serialize};
use tidemark_archive::ObjectStore;
use tidemark_ledger::{Audit, AuditOptions, Call, LedgerError, Store};
use tidemark_model::Decimal;

use crate::{Aggregate, chain};

/// Lambda's longest timeout: no invocation can still be at work on what was left pending before.
const LONGEST_INVOCATION_MS: i64 = 900_000;

/// What a schedule asks for, as its input: `{"job": "upkeep"}`, or `{"job": "audit"}`, which takes
/// `"repair": true` and `"nothingForgotten": true` beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Upkeep,
    Audit { repair: bool, nothing_forgotten: bool },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    job: String,
    #[serde(default)]
    repair: bool,
    #[serde(default)]
    nothing_forgotten: bool,
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
#[error("there is no job `{0}`; there are upkeep and audit")]
pub struct UnknownJob(String);

impl Asked {
    /// What a payload asks for; `None` if it is something else, such as records.
    ///
    /// # Errors
    /// If it asks for a job that there is not.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, UnknownJob> {
        // A batch is large and begins otherwise: only what can be an input is parsed.
        let is_short = payload.len() < 1_000;
        let Some(input) = is_short.then(|| serde_json::from_slice::<Input>(payload).ok()).flatten() else {
            return Ok(None);
        };
        match input.job.as_str() {
            "upkeep" => Ok(Some(Self::Upkeep)),
            "audit" => Ok(Some(Self::Audit { repair: input.repair, nothing_forgotten: input.nothing_forgotten })),
            _ => Err(UnknownJob(input.job)),
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

    /// Compares every row with what the entities add up to, and repairs what has drifted if that is
    /// asked for. One that fails is answered as unfinished: an invocation that failed would come again.
    pub async fn audit(&self, options: &AuditOptions, call: Call) -> Audit {
        let audit = self.ledger.audit(options, call).await.unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "audit failed before its first look was done");
            Audit { unfinished: true, ..Audit::default() }
        });
        for drift in &audit.drift {
            let number = |n: Option<Decimal>| n.map(|n| n.to_string());
            tracing::warn!(
                view = drift.view,
                pk = drift.pk,
                sk = drift.sk,
                measure = drift.measure,
                stored = number(drift.stored),
                recomputed = number(drift.recomputed),
                repaired = drift.repaired,
                unreadable = drift.unreadable,
                "number has drifted"
            );
        }
        let total = audit.total();
        tracing::info!(
            rows = total.rows,
            drifted = total.drifted,
            repaired = total.repaired,
            undecided = total.undecided,
            skipped = total.skipped,
            forgotten = total.forgotten,
            unfinished = audit.unfinished,
            "audit done"
        );
        audit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_schedules_input_asks_for_a_job() {
        let asked = |payload: &str| Asked::read(payload.as_bytes()).unwrap();
        assert_eq!(asked(r#"{"job": "upkeep"}"#), Some(Asked::Upkeep));
        let audit = |repair, nothing_forgotten| Some(Asked::Audit { repair, nothing_forgotten });
        assert_eq!(asked(r#"{"job": "audit"}"#), audit(false, false));
        assert_eq!(asked(r#"{"job": "audit", "repair": true}"#), audit(true, false));
        assert_eq!(asked(r#"{"job": "audit", "nothingForgotten": true}"#), audit(false, true));
        assert_eq!(asked(r#"{"records": {}}"#), None);
        assert_eq!(asked("{"), None);
        let error = Asked::read(br#"{"job": "cleaning"}"#).unwrap_err();
        assert_eq!(error.to_string(), "there is no job `cleaning`; there are upkeep and audit");
    }
}
