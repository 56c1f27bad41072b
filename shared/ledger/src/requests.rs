//! Requests, retried within the deadline and counted.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{Answer, LedgerError, StoreError, Units};

/// How failed requests are repeated.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts of one request in all.
    pub max_attempts: usize,
    /// The first wait.
    pub initial: Duration,
    /// What each further wait is multiplied by.
    pub factor: f32,
    /// The longest wait, jitter included.
    pub cap: Duration,
}

impl Default for Retry {
    /// The source systems' numbers.
    fn default() -> Self {
        Self { max_attempts: 10, initial: Duration::from_secs(2), factor: 2.0, cap: Duration::from_secs(60) }
    }
}

/// The requests of one commit: what bounds them and what they have cost.
pub(crate) struct Requests {
    retry: Retry,
    deadline: Option<Instant>,
    /// One permit for each request in flight, shared by all lanes.
    in_flight: Arc<Semaphore>,
    jitter: Mutex<fastrand::Rng>,
    spent: Mutex<Spent>,
    lap: Mutex<(Instant, Units)>,
}

/// What requests have cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) units: Units,
    pub(crate) requests: usize,
    pub(crate) retries: usize,
}

impl Requests {
    pub(crate) fn new(
        retry: Retry,
        deadline: Option<Instant>,
        in_flight: Arc<Semaphore>,
        jitter: fastrand::Rng,
    ) -> Self {
        let lap = Mutex::new((Instant::now(), Units::default()));
        Self { retry, deadline, in_flight, jitter: Mutex::new(jitter), spent: Mutex::default(), lap }
    }

    pub(crate) fn spent(&self) -> Spent {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was spent since this was asked last, or since the beginning: how long, and which units.
    pub(crate) fn lap(&self) -> (Duration, Units) {
        let now = (Instant::now(), self.spent().units);
        let mut lap = self.lap.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = std::mem::replace(&mut *lap, now);
        let units = Units { read: now.1.read - before.read, write: now.1.write - before.write };
        (now.0.saturating_duration_since(since), units)
    }

    /// Sends a request until it is answered, waiting longer each time.
    pub(crate) async fn send<T, F: Future<Output = Answer<T>>>(
        &self,
        mut request: impl FnMut() -> F,
    ) -> Result<T, LedgerError> {
        let mut waits = self.waits();
        loop {
            match self.send_once(request()).await? {
                Ok(value) => return Ok(value),
                Err(error) => waits.before_next(error).await?,
            }
        }
    }

    /// Sends a request once; the inner error may be retried.
    pub(crate) async fn send_once<T>(
        &self,
        request: impl Future<Output = Answer<T>>,
    ) -> Result<Result<T, StoreError>, LedgerError> {
        // The semaphore is never closed, so that this cannot fail.
        let _permit = self.in_flight.acquire().await.ok();
        self.note(|spent| spent.requests += 1);
        let answer = match self.deadline {
            Some(deadline) if Instant::now() >= deadline => return Err(LedgerError::Deadline),
            Some(deadline) => timeout_at(deadline, request).await.map_err(|_| LedgerError::Deadline)?,
            None => request.await,
        };
        Ok(answer.map(|metered| {
            self.note(|spent| spent.units += metered.units);
            metered.value
        }))
    }

    /// The waits between the attempts of one request.
    pub(crate) fn waits(&self) -> Waits<'_> {
        let seed = self.jitter.lock().unwrap_or_else(PoisonError::into_inner).u64(..);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.retry.initial)
            .with_factor(self.retry.factor)
            .with_max_delay(self.retry.cap)
            .with_max_times(self.retry.max_attempts.saturating_sub(1))
            .with_jitter()
            .with_jitter_seed(seed)
            .build();
        Waits { requests: self, backoff, attempts: 0 }
    }

    fn note(&self, change: impl FnOnce(&mut Spent)) {
        change(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Waits that grow, up to a number of attempts.
pub(crate) struct Waits<'a> {
    requests: &'a Requests,
    backoff: ExponentialBackoff,
    attempts: usize,
}

impl Waits<'_> {
    /// Waits before the next attempt, or gives up: when the error is final, the attempts are used
    /// up, or the wait would pass the deadline.
    pub(crate) async fn before_next(&mut self, error: StoreError) -> Result<(), LedgerError> {
        self.attempts += 1;
        // The jitter comes on top of the cap.
        let wait = self.backoff.next().filter(|_| error.is_retryable()).map(|wait| wait.min(self.requests.retry.cap));
        let Some(wait) = wait else {
            return Err(LedgerError::Store { attempts: self.attempts, source: error });
        };
        if self.requests.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            tracing::warn!(error = %error, "no time left to try again");
            return Err(LedgerError::Deadline);
        }
        tracing::debug!(error = %error, attempt = self.attempts, wait_ms = wait.as_millis() as u64, "request will be repeated");
        self.requests.note(|spent| spent.retries += 1);
        sleep(wait).await;
        Ok(())
    }
}
