//! Delivery: which invocations carry which records, beside which others.
//!
//! A wave is a set of deliveries that run beside each other. As with a real event-source mapping,
//! a partition's next records are delivered only after the ones before; earlier ones may come
//! again at any time.

use std::ops::Range;

use fastrand::Rng;

use crate::cli::Options;
use crate::feed::Log;

/// One invocation: slices of partitions' logs.
pub type Delivery = Vec<Slice>;

/// A part of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The log's index.
    pub log: usize,
    /// Its records' indices.
    pub records: Range<usize>,
}

/// The deliveries that the options ask for.
pub fn waves(logs: &[Log], options: &Options) -> Vec<Vec<Delivery>> {
    let (batch_size, workers) = (options.batch_size as usize, options.workers());
    match options.chaos {
        Some(seed) => chaotic(logs, batch_size, workers, seed),
        None => orderly(logs, batch_size, workers),
    }
}

/// Every record once, in order, each invocation of one partition.
pub fn orderly(logs: &[Log], batch_size: usize, workers: usize) -> Vec<Vec<Delivery>> {
    let mut queues: Vec<Vec<Delivery>> = logs
        .iter()
        .enumerate()
        .map(|(log, of)| {
            let mut batches = Vec::new();
            let mut start = 0;
            while start < of.records.len() {
                let end = of.batch_end(start, batch_size);
                batches.push(vec![Slice { log, records: start..end }]);
                start = end;
            }
            batches.reverse();
            batches
        })
        .collect();
    let mut waves = Vec::new();
    loop {
        // The partitions with most left go first, so that none is left alone at the end.
        let mut order: Vec<usize> = (0..queues.len()).collect();
        order.sort_by_key(|log| std::cmp::Reverse(queues.get(*log).map_or(0, Vec::len)));
        let wave: Vec<Delivery> =
            order.into_iter().filter_map(|log| queues.get_mut(log)?.pop()).take(workers.max(1)).collect();
        if wave.is_empty() {
            return waves;
        }
        waves.push(wave);
    }
}

/// Every record at least twice, as badly as the protocol must bear: see `--chaos`.
pub fn chaotic(logs: &[Log], batch_size: usize, workers: usize, seed: u64) -> Vec<Vec<Delivery>> {
    let mut rng = Rng::with_seed(seed);
    let mut waves = pass(logs, batch_size, workers, &mut rng);
    waves.extend(pass(logs, batch_size, workers, &mut rng));
    waves
}

fn pass(logs: &[Log], batch_size: usize, workers: usize, rng: &mut Rng) -> Vec<Vec<Delivery>> {
    let mut next = vec![0_usize; logs.len()];
    let mut delivered: Vec<Delivery> = Vec::new();
    let mut waves = Vec::new();
    loop {
        let mut open: Vec<usize> = (0..logs.len()).filter(|log| is_open(logs, &next, *log)).collect();
        if open.is_empty() {
            return waves;
        }
        rng.shuffle(&mut open);
        let mut wave = Vec::new();
        for _ in 0..rng.usize(1..=workers.max(1)) {
            let lanes = open.split_off(open.len().saturating_sub(rng.usize(1..=3)));
            let delivery: Delivery =
                lanes.into_iter().filter_map(|log| take(logs, &mut next, log, batch_size, rng)).collect();
            if delivery.is_empty() {
                break;
            }
            delivered.push(delivery.clone());
            if delivered.len().is_multiple_of(10) {
                // Twice: beside itself, or an old one again beside new ones.
                let again =
                    if rng.bool() { delivery.clone() } else { rng.choice(&delivered).cloned().unwrap_or_default() };
                wave.push(again);
            }
            wave.push(delivery);
        }
        rng.shuffle(&mut wave);
        waves.push(wave);
    }
}

fn is_open(logs: &[Log], next: &[usize], log: usize) -> bool {
    logs.get(log).zip(next.get(log)).is_some_and(|(of, next)| *next < of.records.len())
}

fn take(logs: &[Log], next: &mut [usize], log: usize, batch_size: usize, rng: &mut Rng) -> Option<Slice> {
    let start = *next.get(log)?;
    // Three partitions in one invocation share its 6 MB.
    let end = logs.get(log)?.batch_end(start, rng.usize(1..=batch_size)).min(start + 3_000);
    *next.get_mut(log)? = end;
    Some(Slice { log, records: start..end })
}
