//! The audit: every row recomputed from the entities that there are, beside running commits.
//!
//! One *look* reads, strongly consistent and in this order: all lanes' cursors; all rows and all entities,
//! in segments beside each other; all cursors again. A plan is *in flight* if it was pending at the first
//! cursors, or committed between these and the second. A row that no plan in flight moves stands still
//! over the whole look:
//!
//! - A plan before those in flight was finished when its cursor was read first. All its writes came before
//!   that, so the entities that are read show it, and so do the rows.
//! - A plan after those in flight is committed after the second cursors, and writes nothing before. It is in
//!   neither.
//! - A plan in flight may be in both, in either or in part. It moves the rows that its transitions move,
//!   each taken alone, and those of its points; and the tallies of rankings that such a row competes in.
//!
//! So such a row that differs from the sum has *drifted*, whatever else is written. The others are
//! *undecided*, and looked at again. That a row's marks stay does not show that it stands still: a plan may
//! move one entity into a row and another out of it, leave the row as it is, and be seen in part.
//! Which plans were committed is known by the cursors' seqs, and what is in them by their ids, which begin
//! with the seq. One that is not found, because it is another release's, leaves all rows undecided; and so
//! does a cursor whose own plan is not among those found.
//!
//! Places in rankings are compared likewise, with the readers' floor as it was before the rows were read:
//! a floor that is raised takes no right place away, and one that is lowered admits more.

mod compare;
mod repair;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compact_str::CompactString;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use tidemark_model::fold::{effects, shares, tally};
use tidemark_model::views::{Source, ranking_of, rankings, view_of};
use tidemark_model::{Key, Map, Rows};
use tokio::time::{Instant, sleep};

pub use self::report::{Audit, Audited, Drift};

use self::compare::{Rules, Unlike, compare};
use self::report::Findings;
use crate::requests::Requests;
use crate::{
    Call, Cursors, Floor, LaneId, Ledger, LedgerError, Plan, PlanId, Row, Segment, Store, StoreError, WrittenPlan,
    off_thread,
};

/// How an audit works.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Parts of each table that are scanned beside each other.
    pub segments: u32,
    /// Looks at most, while rows are undecided. Repairs take two more: what they left is looked at.
    pub rounds: usize,
    /// Whether drift is repaired.
    pub repair: bool,
    /// Whether no entity was ever forgotten before a row that counts it, but for all-time totals of events:
    /// tombstones are kept for ever and always were, and no retention was ever changed. Then more in a row than
    /// its entities say is drift.
    pub nothing_forgotten: bool,
    /// The views whose rows are compared; all, if none is named.
    pub views: Vec<&'static str>,
    /// How far the present look has come.
    pub scanned: Arc<Scanned>,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            segments: 8,
            rounds: 3,
            repair: false,
            nothing_forgotten: false,
            views: Vec::new(),
            scanned: Arc::default(),
        }
    }
}

/// Items that a look has read so far.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Entities.
    pub entities: AtomicUsize,
    /// Rows.
    pub rows: AtomicUsize,
}

/// What one look has read.
#[derive(Default)]
struct Look {
    before: Cursors,
    floors: BTreeMap<&'static str, Floor>,
    stored: Map<Key, Row>,
    /// Rows that do not read as such, with the attribute.
    unreadable: Map<Key, CompactString>,
    /// Rows with another source than entities: counted, and not held.
    uncompared: BTreeMap<&'static str, Audited>,
    computed: Rows,
    after: Cursors,
}

/// The rows of a segment.
#[derive(Default)]
struct Stored {
    rows: Vec<(Key, Row)>,
    unreadable: Vec<(Key, CompactString)>,
    uncompared: Vec<(&'static str, usize)>,
}

/// What rows of no view are reported under: of one that another release has.
const NO_VIEW: &str = "(unknown)";

/// Lanes whose plans are decoded beside each other: each takes many times its item's size.
const DECODED: usize = 4;

/// An audit under way.
#[derive(Clone, Copy)]
struct Auditing<'a> {
    options: &'a AuditOptions,
    began: Instant,
    began_ms: i64,
    requests: &'a Requests,
}

impl Auditing<'_> {
    fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.began_ms.saturating_add(elapsed)
    }
}

