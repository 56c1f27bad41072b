//! Faults at every request: a store that fails at the k-th. It counts them, too.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidemark_ledger::{
    Answer, AppRetention, ConflictPage, Cursor, Floor, LaneId, LaneStats, Marks, Metered, Page, PlanId, PlanPage, Row,
    RowPage, Segment, StatePage, Store, StoreError, Units, Written,
};
use tidemark_model::views::Ranking;
use tidemark_model::{Decimal, Key, Known, Measures, Transition};
use tokio::sync::Semaphore;

/// What happens at the chosen request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before it is sent: this and everything after fails.
    CrashBefore,
    /// The process dies after it was done.
    CrashAfter,
    /// The request is done but its answer is lost, once; the client repeats it.
    AnswerLost,
    /// The request is throttled once.
    Throttled,
    /// A batch request is done for its first half only, once.
    Halved,
    /// From then on, an eventually consistent read sees nothing yet.
    Stale,
    /// The request waits until it is let go.
    Held,
}

impl Fault {
    pub const ALL: [Self; 6] =
        [Self::CrashBefore, Self::CrashAfter, Self::AnswerLost, Self::Throttled, Self::Halved, Self::Stale];
}

#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    fault: Fault,
    at: usize,
    sent: Arc<AtomicUsize>,
    in_flight: Arc<InFlight>,
    held: Arc<Semaphore>,
}

/// How many requests are in flight, and were at most.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A request in flight; one that is dropped is over.
struct Flying<'a>(&'a InFlight);

