//! Rate limits that hold across all instances of the function.
//!
//! A caller's requests are counted in the state table, minute by minute (UTC). Not each of them: an instance leases
//! some, answers so many from memory, and leases the next when they are used up. A lease is at most a tenth of what
//! the minute has left, and at most twice the one before it, so that
//!
//! - never more than the limit is answered in a minute, by however many instances;
//! - what instances hold and do not use is at most as much as they have answered, and one each;
//! - the leases of a minute are at most about `10 ln(limit)`, and some for each instance to begin with;
//! - when nothing is left, an instance that knows asks no more until the minute ends.
//!
//! A refused lease tells what is left, which is less than a tenth of what the instance took for left: that is how often
//! it can happen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue, StatusCode};
use tidemark_ledger::dynamo::{DynamoStore, Leased};
use tidemark_ledger::{Call, Ledger};
use tidemark_model::time::{MINUTE_MS, window_start};

use crate::Problem;

/// What an instance knows of a caller's minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Requests that it may still answer.
    left: u32,
    /// How many its last lease was for.
    size: u32,
    /// Requests that are leased to anybody, as it heard last.
    used: u32,
}

impl Lease {
    /// Takes one of the requests that may still be answered; whether there was one.
    pub fn take(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or_default();
        left.is_some()
    }

    /// How many to lease next; `None` if the minute's requests are used up.
    pub fn next(&self, limit: u32) -> Option<u32> {
        let free = limit.saturating_sub(self.used);
        (free > 0).then(|| (free / 10).min(self.size.saturating_mul(2)).max(1))
    }

    /// What became of a lease of so many.
    pub fn told(&mut self, requests: u32, leased: Leased) {
        self.used = leased.used;
        if leased.given {
            (self.left, self.size) = (self.left.saturating_add(requests), requests);
        }
    }

    /// Requests that the caller has left: those that nobody has leased, and this instance's.
    fn remaining(&self, limit: u32) -> u32 {
        limit.saturating_sub(self.used).saturating_add(self.left)
    }
}

/// What all callers of an instance have leased in this minute.
#[derive(Default)]
pub(crate) struct Limits(Mutex<Minute>);

#[derive(Default)]
struct Minute {
    start_ms: i64,
    /// One request at a time leases for a caller; the others wait for its answer.
    leases: HashMap<String, Arc<tokio::sync::Mutex<Lease>>>,
}

impl Limits {
    /// Counts a request of a caller; nothing for a limit of 0, which is none.
    ///
    /// # Errors
    /// 429 if there were too many; 503 if the store does not answer.
    pub(crate) async fn admit(
        &self,
        ledger: &Ledger<DynamoStore>,
        caller: &str,
        limit: u32,
        call: Call,
    ) -> Result<Option<Quota>, Problem> {
        if limit == 0 {
            return Ok(None);
        }
        let (minute_ms, lease) = self.lease(caller, call.now_ms);
        let over_s = seconds_up(minute_ms.saturating_add(MINUTE_MS).saturating_sub(call.now_ms));
        let mut lease = lease.lock().await;
        while !lease.take() {
            let requests = lease.next(limit).ok_or_else(|| too_many(limit, over_s))?;
            let asked = || ledger.store().lease(caller, minute_ms, requests, limit);
            lease.told(requests, ledger.send(asked, call).await?.value);
        }
        Ok(Some(Quota { limit, remaining: lease.remaining(limit), over_s }))
    }

    /// The minute, and what a caller has leased in it. What was of an earlier one is forgotten, and a request that
    /// is late counts towards the minute that has begun.
    fn lease(&self, caller: &str, now_ms: i64) -> (i64, Arc<tokio::sync::Mutex<Lease>>) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start_ms = window_start(now_ms, MINUTE_MS);
        if minute.start_ms < start_ms {
            *minute = Minute { start_ms, leases: HashMap::new() };
        }
        (minute.start_ms, Arc::clone(minute.leases.entry(caller.to_owned()).or_default()))
    }
}

fn seconds_up(ms: i64) -> u32 {
    u32::try_from(ms.saturating_add(999).div_euclid(1_000)).unwrap_or(1).max(1)
}

fn too_many(limit: u32, over_s: u32) -> Problem {
    let detail = format!("more than {limit} requests in this minute; go on in {over_s} s, or ask for a higher limit");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(over_s.into())
}

/// What a caller has left of a minute.
pub(crate) struct Quota {
    limit: u32,
    remaining: u32,
    over_s: u32,
}

impl Quota {
    /// As an answer tells it.
    pub(crate) fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        [
            (HeaderName::from_static("ratelimit-limit"), self.limit.into()),
            (HeaderName::from_static("ratelimit-remaining"), self.remaining.into()),
            (HeaderName::from_static("ratelimit-reset"), self.over_s.into()),
        ]
    }
}
