//! Step 6: adding to rows, and what follows from what they read then.
//!
//! Rows that compete in a ranking feed a tally: the number of them that are there. Each keeps what
//! it read before the lane's newest addition, so that whoever applies the plan, now or again, finds
//! the same: whether the plan made the row appear or vanish. Additions to one row come one after the
//! other, so these findings, summed over all plans, are the rows that are there. The tally's row is
//! therefore added to last.
//!
//! Least and greatest values and places in an index do not add. They are set by conditional writes of
//! their own, which may be repeated, only where the row's answer shows the need. The last addition's
//! answer shows the row as it stays, and a write by an earlier one is refused or sets the same.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_model::rows::Combine;
use tidemark_model::views::{Ranking, ranking_of, rankings};
use tidemark_model::{Decimal, Key, Measures, Rows};

use crate::apply::Applying;
use crate::{Floor, LedgerError, Row, Store};

/// A ranking's index holds this many times the rows that its top must show, at least, when a floor
/// is set: so many may fall below it before the top lacks one.
pub(crate) const SLACK: usize = 2;

/// Adds to rows; how many there were, or `None` if the lane has moved on.
pub(crate) async fn apply_rows<S: Store>(
    applying: &Applying<'_, S>,
    deltas: Vec<(Key, Measures)>,
) -> Result<Option<usize>, LedgerError> {
    let tallies = |key: &Key| rankings().any(|ranking| ranking.tally_row() == *key);
    let (tallied, first): (Vec<_>, Vec<_>) = deltas.into_iter().partition(|(key, _)| tallies(key));
    let Some(answers) = add(applying, &first).await? else { return Ok(None) };
    let mut last: Rows = tallied.into_iter().collect();
    for ((key, delta), row) in first.iter().zip(&answers) {
        if let Some((ranking, row)) = ranking_of(key).zip(row.as_ref()) {
            last.add(ranking.tally_row(), &[(ranking.tally.1, appeared(ranking, row, delta))]);
        }
    }
    let last = last.into_sorted();
    if add(applying, &last).await?.is_none() {
        return Ok(None);
    }
    set_extremes(applying, &first, &answers).await?;
    set_ranks(applying, &first, &answers).await?;
    Ok(Some(first.len() + last.len()))
}

/// Adds to each row; the rows that were answered, or `None` if one shows that the lane has moved on.
async fn add<S: Store>(
    applying: &Applying<'_, S>,
    deltas: &[(Key, Measures)],
) -> Result<Option<Vec<Option<Row>>>, LedgerError> {
    let Applying { store, requests, options, lane, seq, .. } = *applying;
    let adds: Vec<_> = deltas
        .iter()
        .map(|(key, delta)| requests.send(move || store.add_row(lane, seq, key, delta, ranking_of(key))))
        .collect();
    let rows: Vec<Option<Row>> = stream::iter(adds).buffered(options.concurrency).try_collect().await?;
    Ok(rows.iter().flatten().all(|row| row.mark <= seq).then_some(rows))
}

/// One if the lane's newest addition made the row appear, minus one if it made it vanish.
fn appeared(ranking: &Ranking, row: &Row, delta: &Measures) -> Decimal {
    let there = |n: Decimal| i64::from(n > Decimal::ZERO);
    Decimal::whole(there(row.before.plus(delta.get(ranking.present))) - there(row.before))
}

async fn set_extremes<S: Store>(
    applying: &Applying<'_, S>,
    deltas: &[(Key, Measures)],
    rows: &[Option<Row>],
) -> Result<(), LedgerError> {
    let Applying { store, requests, options, .. } = *applying;
    let mut writes = Vec::new();
    for ((key, delta), row) in deltas.iter().zip(rows) {
        let Some(row) = row else { continue };
        for name in ["min", "max"] {
            let Some(value) = delta.find(name) else { continue };
            let beyond = |stored| Combine::of(name).apply(stored, value) != stored;
            if row.measures.find(name).is_none_or(beyond) {
                writes.push(requests.send(move || store.set_extreme(key, name, value)));
            }
        }
    }
    stream::iter(writes).buffer_unordered(options.concurrency).try_for_each(|_| async { Ok(()) }).await
}

/// Gives rows their places: those that reach the floor. Where this plan alone shows more than enough
/// rows above it, the floor is raised first.
async fn set_ranks<S: Store>(
    applying: &Applying<'_, S>,
    deltas: &[(Key, Measures)],
    rows: &[Option<Row>],
) -> Result<(), LedgerError> {
    let Applying { store, requests, options, .. } = *applying;
    let mut competing: BTreeMap<&str, Vec<(&Key, &Row)>> = BTreeMap::new();
    for ((key, _), row) in deltas.iter().zip(rows) {
        if let Some((ranking, row)) = ranking_of(key).zip(row.as_ref()) {
            competing.entry(ranking.board).or_default().push((key, row));
        }
    }
    let mut writes = Vec::new();
    for ranking in rankings() {
        let Some(rows) = competing.remove(ranking.board) else { continue };
        // Read after the additions: a floor that is lowered later is followed by a look at all rows.
        let mut floor = requests.send(|| store.read_floor(ranking)).await?;
        if let Some(higher) = higher_floor(ranking, &rows, floor, SLACK * options.top) {
            let raised = Floor { floor: Some(higher), shown: floor.shown.max(Some(higher)), ..floor };
            if requests.send(|| store.set_floor(ranking, floor, raised)).await? {
                floor = raised;
            }
        }
        for (key, row) in rows {
            if let Some(rank) = new_rank(ranking, row, floor) {
                writes.push(requests.send(move || store.set_rank(key, ranking, row, rank)));
            }
        }
    }
    stream::iter(writes).buffer_unordered(options.concurrency).try_for_each(|_| async { Ok(()) }).await
}

/// The place that a row must be given, if another than it has: `Some(None)` is no place.
pub(crate) fn new_rank(ranking: &Ranking, row: &Row, floor: Floor) -> Option<Option<Decimal>> {
    let by = row.measures.get(ranking.by);
    let present = ranking.is_present(&row.measures);
    if present && floor.floor.is_none_or(|floor| by >= floor) {
        return (row.rank != Some(by)).then_some(Some(by));
    }
    // A row that a raised floor left in its place is right there; it only is no longer needed.
    let wrong = row.rank.is_some_and(|rank| !present || rank != by);
    wrong.then_some(None)
}

/// The floor that enough rows of one plan reach, where that is above the present one.
fn higher_floor(ranking: &Ranking, rows: &[(&Key, &Row)], floor: Floor, enough: usize) -> Option<Decimal> {
    let present = rows.iter().filter(|(_, row)| ranking.is_present(&row.measures));
    let mut values: Vec<Decimal> = present.map(|(_, row)| row.measures.get(ranking.by)).collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    let reached = values.get(enough.checked_sub(1)?).filter(|_| values.len() > enough)?;
    floor.floor.is_none_or(|floor| *reached > floor).then_some(*reached)
}