impl<'a> Flying<'a> {
    fn start(in_flight: &'a InFlight) -> Self {
        let now = in_flight.now.fetch_add(1, Ordering::SeqCst) + 1;
        in_flight.most.fetch_max(now, Ordering::SeqCst);
        Self(in_flight)
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<S> Faulty<S> {
    pub fn new(inner: S, fault: Fault, at: usize) -> Self {
        Self { inner, fault, at, sent: Arc::default(), in_flight: Arc::default(), held: Arc::new(Semaphore::new(0)) }
    }

    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// How many requests were in flight at once, at most.
    pub fn most_in_flight(&self) -> usize {
        self.in_flight.most.load(Ordering::SeqCst)
    }

    /// Lets the held request go.
    pub fn let_go(&self) {
        self.held.add_permits(1);
    }

    /// Whether the next request is the one that this fault is for.
    fn is_next(&self, fault: Fault) -> bool {
        self.fault == fault && self.sent() == self.at
    }

    async fn send<T: Send>(&self, request: impl Future<Output = Answer<T>> + Send) -> Answer<T> {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let _flying = Flying::start(&self.in_flight);
        // A store in memory answers at once: without this no two requests would ever meet.
        tokio::task::yield_now().await;
        let error = |text: &str| text.to_owned().into();
        let (operation, table) = ("Request", "any".to_owned());
        match self.fault {
            Fault::CrashBefore if number >= self.at => {
                Err(StoreError::Refused { operation, table, source: error("crashed") })
            }
            Fault::CrashAfter if number >= self.at => {
                if number == self.at {
                    request.await?;
                }
                Err(StoreError::Refused { operation, table, source: error("crashed") })
            }
            Fault::AnswerLost if number == self.at => {
                request.await?;
                Err(StoreError::Unanswered { operation, table, source: error("answer lost") })
            }
            Fault::Throttled if number == self.at => {
                Err(StoreError::Throttled { operation, table, source: error("throttled") })
            }
            Fault::Held if number == self.at => {
                self.held.acquire().await.unwrap().forget();
                request.await
            }
            _ => request.await,
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    async fn read_entities(&self, keys: &[Key], consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        if self.fault == Fault::Stale && self.sent() >= self.at && !consistent {
            return self.send(async { nothing(Page { found: Vec::new(), unprocessed: Vec::new() }) }).await;
        }
        let (asked, left) = keys.split_at(if self.is_next(Fault::Halved) { keys.len() / 2 } else { keys.len() });
        let mut page = match asked {
            [] => self.send(async { nothing(Page { found: Vec::new(), unprocessed: Vec::new() }) }).await?,
            _ => self.send(self.inner.read_entities(asked, consistent)).await?,
        };
        page.value.unprocessed.extend_from_slice(left);
        Ok(page)
    }

    async fn read_cursor(&self, lane: &LaneId) -> Answer<Option<Cursor>> {
        self.send(self.inner.read_cursor(lane)).await
    }

    async fn read_plan(&self, lane: &LaneId, plan: &PlanId) -> Answer<Option<Vec<u8>>> {
        self.send(self.inner.read_plan(lane, plan)).await
    }

    async fn register_lane(&self, lane: &LaneId, name: &str) -> Answer<()> {
        self.send(self.inner.register_lane(lane, name)).await
    }

    async fn write_plan(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        previous: Option<&PlanId>,
        body: &[u8],
        expires_s: i64,
    ) -> Answer<()> {
        self.send(self.inner.write_plan(lane, plan, previous, body, expires_s)).await
    }

    async fn write_conflicts(&self, lane: &LaneId, plan: &PlanId, conflicts: &[usize], expires_s: i64) -> Answer<()> {
        self.send(self.inner.write_conflicts(lane, plan, conflicts, expires_s)).await
    }

    async fn advance(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        self.send(self.inner.advance(lane, cursor)).await
    }

    async fn write_entities(&self, lane: &LaneId, seq: u64, transitions: &[&Transition]) -> Answer<Vec<Written>> {
        let half = if self.is_next(Fault::Halved) { transitions.len() / 2 } else { transitions.len() };
        let mut answer = match half {
            0 => self.send(async { nothing(Vec::new()) }).await?,
            _ => self.send(self.inner.write_entities(lane, seq, &transitions[..half])).await?,
        };
        answer.value.resize(transitions.len(), Written::Unprocessed);
        Ok(answer)
    }

    async fn read_marks(&self, keys: &[Key]) -> Answer<Page<(Key, Marks), Key>> {
        let (asked, left) = keys.split_at(if self.is_next(Fault::Halved) { keys.len() / 2 } else { keys.len() });
        let mut page = match asked {
            [] => self.send(async { nothing(Page { found: Vec::new(), unprocessed: Vec::new() }) }).await?,
            _ => self.send(self.inner.read_marks(asked)).await?,
        };
        page.value.unprocessed.extend_from_slice(left);
        Ok(page)
    }

    async fn add_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> Answer<Option<Row>> {
        self.send(self.inner.add_row(lane, seq, key, delta, ranking)).await
    }

    async fn set_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> Answer<bool> {
        self.send(self.inner.set_extreme(key, name, value)).await
    }

    async fn read_floor(&self, ranking: &'static Ranking) -> Answer<Floor> {
        self.send(self.inner.read_floor(ranking)).await
    }

    async fn set_floor(&self, ranking: &'static Ranking, seen: Floor, floor: Floor) -> Answer<bool> {
        self.send(self.inner.set_floor(ranking, seen, floor)).await
    }

    async fn set_rank(&self, key: &Key, ranking: &'static Ranking, seen: &Row, rank: Option<Decimal>) -> Answer<bool> {
        self.send(self.inner.set_rank(key, ranking, seen, rank)).await
    }

    async fn rows(&self, segment: Segment, after: Option<&Key>) -> Answer<RowPage> {
        self.send(self.inner.rows(segment, after)).await
    }

    async fn states(&self, segment: Segment, after: Option<&Key>) -> Answer<StatePage> {
        self.send(self.inner.states(segment, after)).await
    }

    async fn timeline(&self, timeline: &str, after: Option<&Key>) -> Answer<StatePage> {
        self.send(self.inner.timeline(timeline, after)).await
    }

    async fn plans(&self, lane: &LaneId, seqs: &RangeInclusive<u64>, after: Option<&PlanId>) -> Answer<PlanPage> {
        self.send(self.inner.plans(lane, seqs, after)).await
    }

    async fn conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Answer<ConflictPage> {
        self.send(self.inner.conflicts(lane, seqs, after)).await
    }

    async fn create_row(&self, key: &Key, row: &Measures, marks: &[(LaneId, u64)]) -> Answer<bool> {
        self.send(self.inner.create_row(key, row, marks)).await
    }

    async fn expire_row(&self, key: &Key, ranking: &'static Ranking, expires_s: i64) -> Answer<bool> {
        self.send(self.inner.expire_row(key, ranking, expires_s)).await
    }

    async fn create_entities(&self, entities: &[(Key, Known)]) -> Answer<Vec<Written>> {
        let half = if self.is_next(Fault::Halved) { entities.len() / 2 } else { entities.len() };
        let mut answer = match half {
            0 => self.send(async { nothing(Vec::new()) }).await?,
            _ => self.send(self.inner.create_entities(&entities[..half])).await?,
        };
        answer.value.resize(entities.len(), Written::Unprocessed);
        Ok(answer)
    }

    async fn create_cursor(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        self.send(self.inner.create_cursor(lane, cursor)).await
    }

    async fn read_retention(&self) -> Answer<AppRetention> {
        self.send(self.inner.read_retention()).await
    }

    async fn finish(&self, lane: &LaneId, seq: u64, stats: &LaneStats) -> Answer<bool> {
        self.send(self.inner.finish(lane, seq, stats)).await
    }

    async fn lane_stats(&self) -> Answer<Vec<(Cursor, LaneStats)>> {
        self.send(self.inner.lane_stats()).await
    }

    async fn lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        self.send(self.inner.lanes(after)).await
    }
}

/// The answer to a batch of nothing, which DynamoDB refuses.
fn nothing<T>(value: T) -> Answer<T> {
    Ok(Metered { value, units: Units::default() })
}
