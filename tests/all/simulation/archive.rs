//! Archives: cuts that are taken beside all that happens, and what comes of them when they are restored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use aggregate::Aggregate;
use futures_util::future::{ready, try_join};
use tidemark_archive::Quarantine;
use tidemark_ledger::{
    Answer, Call, Cursors, LaneId, Ledger, LedgerError, Logged, Options, Plan, Redo, Rest, Row, Segment, Store,
};
use tidemark_model::fold::{effects, sum};
use tidemark_model::{Key, Known, Measures, Rows, Settings};
use tidemark_runtime::telemetry::chain;
use tidemark_tests::arbitrary::Sent;
use tidemark_tests::memory::MemoryStore;

use super::check::{everything_is_true, same_rows};
use super::reach::Reach;
use super::source::{Partition, broken, everything};
use super::world::{Committed, Without, World};

/// What an archive has read.
pub(super) struct Archived {
    entities: Vec<(Key, Known)>,
    rows: Vec<(Key, Row)>,
    log: Vec<Logged>,
    end: Cursors,
}

/// What an archive comes to.
struct Carried {
    entities: Vec<(Key, Known)>,
    rows: Vec<(Key, Measures)>,
}

/// Takes a cut, page by page.
pub(super) async fn archive(ledger: &Ledger<Reach>, call: Call) -> Result<Archived, LedgerError> {
    let cut = ledger.begin_cut(call).await?;
    let (rows, entities) = try_join(rows(ledger.store()), entities(ledger.store())).await?;
    let log = Mutex::new(Vec::new());
    let sink = |page: Vec<Logged>| {
        log.lock().unwrap_or_else(PoisonError::into_inner).extend(page);
        ready(Ok::<(), LedgerError>(()))
    };
    let end = ledger.end_cut(&cut, call, sink).await?;
    Ok(Archived { entities, rows, log: log.into_inner().unwrap_or_else(PoisonError::into_inner), end })
}

async fn rows(store: &Reach) -> Result<Vec<(Key, Row)>, LedgerError> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = again(|| store.rows(Segment::WHOLE, after.as_ref())).await?;
        rows.extend(page.into_iter().map(|(key, row)| (key, row.unwrap())));
        after = next;
        if after.is_none() {
            return Ok(rows);
        }
    }
}

async fn entities(store: &Reach) -> Result<Vec<(Key, Known)>, LedgerError> {
    let (mut entities, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = again(|| store.states(Segment::WHOLE, after.as_ref())).await?;
        entities.extend(page);
        after = next;
        if after.is_none() {
            return Ok(entities);
        }
    }
}

/// Asks as often as a request of the ledger's.
async fn again<T, F: Future<Output = Answer<T>>>(request: impl Fn() -> F) -> Result<T, LedgerError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match request().await {
            Ok(answer) => return Ok(answer.value),
            Err(error) if error.is_retryable() && attempts < 4 => {}
            Err(source) => return Err(LedgerError::Store { attempts, source }),
        }
    }
}

impl Archived {
    fn carried(&self) -> Carried {
        let mut redo = Redo::default();
        redo.extend(self.log.iter().cloned());
        let scanned = self.entities.iter().cloned();
        let mut entities: Vec<_> = scanned.map(|(key, known)| (key.clone(), redo.entity(&key, known))).collect();
        let scanned = self.rows.iter().cloned();
        let mut rows: Vec<_> = scanned.filter_map(|(key, row)| Some((key.clone(), redo.row(&key, row)?))).collect();
        let rest: Rest = redo.rest();
        entities.extend(rest.entities);
        rows.extend(rest.rows);
        Carried { entities, rows }
    }

    fn holds(&self, lane: &LaneId, seq: u64) -> bool {
        self.end.get(lane).is_some_and(|end| seq <= end.seq)
    }

    /// I1 of the cut: its rows are the sums over its entities, and the points up to its lanes' `through`s.
    pub(super) fn is_exact(&self, world: &World, now_ms: i64) {
        assert!(self.end.values().all(|cursor| !cursor.pending), "an end is pending");
        let Carried { entities, rows } = self.carried();
        let states = entities.iter().map(|(_, known)| &known.state);
        let mut expected = sum(states.chain(world.forgotten.values()));
        expected.merge(self.committed(world).flat_map(|committed| committed.plan.points.iter().cloned()).collect());
        same_rows(rows, expected, now_ms, "I1 of a cut");
    }

    /// The plans of a world up to its end.
    fn committed<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a Committed> {
        world.committed.iter().filter(|committed| self.holds(&committed.lane, committed.seq))
    }

    /// What there was about it.
    pub(super) fn met(&self, world: &World) -> BTreeSet<&'static str> {
        let mut met = BTreeSet::from(["a cut"]);
        let plans: BTreeMap<_, _> = world.committed.iter().map(|plan| ((&plan.lane, plan.seq), &plan.plan)).collect();
        let scanned: BTreeMap<&Key, &Row> = self.rows.iter().map(|(key, row)| (key, row)).collect();
        for Logged { lane, seq, plan } in &self.log {
            if !self.holds(lane, *seq) {
                met.insert("a cut that was lent to");
                continue;
            }
            if plan.transitions.len() < plans[&(lane, *seq)].transitions.len() {
                met.insert("a cut without conflicts");
            }
            let mut rows: Rows = effects(&plan.transitions);
            rows.merge(plan.points.iter().cloned().collect());
            let is_seen = |key: &Key| {
                let marks = scanned.get(key).map_or(&[][..], |row| &row.marks);
                marks.iter().any(|(of, mark)| of == lane && mark >= seq)
            };
            let seen: BTreeSet<bool> = rows.into_sorted().iter().map(|(key, _)| is_seen(key)).collect();
            if seen.len() == 2 {
                met.insert("a cut through a plan");
            }
        }
        met
    }

    /// Restored, and with everything delivered once more, it comes to the truth.
    pub(super) async fn restores(
        &self,
        world: &Mutex<World>,
        options: Options,
        settings: &Settings,
        partitions: &[Partition],
        sent: &[Sent],
    ) {
        let Carried { entities, rows } = self.carried();
        let call = Call { now_ms: settings.now_ms, deadline: None };
        let mut restored = World::new(Without::Nothing);
        let ledger = Ledger::new(restored.store.clone(), options);
        ledger.begin_restore(&self.end, call).await.unwrap();
        ledger.restore_entities(&entities, call).await.unwrap();
        ledger.restore_rows(&rows, call).await.unwrap();
        ledger.refresh_rankings(call).await.unwrap();
        let function = Aggregate::new(ledger, Quarantine::new(restored.objects.clone(), 0), settings.clone());
        let (_, outcome) = function.handle(everything(partitions), call).await;
        outcome.unwrap_or_else(|error| panic!("what was restored does not go on: {}", chain(&error)));
        for (origin, record) in broken(partitions) {
            function.ledger.redrive(&origin, record, settings, call).await.unwrap();
        }
        {
            let world = world.lock().unwrap_or_else(PoisonError::into_inner);
            restored.forgotten = world.forgotten.clone();
            restored.committed = self.committed(&world).cloned().chain(written(&restored.store)).collect();
        }
        everything_is_true(&restored, partitions, sent, settings);
    }
}

/// All plans of a store where none was refused.
fn written(store: &MemoryStore) -> Vec<Committed> {
    let items = store.items();
    let plans = items.plans.iter().map(|((lane, plan), body)| Committed {
        lane: lane.clone(),
        seq: plan.seq().unwrap(),
        plan: Plan::decode(body).unwrap(),
        through: None,
    });
    plans.collect()
}
