//! What an audit found, over its rounds.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use tidemark_model::views::{Ranking, ranking_of};
use tidemark_model::{Decimal, Key};

use super::compare::{Compared, Difference, Unlike, Verdict};
use crate::requests::Spent;

/// Drifted numbers that are listed; all are counted.
const LISTED: usize = 100;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// Looks at the tables that it took.
    pub rounds: usize,
    /// Entities that were summed.
    pub entities: usize,
    /// By view.
    pub views: BTreeMap<&'static str, Audited>,
    /// The first hundred numbers that have drifted, in the order of their rows' keys.
    pub drift: Vec<Drift>,
    /// Requests sent, retries included.
    pub requests: usize,
    /// Read request units consumed.
    pub read_units: f64,
    /// Write request units consumed.
    pub write_units: f64,
}

/// How the rows of one view were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Rows that there are, or should be.
    pub rows: usize,
    /// Of these, those that had drifted.
    pub drifted: usize,
    /// Of those that had drifted, those that were repaired and found right then.
    pub repaired: usize,
    /// Rows that were moved by plans at each look, or since they were found drifted.
    pub undecided: usize,
    /// Rows that cannot be recomputed.
    pub skipped: usize,
    /// Rows that hold more than the entities that are left: what these forgot, or drift.
    pub forgotten: usize,
}

/// A number that has drifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Its row's view.
    pub view: &'static str,
    /// The row's partition key.
    pub pk: String,
    /// The row's sort key.
    pub sk: String,
    /// Its name; `rank` is the row's place in a ranking's index.
    pub measure: String,
    /// What was there, if anything.
    pub stored: Option<Decimal>,
    /// What should be.
    pub recomputed: Option<Decimal>,
    /// Whether it was repaired and found right then.
    pub repaired: bool,
}

impl Audit {
    /// The sums over all views.
    pub fn total(&self) -> Audited {
        let mut total = Audited::default();
        for view in self.views.values() {
            total.rows += view.rows;
            total.drifted += view.drifted;
            total.repaired += view.repaired;
            total.undecided += view.undecided;
            total.skipped += view.skipped;
            total.forgotten += view.forgotten;
        }
        total
    }

    /// Rows that have drifted and were not repaired.
    pub fn remaining(&self) -> usize {
        let total = self.total();
        total.drifted - total.repaired
    }
}

/// What the rounds have found so far.
#[derive(Default)]
pub(super) struct Findings {
    rounds: usize,
    entities: usize,
    rows: BTreeMap<&'static str, usize>,
    /// The newest word on each row that is not just right.
    unlike: BTreeMap<Key, Unlike>,
    /// As they were first found.
    drifted: BTreeMap<Key, (&'static str, Vec<Difference>)>,
}

impl Findings {
    /// The rows that the next round looks at; `None` for all.
    pub(super) fn open(&self, repairing: bool) -> Option<HashSet<Key>> {
        let is_open = |row: &&Unlike| row.verdict == Verdict::Undecided || (repairing && row.has_drifted());
        let mut open: HashSet<Key> = self.unlike.values().filter(is_open).map(Unlike::key).collect();
        // A plan that came before the repair may have found a row's coming and going from what it was.
        let tallies: Vec<Key> = open.iter().filter_map(ranking_of).map(Ranking::tally_row).collect();
        open.extend(tallies);
        (self.rounds > 0).then_some(open)
    }

    pub(super) fn are_open(&self, repairing: bool) -> bool {
        self.open(repairing).is_none_or(|open| !open.is_empty())
    }

    /// Takes what a round found of the rows that were open.
    pub(super) fn add(&mut self, compared: Compared, open: Option<&HashSet<Key>>, entities: usize) {
        self.rounds += 1;
        self.entities = entities;
        match open {
            None => self.rows = compared.rows,
            Some(open) => self.unlike.retain(|key, _| !open.contains(key)),
        }
        for row in compared.unlike {
            if row.has_drifted() {
                self.drifted.entry(row.key()).or_insert_with(|| (row.view, row.differences().to_vec()));
            }
            self.unlike.insert(row.key(), row);
        }
    }

    pub(super) fn into_audit(self, spent: Spent) -> Audit {
        let mut audit = Audit {
            rounds: self.rounds,
            entities: self.entities,
            requests: spent.requests,
            read_units: spent.units.read,
            write_units: spent.units.write,
            ..Audit::default()
        };
        for (view, rows) in self.rows {
            audit.views.insert(view, Audited { rows, ..Audited::default() });
        }
        let is_right = |key: &Key| {
            let verdict = self.unlike.get(key).map(|row| &row.verdict);
            !matches!(verdict, Some(Verdict::Drifted(_) | Verdict::Undecided))
        };
        for row in self.unlike.values() {
            let view = audit.views.entry(row.view).or_default();
            match row.verdict {
                Verdict::Skipped => view.skipped += 1,
                Verdict::Forgotten => view.forgotten += 1,
                Verdict::Undecided => view.undecided += 1,
                Verdict::Drifted(_) => {}
            }
        }
        for (key, (view, differences)) in &self.drifted {
            let repaired = is_right(key);
            let counts = audit.views.entry(view).or_default();
            counts.drifted += 1;
            counts.repaired += usize::from(repaired);
            let room = LISTED.saturating_sub(audit.drift.len());
            audit.drift.extend(differences.iter().take(room).map(|difference| Drift {
                view,
                pk: key.pk.to_string(),
                sk: key.sk.to_string(),
                measure: difference.measure.to_string(),
                stored: difference.stored,
                recomputed: difference.recomputed,
                repaired,
            }));
        }
        audit
    }
}
