//! The fold: from changes and what is known to transitions, and from transitions to row deltas.

use smallvec::SmallVec;

use crate::rows::{Contribution, Map, Rows};
use crate::views::{Source, VIEWS, View, ranking_of, rankings};
use crate::{Change, Decimal, Key, Known, State, Transition, Version};

/// What a lane's changes come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// At most one step per entity, in the order of the entities' first appearance.
    pub transitions: Vec<Transition>,
    /// Changes that say nothing new: at or below the known version, or the same twice.
    pub duplicates: usize,
    /// Changes that claim another state before them than the one that was.
    pub contradictions: usize,
}

/// Folds changes over what is known of their entities: the highest version above the known one
/// wins, whatever the order, so a replay comes to nothing. What the newest record left out is
/// taken from the newest that tells it.
pub fn fold(changes: &[Change], known: &Map<Key, Known>) -> Fold {
    let mut groups: Map<&Key, usize> = Map::default();
    groups.reserve(changes.len());
    let mut entities: Vec<(Option<&Known>, SmallVec<[&Change; 2]>)> = Vec::with_capacity(changes.len());
    let (certain, hanging): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.told_by.is_none());
    let stands = |change: &&Change, newest: &Map<&Key, Version>| {
        change.told_by.as_deref().is_none_or(|(key, version)| {
            newest.get(key).is_some_and(|newest| *newest > Version::NONE && newest <= version)
        })
    };
    let newest = newest(&hanging, &certain, known);
    for change in certain.into_iter().chain(hanging.into_iter().filter(|change| stands(change, &newest))) {
        let at = *groups.entry(&change.key).or_insert_with(|| {
            entities.push((known.get(&change.key), SmallVec::new()));
            entities.len() - 1
        });
        if let Some((_, group)) = entities.get_mut(at) {
            group.push(change);
        }
    }
    let mut fold = Fold::default();
    fold.transitions.reserve(entities.len());
    for (known, mut group) in entities {
        // Stable: of equal versions, the first that arrived stays.
        group.sort_by_key(|change| change.version);
        let all = group.len();
        group.dedup_by_key(|change| change.version);
        fold.duplicates += (all - group.len()) * usize::from(counts(&group));
        fold.add(known, &group);
    }
    fold
}

/// Of the entities that some changes hang on, the newest version.
fn newest<'a>(hanging: &[&'a Change], certain: &[&'a Change], known: &Map<Key, Known>) -> Map<&'a Key, Version> {
    let keys = hanging.iter().filter_map(|change| Some(&change.told_by.as_deref()?.0));
    let mut newest: Map<&Key, Version> =
        keys.map(|key| (key, known.get(key).map_or(Version::NONE, |known| known.version))).collect();
    if !newest.is_empty() {
        for change in certain {
            newest.entry(&change.key).and_modify(|version| *version = change.version.max(*version));
        }
    }
    newest
}

/// Sightings come with events and repeat all day: they are no duplicates.
fn counts(group: &[&Change]) -> bool {
    group.first().is_some_and(|change| !change.state.is_sighting())
}

impl Fold {
    /// One entity's changes, in the order of their versions.
    fn add(&mut self, known: Option<&Known>, group: &[&Change]) {
        let first_new = group.partition_point(|change| known.is_some_and(|known| change.version <= known.version));
        let (old, new) = group.split_at_checked(first_new).unwrap_or((group, &[]));
        self.contradictions += contradictions(known, new);
        let partial = known.is_some_and(|known| !known.state.is_whole());
        let after = match new.last() {
            Some(newest) if newest.state.is_whole() => Some((newest.version, newest.state.clone())),
            None if !partial => None,
            _ => completed(known, old, new),
        };
        let Some(((version, after), change)) = after.zip(group.first()) else {
            self.duplicates += group.len() * usize::from(counts(group));
            return;
        };
        self.duplicates += old.len() * usize::from(counts(group));
        self.transitions.push(Transition {
            key: change.key.clone(),
            counter: known.map_or(0, |known| known.counter),
            version,
            before: known.map(|known| known.state.clone()),
            after,
        });
    }
}

/// The state that everything told so far comes to, if that is news.
fn completed(known: Option<&Known>, old: &[&Change], new: &[&Change]) -> Option<(Version, State)> {
    let mut all = old.iter().chain(new).map(|change| (change.version, &change.state));
    let mut sum = match known {
        Some(known) => (known.version, known.state.clone()),
        None => all.next().map(|(version, state)| (version, state.clone()))?,
    };
    for (version, state) in all {
        sum = if version > sum.0 {
            (version, state.merged(version, &sum.1, sum.0))
        } else {
            (sum.0, sum.1.merged(sum.0, state, version))
        };
    }
    (known.is_none_or(|known| known.version != sum.0 || known.state != sum.1)).then_some(sum)
}

fn contradictions(known: Option<&Known>, new: &[&Change]) -> usize {
    let mut before = known.map(|known| &known.state);
    let mut contradictions = 0;
    for change in new {
        let claimed = change.claimed.as_deref().zip(before);
        contradictions += usize::from(claimed.is_some_and(|(claimed, stored)| claimed.contradicts(stored)));
        before = Some(&change.state);
    }
    contradictions
}

/// What transitions do to the rows: the sum of `rows(after) - rows(before)`.
pub fn effects<'a>(transitions: impl IntoIterator<Item = &'a Transition>) -> Rows {
    let mut rows = Rows::default();
    let mut contribution = Contribution::default();
    for transition in transitions {
        if let Some(before) = &transition.before {
            contribute(before, contribution.leaving());
        }
        contribute(&transition.after, contribution.coming());
        contribution.settle(&mut rows);
    }
    rows
}

