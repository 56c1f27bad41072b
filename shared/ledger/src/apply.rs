//! Steps 5 to 7: applying a plan that the cursor names, by whoever finds it.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::{Key, Map, Transition};

use crate::requests::Requests;
use crate::rows::apply_rows;
use crate::{LaneId, LaneStats, LedgerError, Marks, Options, Plan, PlanId, Store, StoreError, Written, off_thread};

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Its share is in the rows.
    Done {
        /// Transitions that applied, now or before.
        entities: usize,
        /// Rows that changed, now or before.
        rows: usize,
        /// Windows past their retention, left as they are or gone.
        late: usize,
        /// Transitions that another lane forestalled: they will never apply.
        conflicts: usize,
    },
    /// Another invocation has finished it and the lane has moved on: what was seen here says
    /// nothing, start again.
    Overtaken,
}

/// As whose and which plan something is applied, and when.
pub(crate) struct Applying<'a, S> {
    pub(crate) store: &'a S,
    pub(crate) requests: &'a Requests,
    pub(crate) options: &'a Options,
    pub(crate) lane: &'a LaneId,
    pub(crate) seq: u64,
    pub(crate) plan: &'a PlanId,
    pub(crate) now_ms: i64,
}

/// Applies a plan as its lane's `seq`. Safe to repeat, at any time, beside others.
pub(crate) async fn apply<S: Store>(applying: Applying<'_, S>, plan: Arc<Plan>) -> Result<Applied, LedgerError> {
    let Applying { store, requests, options, lane, seq, plan: id, now_ms } = applying;
    // Collected first: a closure inside a stream would keep the future from being `Send`.
    let writes: Vec<_> = plan
        .transitions
        .chunks(S::WRITE_ENTITIES)
        .map(|transitions| write_entities(store, requests, lane, seq, transitions))
        .collect();
    let marks: Vec<Vec<u64>> = stream::iter(writes).buffered(options.concurrency).try_collect().await?;
    let marks: Vec<u64> = marks.into_iter().flatten().collect();
    if marks.iter().any(|mark| *mark > seq) {
        return Ok(Applied::Overtaken);
    }
    let entities = marks.iter().filter(|mark| **mark == seq).count();
    let conflicts: Vec<usize> = marks.iter().enumerate().filter(|(_, mark)| **mark < seq).map(|(at, _)| at).collect();
    // Whoever comes this far finds the same, so it may be written again; once the lane has moved on, none can.
    if !conflicts.is_empty() {
        let expires_s = options.plan_expires_s(now_ms);
        requests.send(|| store.write_conflicts(lane, id, &conflicts, expires_s)).await?;
    }
    let sums = move || {
        let applied = plan.transitions.iter().zip(marks).filter(|(_, mark)| *mark == seq);
        let mut deltas = plan.deltas(applied.map(|(transition, _)| transition));
        // A window that may be gone must not come back with this share alone.
        let all = deltas.len();
        deltas.retain(|(_, delta)| delta.is_kept(now_ms));
        let late = all - deltas.len();
        (deltas, late)
    };
    let (deltas, late) = off_thread(sums).await.ok_or(LedgerError::Deadline)?;
    let Some(rows) = apply_rows(&applying, deltas).await? else { return Ok(Applied::Overtaken) };
    let (took, units) = requests.lap();
    let stats = LaneStats::of_plan(conflicts.len(), units, took);
    requests.send(|| store.finish(lane, seq, &stats)).await?;
    Ok(Applied::Done { entities, rows, late, conflicts: conflicts.len() })
}

/// Step 5 for one request's worth of transitions: the lane's mark on each entity afterwards. Equal
/// to `seq` it applied; above, the lane has moved on; below, it never will.
async fn write_entities<S: Store>(
    store: &S,
    requests: &Requests,
    lane: &LaneId,
    seq: u64,
    transitions: &[Transition],
) -> Result<Vec<u64>, LedgerError> {
    let mut marks: Map<&Key, u64> = Map::default();
    let mut unseen: Vec<Key> = Vec::new();
    let mut waiting: Vec<&Transition> = transitions.iter().collect();
    let mut waits = requests.waits();
    while !waiting.is_empty() {
        let answers = match requests.send_once(store.write_entities(lane, seq, &waiting)).await? {
            Ok(answers) => answers,
            Err(error) => {
                waits.before_next(error).await?;
                continue;
            }
        };
        let mut again = Vec::new();
        for (transition, written) in waiting.into_iter().zip(answers) {
            match written {
                Written::Applied => {
                    marks.insert(&transition.key, seq);
                }
                Written::Refused { mark } => {
                    marks.insert(&transition.key, mark);
                }
                Written::Unseen => unseen.push(transition.key.clone()),
                Written::Unprocessed => again.push(transition),
            }
        }
        waiting = again;
        if !waiting.is_empty() {
            waits.before_next(partly_throttled("BatchExecuteStatement")).await?;
        }
    }
    let seen = read_marks(store, requests, unseen).await?;
    let own = |marks: Marks| marks.into_iter().find(|(of, _)| of == lane).map_or(0, |(_, mark)| mark);
    let seen: Map<Key, u64> = seen.into_iter().map(|(key, marks)| (key, own(marks))).collect();
    let mark = |key: &Key| marks.get(key).or_else(|| seen.get(key)).copied().unwrap_or(0);
    Ok(transitions.iter().map(|transition| mark(&transition.key)).collect())
}

/// The marks on entities, as many as one request may ask for.
pub(crate) async fn read_marks<S: Store>(
    store: &S,
    requests: &Requests,
    mut keys: Vec<Key>,
) -> Result<Vec<(Key, Marks)>, LedgerError> {
    let mut marks = Vec::new();
    let mut waits = requests.waits();
    while !keys.is_empty() {
        let page = requests.send(|| store.read_marks(&keys)).await?;
        marks.extend(page.found);
        keys = page.unprocessed;
        if !keys.is_empty() {
            waits.before_next(partly_throttled("BatchGetItem")).await?;
        }
    }
    Ok(marks)
}

/// A batch request that was answered for some of its members only.
pub(crate) fn partly_throttled(operation: &'static str) -> StoreError {
    StoreError::Throttled {
        operation,
        table: "state".to_owned(),
        source: "some members of the batch were throttled or failed in the service".into(),
    }
}
