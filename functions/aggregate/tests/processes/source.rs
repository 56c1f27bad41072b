//! The event source: which records the next invocation carries. As a real event-source mapping, it delivers
//! a partition's records in order, the next only after the ones before were acknowledged; and all of them
//! again, with whatever boundaries, after an invocation failed, took too long, or died.

use std::ops::Range;

use bytes::Bytes;
use tidemark_local::delivery::{Delivery, Slice};
use tidemark_local::feed::{Log, Record, payload};

/// The most records of one partition in an invocation.
const MOST: usize = 120;
/// The same, in the calm.
const MOST_IN_CALM: usize = 1_000;
/// How many acknowledged records may come again with new ones.
const AGAIN: usize = 60;

/// All partitions, and how far each is.
pub(crate) struct Source {
    logs: Vec<Log>,
    lanes: Vec<Lane>,
    /// Deliveries that are to come again as they were, beside what follows them.
    echoes: Vec<Delivery>,
    rng: fastrand::Rng,
    calm: bool,
    counts: Counts,
}

#[derive(Clone, Default)]
struct Lane {
    /// All records before this one were acknowledged.
    acknowledged: usize,
    /// The furthest that was ever sent.
    sent: usize,
    /// Whether an invocation that counts is at work on it.
    taken: bool,
}

/// What was delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Invocations.
    pub(crate) invocations: usize,
    /// Records in them.
    pub(crate) delivered: usize,
    /// Slices that begin with records that had been sent before.
    pub(crate) redelivered: usize,
    /// Deliveries beside their own repetition.
    pub(crate) echoes: usize,
    /// How often the whole stream was acknowledged and begun again.
    pub(crate) replays: usize,
}

/// An invocation to make.
pub(crate) struct Job {
    pub(crate) payload: Bytes,
    delivery: Delivery,
    /// Whether its outcome counts: that of an echo does not.
    counts: bool,
}

impl Source {
    pub(crate) fn new(logs: Vec<Log>, seed: u64) -> Self {
        let lanes = vec![Lane::default(); logs.len()];
        let rng = fastrand::Rng::with_seed(seed);
        Self { logs, lanes, echoes: Vec::new(), rng, calm: false, counts: Counts::default() }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// How often all records were acknowledged.
    pub(crate) fn replays(&self) -> usize {
        self.counts.replays
    }

    /// No more chaos: what was not acknowledged is delivered, and the last records of every partition once
    /// more, which finishes what was left pending.
    pub(crate) fn calm(&mut self) {
        self.calm = true;
        self.echoes.clear();
        for (lane, log) in self.lanes.iter_mut().zip(&self.logs) {
            assert!(!lane.taken, "every invocation was settled");
            lane.acknowledged = lane.acknowledged.min(log.records.len() - 1);
        }
    }

    /// The next invocation; `None` if there is nothing to deliver until another is settled, or at all.
    pub(crate) fn next(&mut self) -> Option<Job> {
        let (delivery, counts) = match self.echoes.pop() {
            Some(echo) => (echo, false),
            None => (self.take(), true),
        };
        if delivery.is_empty() {
            return None;
        }
        if counts && !self.calm && self.rng.u32(..8) == 0 {
            self.counts.echoes += 1;
            self.echoes.push(delivery.clone());
        }
        let slices: Vec<&[Record]> =
            delivery.iter().map(|slice| &self.logs[slice.log].records[slice.records.clone()]).collect();
        self.counts.invocations += 1;
        self.counts.delivered += slices.iter().map(|slice| slice.len()).sum::<usize>();
        Some(Job { payload: payload(&slices).unwrap(), delivery, counts })
    }

    /// Whether an invocation may still come back and leave something to deliver.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lanes.iter().any(|lane| lane.taken)
    }

    /// What became of an invocation: acknowledged, or to be delivered again.
    pub(crate) fn settle(&mut self, job: &Job, acknowledged: bool) {
        for slice in job.delivery.iter().filter(|_| job.counts) {
            let lane = &mut self.lanes[slice.log];
            lane.taken = false;
            if acknowledged {
                lane.acknowledged = lane.acknowledged.max(slice.records.end);
            }
        }
        let all_through = (0..self.lanes.len()).all(|lane| self.left(lane).is_empty());
        if all_through && !self.calm && !self.is_waiting() {
            self.counts.replays += 1;
            self.lanes.iter_mut().for_each(|lane| lane.acknowledged = 0);
        }
    }

    fn take(&mut self) -> Delivery {
        let mut free: Vec<usize> =
            (0..self.lanes.len()).filter(|lane| !self.lanes[*lane].taken && !self.left(*lane).is_empty()).collect();
        self.rng.shuffle(&mut free);
        free.truncate(self.rng.usize(1..=3));
        free.into_iter().map(|lane| self.slice(lane)).collect()
    }

    fn slice(&mut self, log: usize) -> Slice {
        let goes_back = !self.calm && self.rng.u32(..5) == 0;
        let back = if goes_back { self.rng.usize(..AGAIN) } else { 0 };
        let Range { start, end } = self.left(log);
        let size = if self.calm { MOST_IN_CALM } else { self.rng.usize(1..=MOST) };
        let records = start.saturating_sub(back)..end.min(start + size);
        let lane = &mut self.lanes[log];
        lane.taken = true;
        self.counts.redelivered += usize::from(records.start < lane.sent);
        lane.sent = lane.sent.max(records.end);
        Slice { log, records }
    }

    fn left(&self, lane: usize) -> Range<usize> {
        self.lanes[lane].acknowledged..self.logs[lane].records.len()
    }
}
