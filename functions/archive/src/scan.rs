//! A scan of a table: its segments beside each other, at one pace, as far as the time goes.

use std::sync::Arc;

use futures_util::stream::{BoxStream, SelectAll, Stream, StreamExt, select_all, unfold};
use tidemark_ledger::{Answer, Call, Ledger, LedgerError, Metered, Segment, Store, Units};
use tidemark_model::Key;
use tokio::time::{Instant, timeout_at};

use crate::pace::Pace;
use crate::run::{Counts, Held, Position, Run};

/// The pages that are left of a scan, of all its segments beside each other, at its pace.
pub(crate) fn pages<'a, T: Send + 'a, F: Future<Output = Answer<(Vec<T>, Option<Key>)>> + Send + 'a>(
    ledger: &'a Ledger<impl Store>,
    scan: &Scan,
    call: Call,
    request: impl Fn(Segment, Option<Key>) -> F + Copy + Send + Sync + 'a,
) -> SelectAll<BoxStream<'a, Result<Page<T>, LedgerError>>> {
    let of = u32::try_from(scan.positions.len()).unwrap_or(u32::MAX);
    let left = scan.positions.iter().enumerate().filter(|(_, position)| **position != Position::End);
    let segments = left.map(|(number, position)| {
        let segment = Segment { number: u32::try_from(number).unwrap_or(u32::MAX), of };
        let after = match position {
            Position::After(key) => Some(key.clone()),
            Position::Start | Position::End => None,
        };
        let pace = Arc::clone(&scan.pace);
        unfold(Some(after), move |after| {
            let pace = Arc::clone(&pace);
            async move {
                let after = after?;
                match ledger.send(|| request(segment, after.clone()), call).await {
                    Ok(Metered { value: (found, next), units }) => {
                        pace.spend(units.read).await;
                        Some((Ok(Page { number, found, next: next.clone(), units }), next.map(Some)))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            }
        })
        .boxed()
    });
    select_all(segments)
}

/// A page of one segment.
pub(crate) struct Page<T> {
    pub(crate) number: usize,
    pub(crate) found: Vec<T>,
    pub(crate) next: Option<Key>,
    pub(crate) units: Units,
}

/// How far a scan has come, and until when it may go on.
pub(crate) struct Scan {
    positions: Vec<Position>,
    pace: Arc<Pace>,
    stop: Option<Instant>,
    /// Whether a page is done.
    has_begun: bool,
}

impl Scan {
    pub(crate) fn new(held: &Held, read_units: f64, stop: Option<Instant>) -> Self {
        Self { positions: held.run.positions.clone(), pace: Arc::new(Pace::new(read_units)), stop, has_begun: false }
    }

    /// The next page, unless the time is up before it comes, be it throttled or kept back by the pace. The first
    /// is waited for: every invocation comes further.
    pub(crate) async fn next<P>(&self, pages: &mut (impl Stream<Item = P> + Unpin)) -> Option<P> {
        match self.stop.filter(|_| self.has_begun) {
            Some(stop) => timeout_at(stop, pages.next()).await.ok().flatten(),
            None => pages.next().await,
        }
    }

    /// Waits until units that were written count as paid for, as those that are read do.
    pub(crate) async fn pay(&self, units: Units) {
        self.pace.spend(units.write).await;
    }

    /// A page of a segment is done; whether the time is up.
    pub(crate) fn has_come(&mut self, number: usize, next: Option<Key>) -> bool {
        self.has_begun = true;
        if let Some(position) = self.positions.get_mut(number) {
            *position = next.map_or(Position::End, Position::After);
        }
        self.stop.is_some_and(|stop| Instant::now() >= stop)
    }

    /// Notes in the run what was done; whether that is all.
    pub(crate) fn end(self, run: &mut Run, counts: Counts) -> bool {
        run.open.clear();
        run.counts = counts;
        run.positions = self.positions;
        run.positions.iter().all(|position| *position == Position::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use futures_util::stream::repeat;
    use tokio::time::sleep;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The invocation was ended while it waited, and all that it had scanned was given up: again and again.
    #[tokio::test(start_paused = true)]
    async fn a_page_that_does_not_come_in_time_is_left_to_another_invocation() {
        let (pace, stop) = (Arc::new(Pace::new(1.0)), Instant::now() + 3 * MINUTE);
        let mut scan = Scan { positions: vec![Position::Start], pace, stop: Some(stop), has_begun: false };
        let mut pages = repeat(()).then(|()| sleep(2 * MINUTE)).boxed();
        assert_eq!(scan.next(&mut pages).await, Some(()));
        assert!(!scan.has_come(0, Some(Key::of("ROW", "1", "X"))));
        assert_eq!(scan.next(&mut pages).await, None);
        assert!(Instant::now() < stop + MINUTE);
    }
}
