//! The pace of scans: no more read units a second than they may consume, so that others find theirs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Read units, and the time that they take.
pub(crate) struct Pace {
    per_second: f64,
    /// When what was consumed so far has been paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, paid: Mutex::new(Instant::now()) }
    }

    /// Waits until these units have been paid for. Time that was not used is not saved up.
    pub(crate) async fn spend(&self, units: f64) {
        let takes = Duration::try_from_secs_f64(units / self.per_second).unwrap_or_default();
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            *paid = (*paid).max(Instant::now()) + takes;
            *paid
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    #[tokio::test(start_paused = true)]
    async fn all_scans_together_keep_the_pace() {
        let (pace, started) = (Pace::new(100.0), Instant::now());
        join_all((0..4).map(|_| async {
            for _ in 0..5 {
                pace.spend(50.0).await;
            }
        }))
        .await;
        assert_eq!(started.elapsed().as_secs(), 10);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let resumed = Instant::now();
        pace.spend(100.0).await;
        assert_eq!(resumed.elapsed().as_secs(), 1, "a pause is no credit");
    }
}