impl<S: Store> Ledger<S> {
    /// Compares every row with the sum over the entities, and repairs those that have drifted if that is
    /// asked for. What stops it after the first look leaves it unfinished.
    ///
    /// # Errors
    /// If a request fails, or the deadline comes, before the first look is done. A repetition begins anew.
    pub async fn audit(&self, options: &AuditOptions, call: Call) -> Result<Audit, LedgerError> {
        let requests = self.requests(call);
        let auditing = Auditing { options, began: Instant::now(), began_ms: call.now_ms, requests: &requests };
        let rounds = options.rounds.max(1) + if options.repair { 2 } else { 0 };
        let mut findings = Findings::default();
        for round in 1..=rounds {
            if let Err(error) = self.audit_once(auditing, round < rounds, &mut findings).await {
                if findings.is_empty() {
                    return Err(error);
                }
                tracing::error!(error = &error as &dyn Error, "audit is left unfinished");
                findings.leave_unfinished();
                break;
            }
            if round == rounds || !findings.are_open(options.repair) {
                break;
            }
            let pause = self.options.retry.initial;
            if call.deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
                tracing::error!("audit is left unfinished for want of time");
                findings.leave_unfinished();
                break;
            }
            sleep(pause).await;
        }
        Ok(findings.into_audit(requests.spent()))
    }

    async fn audit_once(
        &self,
        auditing: Auditing<'_>,
        may_repair: bool,
        findings: &mut Findings,
    ) -> Result<(), LedgerError> {
        let Auditing { options, requests, .. } = auditing;
        let look = self.look(options, requests).await?;
        let rules = Rules {
            now_ms: auditing.now_ms(),
            nothing_forgotten: options.nothing_forgotten,
            views: options.views.clone(),
        };
        let open = findings.open(options.repair);
        let compared = off_thread(move || {
            let compared = compare(&look, &rules, open.as_ref());
            (look, open, compared)
        });
        let (look, open, mut compared) = compared.await.ok_or(LedgerError::Deadline)?;
        let drifted = compared.unlike.iter().filter(|row| row.has_drifted());
        let drifted: HashSet<Key> = drifted.map(|row| row.key.clone()).collect();
        if !drifted.is_empty() {
            let moved = self.moved(&look, drifted, requests).await?;
            let is_moved = |key: &Key| moved.as_ref().is_none_or(|moved| moved.contains(key));
            compared.unlike.iter_mut().filter(|row| is_moved(&row.key)).for_each(Unlike::leave_undecided);
        }
        findings.add(compared, open.as_ref(), options.scanned.entities.load(Ordering::Relaxed));
        let drifted = findings.drifted();
        tracing::info!(
            lanes = look.after.len(),
            rows = look.stored.len(),
            drifted = drifted.len(),
            "tables were audited"
        );
        if options.repair && may_repair {
            self.repair(&look, drifted, requests).await?;
        }
        Ok(())
    }

    async fn look(&self, options: &AuditOptions, requests: &Requests) -> Result<Look, LedgerError> {
        let before = self.cursors(requests).await?;
        let mut floors = BTreeMap::new();
        for ranking in rankings() {
            floors.insert(ranking.board, requests.send(|| self.store.read_floor(ranking)).await?);
        }
        let Scanned { entities, rows } = &*options.scanned;
        entities.store(0, Ordering::Relaxed);
        rows.store(0, Ordering::Relaxed);
        let of = options.segments.max(1);
        let segments = || (0..of).map(move |number| Segment { number, of });
        let stored: Vec<_> = segments().map(|segment| self.stored(segment, rows, requests)).collect();
        let computed: Vec<_> = segments().map(|segment| self.computed(segment, entities, requests)).collect();
        let (stored, computed) = future::try_join(future::try_join_all(stored), future::try_join_all(computed)).await?;
        let after = self.cursors(requests).await?;
        let look = off_thread(move || {
            let mut look = Look { before, floors, after, ..Look::default() };
            for segment in stored {
                look.stored.extend(segment.rows);
                look.unreadable.extend(segment.unreadable);
                for (view, rows) in segment.uncompared {
                    let counts = look.uncompared.entry(view).or_default();
                    counts.rows += rows;
                    counts.skipped += rows;
                }
            }
            computed.into_iter().for_each(|rows| look.computed.merge(rows));
            tally(&mut look.computed);
            look
        });
        look.await.ok_or(LedgerError::Deadline)
    }

    /// The rows of a segment.
    async fn stored(
        &self,
        segment: Segment,
        scanned: &AtomicUsize,
        requests: &Requests,
    ) -> Result<Stored, LedgerError> {
        let (mut stored, mut uncompared, mut after) = (Stored::default(), BTreeMap::new(), None);
        loop {
            let (rows, next) = requests.send(|| self.store.rows(segment, after.as_ref())).await?;
            scanned.fetch_add(rows.len(), Ordering::Relaxed);
            for (key, row) in rows {
                match row {
                    Err(StoreError::Unreadable { attribute, .. }) => stored.unreadable.push((key, attribute.into())),
                    Err(source) => return Err(LedgerError::Store { attempts: 1, source }),
                    Ok(_) if !is_of_entities(&key) => *uncompared.entry(name_of(&key)).or_default() += 1,
                    Ok(row) => stored.rows.push((key, row)),
                }
            }
            after = next;
            if after.is_none() {
                stored.uncompared = uncompared.into_iter().collect();
                return Ok(stored);
            }
        }
    }

    /// What the entities of a segment add up to. No more than a page of them is held.
    async fn computed(
        &self,
        segment: Segment,
        scanned: &AtomicUsize,
        requests: &Requests,
    ) -> Result<Rows, LedgerError> {
        let (mut computed, mut after) = (Rows::default(), None);
        loop {
            let (entities, next) = requests.send(|| self.store.states(segment, after.as_ref())).await?;
            scanned.fetch_add(entities.len(), Ordering::Relaxed);
            let sum = off_thread(move || {
                computed.merge(shares(entities.iter().map(|(_, known)| &known.state)));
                computed
            });
            computed = sum.await.ok_or(LedgerError::Deadline)?;
            after = next;
            if after.is_none() {
                return Ok(computed);
            }
        }
    }

    /// Of some rows, those that a plan in flight moves; `None` if that is not known.
    async fn moved(
        &self,
        look: &Look,
        rows: HashSet<Key>,
        requests: &Requests,
    ) -> Result<Option<HashSet<Key>>, LedgerError> {
        let rows = Arc::new(rows);
        let in_flight = look.after.iter().filter_map(|(lane, after)| {
            let before = look.before.get(lane);
            let first = before.map_or(1, |before| before.seq + u64::from(!before.pending));
            let known = before.filter(|before| before.pending).into_iter().chain([after]).map(|cursor| &cursor.plan);
            (first <= after.seq).then(|| (lane, first..=after.seq, known.collect()))
        });
        let reads: Vec<_> = in_flight
            .map(|(lane, seqs, known)| self.moved_by(lane, seqs, known, Arc::clone(&rows), requests))
            .collect();
        let moved: Vec<_> = stream::iter(reads).buffer_unordered(DECODED).try_collect().await?;
        Ok(moved.into_iter().collect::<Option<Vec<_>>>().map(|moved| moved.into_iter().flatten().collect()))
    }

    /// The same for a lane's plans of some seqs, of which some are known by their ids.
    async fn moved_by(
        &self,
        lane: &LaneId,
        seqs: RangeInclusive<u64>,
        known: Vec<&PlanId>,
        rows: Arc<HashSet<Key>>,
        requests: &Requests,
    ) -> Result<Option<HashSet<Key>>, LedgerError> {
        let (mut moved, mut found, mut after) = (HashSet::new(), BTreeSet::new(), None);
        loop {
            let (plans, next) = requests.send(|| self.store.plans(lane, &seqs, after.as_ref())).await?;
            found.extend(plans.iter().map(|written| written.plan.clone()));
            let rows = Arc::clone(&rows);
            let page = off_thread(move || {
                let mut moved = HashSet::new();
                for WrittenPlan { body, .. } in plans {
                    moved.extend(touched(&Plan::decode(&body)?).filter(|key| rows.contains(key)));
                }
                Ok::<_, LedgerError>(moved)
            });
            moved.extend(page.await.ok_or(LedgerError::Deadline)??);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let of_seqs: BTreeSet<u64> = found.iter().filter_map(PlanId::seq).collect();
        let all = known.into_iter().all(|plan| found.contains(plan)) && seqs.clone().all(|seq| of_seqs.contains(&seq));
        if !all {
            tracing::warn!(%lane, ?seqs, "plans in flight are not there: no row that differs can be decided");
        }
        Ok(all.then_some(moved))
    }
}

fn is_of_entities(row: &Key) -> bool {
    view_of(row).is_some_and(|view| view.source != Source::Points)
}

/// What a row's view is reported under.
fn name_of(row: &Key) -> &'static str {
    view_of(row).map_or(NO_VIEW, |view| view.name)
}

/// The rows that a plan moves, be it only for a moment.
fn touched(plan: &Plan) -> impl Iterator<Item = Key> {
    let rows = effects(&plan.transitions);
    let mut keys: HashSet<Key> = rows.iter().map(|(key, _)| key.clone()).collect();
    keys.extend(plan.points.iter().map(|(key, _)| key.clone()));
    let tallies: HashSet<Key> = keys.iter().filter_map(ranking_of).map(|ranking| ranking.tally_row()).collect();
    keys.into_iter().chain(tallies)
}