/// What states add up to: every row of entities is this sum over all of them, and every tally
/// counts the rows of its ranking that are there.
pub fn sum<'a>(states: impl IntoIterator<Item = &'a State>) -> Rows {
    let mut rows = added(states, VIEWS.iter());
    tally(&mut rows);
    rows
}

/// What some of the states add to the rows that can be recomputed, without the tallies: these are counted
/// when all are summed.
pub fn shares<'a>(states: impl IntoIterator<Item = &'a State>) -> Rows {
    added(states, VIEWS.iter().filter(|view| view.source != Source::Points))
}

fn added<'a>(states: impl IntoIterator<Item = &'a State>, views: impl Iterator<Item = &'static View> + Clone) -> Rows {
    let mut rows = Rows::default();
    let mut contribution = Contribution::default();
    for state in states {
        contribution.coming();
        views.clone().for_each(|view| (view.rows)(state, &mut contribution));
        contribution.settle(&mut rows);
    }
    rows
}

/// Counts every ranking's rows that are there.
pub fn tally(rows: &mut Rows) {
    for ranking in rankings() {
        let competing = rows.iter().filter(|(key, _)| ranking_of(key) == Some(ranking));
        let present = competing.filter(|(_, row)| ranking.is_present(row)).count();
        let present = Decimal::whole(i64::try_from(present).unwrap_or(i64::MAX));
        rows.add(ranking.tally_row(), &[(ranking.tally.1, present)]);
    }
}

fn contribute(state: &State, contribution: &mut Contribution) {
    for view in VIEWS {
        (view.rows)(state, contribution);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::Cell;
    use crate::order::Order;

    /// Where two records of one version say different things, the first that arrived stays: else each would
    /// undo the other whenever one of them comes again.
    #[test]
    fn of_equal_versions_the_stored_one_stays_column_by_column() {
        let version = Version { major: 1, minor: 0, tie: 0 };
        let order = |status: &str| {
            let (customer, total) = (Cell::told(Some("c".into())), Cell::told(Some(Decimal::whole(1))));
            let (status, day) = (Cell::told(Some(status.into())), Cell::untold());
            State::Order(Box::new(Order {
                id: "1".into(),
                deleted: false,
                customer,
                total,
                status,
                day,
                expires: None,
            }))
        };
        let key = Key::of("ORDER", "1", "STATE");
        let known = Map::from_iter([(key.clone(), Known { counter: 1, version, state: order("first") })]);
        let change = Change { key, version, state: order("second"), claimed: None, told_by: None };
        assert_eq!(fold(&[change], &known), Fold { transitions: vec![], duplicates: 1, contradictions: 0 });
    }
}
