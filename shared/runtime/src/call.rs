//! When an invocation happens, and when it must have stopped.

use std::time::Duration;

use tidemark_ledger::Call;
use tokio::time::Instant;

use crate::now_ms;

/// Kept back from the invocation's time for its answer.
const MARGIN: Duration = Duration::from_millis(500);
/// Lambda's longest timeout is 900 s; a deadline well beyond is no deadline.
const LONGEST: Duration = Duration::from_secs(1_000);

/// When the invocation happens, by its deadline in ms since 1970. A deadline that has passed or is impossibly far
/// (emulators send such) is taken as unknown.
pub fn call(deadline_ms: u64) -> Call {
    let now_ms = now_ms();
    let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms.unsigned_abs()));
    let known = !left.is_zero() && left <= LONGEST;
    Call { now_ms, deadline: known.then(|| Instant::now() + left.saturating_sub(MARGIN)) }
}
