//! The fold: from changes and what is known to transitions, and from transitions to row deltas.

use smallvec::SmallVec;

use crate::rows::{Contribution, Map, Rows};
use crate::views::VIEWS;
use crate::{Change, Key, Known, State, Transition};

/// What a lane's changes come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// At most one step per entity, in the order of the entities' first appearance.
    pub transitions: Vec<Transition>,
    /// Changes that say nothing new: at or below the known version, or the same twice.
    pub duplicates: usize,
}

/// Folds changes over what is known of their entities: the highest version above the known one
/// wins, whatever the order, so a replay comes to nothing.
pub fn fold(changes: &[Change], known: &Map<Key, Known>) -> Fold {
    let mut groups: Map<&Key, usize> = Map::default();
    groups.reserve(changes.len());
    let mut entities: Vec<(Option<&Known>, SmallVec<[&Change; 2]>)> = Vec::with_capacity(changes.len());
    for change in changes {
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
        let all = group.len();
        group.retain(|change| known.is_none_or(|known| change.version > known.version));
        group.sort_unstable_by_key(|change| change.version);
        group.dedup_by_key(|change| change.version);
        fold.duplicates += all - group.len();
        let Some(newest) = group.last() else { continue };
        fold.transitions.push(Transition {
            key: newest.key.clone(),
            counter: known.map_or(0, |known| known.counter),
            version: newest.version,
            before: known.map(|known| known.state.clone()),
            after: newest.state.clone(),
        });
    }
    fold
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

/// What states add up to: every row of entities is this sum over all of them.
pub fn sum<'a>(states: impl IntoIterator<Item = &'a State>) -> Rows {
    let mut rows = Rows::default();
    let mut contribution = Contribution::default();
    for state in states {
        contribute(state, contribution.coming());
        contribution.settle(&mut rows);
    }
    rows
}

fn contribute(state: &State, contribution: &mut Contribution) {
    for view in VIEWS {
        (view.rows)(state, contribution);
    }
}
