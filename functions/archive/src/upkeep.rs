//! Upkeep and audits: what no batch does. A schedule asks for it, or an operator.

use serde::Serialize;
use tidemark_ledger::{Audit, AuditOptions, Call, Ledger, LedgerError, Store};
use tidemark_model::Decimal;
use tidemark_runtime::telemetry::chain;

/// Lambda's longest timeout: no invocation can still be at work on what was left pending before.
pub(crate) const LONGEST_INVOCATION_MS: i64 = 900_000;

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

/// Finishes plans whose batch never came again, and sets the rankings' floors by a look at all rows.
///
/// # Errors
/// The first failure, after both were tried; a repetition goes on from anywhere.
pub async fn upkeep(ledger: &Ledger<impl Store>, call: Call) -> Result<Upkeep, LedgerError> {
    let swept = ledger.sweep(call.now_ms - LONGEST_INVOCATION_MS, call).await;
    if let Err(error) = &swept {
        tracing::error!(error = %chain(error), "pending plans could not all be finished");
    }
    let refreshed = ledger.refresh_rankings(call).await?;
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
pub async fn audit(ledger: &Ledger<impl Store>, options: &AuditOptions, call: Call) -> Audit {
    let audit = ledger.audit(options, call).await.unwrap_or_else(|error| {
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
