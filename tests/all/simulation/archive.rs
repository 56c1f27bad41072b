//! What must hold of the cuts that archives take beside all that happens, and of what is restored from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use aggregate::Aggregate;
use tidemark_archive::Quarantine;
use tidemark_ledger::{Call, LaneId, Ledger, Logged, Options, Plan, Row};
use tidemark_model::fold::{effects, sum};
use tidemark_model::{Key, Rows, Settings};
use tidemark_runtime::telemetry::chain;
use tidemark_tests::arbitrary::Sent;
use tidemark_tests::archived::{Archived, Carried};
use tidemark_tests::memory::MemoryStore;

use super::check::{everything_is_true, same_rows};
use super::http::Posted;
use super::source::{Partition, broken, everything};
use super::world::{Committed, Without, World};

/// I1 of a cut: its rows are the sums over its entities, and the points up to its lanes' `through`s.
pub(super) fn cut_is_exact(archived: &Archived, world: &World, now_ms: i64) {
    assert!(archived.end.values().all(|cursor| !cursor.pending), "an end is pending");
    let Carried { entities, rows, .. } = archived.carried();
    let states = entities.iter().map(|(_, known)| &known.state);
    let mut expected = sum(states.chain(world.forgotten.values()));
    let points = committed(archived, world).flat_map(|committed| committed.plan.points.iter().cloned());
    expected.merge(points.collect());
    same_rows(rows, expected, now_ms, "I1 of a cut");
}

/// The plans of a world up to a cut's end.
fn committed<'a>(archived: &'a Archived, world: &'a World) -> impl Iterator<Item = &'a Committed> {
    world.committed.iter().filter(|committed| holds(archived, &committed.lane, committed.seq))
}

fn holds(archived: &Archived, lane: &LaneId, seq: u64) -> bool {
    archived.end.get(lane).is_some_and(|end| seq <= end.seq)
}

/// What there was about a cut.
pub(super) fn met(archived: &Archived, world: &World) -> BTreeSet<&'static str> {
    let mut met = BTreeSet::from(["a cut"]);
    let plans: BTreeMap<_, _> = world.committed.iter().map(|plan| ((&plan.lane, plan.seq), &plan.plan)).collect();
    let scanned: BTreeMap<&Key, &Row> = archived.rows.iter().map(|(key, row)| (key, row)).collect();
    for Logged { lane, seq, plan } in &archived.log {
        if !holds(archived, lane, *seq) {
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

/// Restored, and with everything delivered once more, a cut comes to the truth.
pub(super) async fn cut_restores(
    archived: &Archived,
    world: &Mutex<World>,
    options: Options,
    settings: &Settings,
    partitions: &[Partition],
    requests: &[Posted],
    sent: &[Sent],
) {
    let call = Call { now_ms: settings.now_ms, deadline: None };
    let mut restored = World::new(Without::Nothing);
    let ledger = Ledger::new(restored.store.clone(), options);
    archived.carried().restore(&ledger, call).await.unwrap();
    let function = Aggregate::new(ledger, Quarantine::new(restored.objects.clone(), 0), settings.clone());
    let (_, outcome) = function.handle(everything(partitions), call).await;
    outcome.unwrap_or_else(|error| panic!("what was restored does not go on: {}", chain(&error)));
    for request in requests {
        let (_, outcome) = function.ledger.ingest(request.changes(settings), settings.max_tag_sets, call).await;
        outcome.unwrap();
    }
    for (origin, record) in broken(partitions) {
        function.ledger.redrive(&origin, record, settings, call).await.unwrap();
    }
    {
        let world = world.lock().unwrap_or_else(PoisonError::into_inner);
        restored.forgotten = world.forgotten.clone();
        restored.committed = committed(archived, &world).cloned().chain(written(&restored.store)).collect();
    }
    everything_is_true(&restored, partitions, requests, sent, settings);
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
