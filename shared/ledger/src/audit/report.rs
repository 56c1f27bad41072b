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
    /// Whether it ended early, by an error or for want of time: what was found till then stands, and what was
    /// repaired since may be right without being said so.
    pub unfinished: bool,
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
    /// Of these, those that had drifted or cannot be read.
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
    /// Whether the row cannot be read, for this number.
    pub unreadable: bool,
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

    /// Rows that have drifted, or cannot be read, and were not repaired.
    pub fn remaining(&self) -> usize {
        let total = self.total();
        total.drifted - total.repaired
    }
}

/// What the rounds have found so far.
#[derive(Default)]
pub(super) struct Findings {
    rounds: usize,
    unfinished: bool,
    entities: usize,
    /// As the first round counted them.
    views: BTreeMap<&'static str, Audited>,
    /// The newest word on each row that is not just right, without those that the first round counted.
    unlike: BTreeMap<Key, Unlike>,
    /// As they were first found.
    drifted: BTreeMap<Key, (&'static str, Vec<Difference>)>,
}

impl Findings {
    pub(super) fn is_empty(&self) -> bool {
        self.rounds == 0
    }

    /// The rows that the next round looks at; `None` for all.
    pub(super) fn open(&self, repairing: bool) -> Option<HashSet<Key>> {
        let is_open = |row: &&Unlike| row.verdict == Verdict::Undecided || (repairing && row.has_drifted());
        let mut open: HashSet<Key> = self.unlike.values().filter(is_open).map(|row| row.key.clone()).collect();
        // A plan that came before the repair may have found a row's coming and going from what it was.
        let tallies: Vec<Key> = open.iter().filter_map(ranking_of).map(Ranking::tally_row).collect();
        open.extend(tallies);
        (!self.is_empty()).then_some(open)
    }

    pub(super) fn are_open(&self, repairing: bool) -> bool {
        self.open(repairing).is_none_or(|open| !open.is_empty())
    }

    pub(super) fn drifted(&self) -> Vec<&Unlike> {
        self.unlike.values().filter(|row| row.has_drifted()).collect()
    }

    /// Takes what a round found of the rows that were open.
    pub(super) fn add(&mut self, compared: Compared, open: Option<&HashSet<Key>>, entities: usize) {
        self.rounds += 1;
        self.entities = entities;
        let mut news = HashSet::new();
        match open {
            None => self.views = compared.views,
            Some(open) => news.extend(open.iter().filter(|key| self.unlike.remove(*key).is_none())),
        }
        for row in compared.unlike {
            // A tally that was looked at for its rows' sake was counted in the first round.
            if row.differences().is_empty() && row.verdict != Verdict::Undecided && news.contains(&row.key) {
                continue;
            }
            if !row.differences().is_empty() {
                self.drifted.entry(row.key.clone()).or_insert_with(|| (row.view, row.differences().to_vec()));
            }
            self.unlike.insert(row.key.clone(), row);
        }
    }

    pub(super) fn leave_unfinished(&mut self) {
        self.unfinished = true;
    }

    pub(super) fn into_audit(self, spent: Spent) -> Audit {
        let mut audit = Audit {
            rounds: self.rounds,
            unfinished: self.unfinished,
            entities: self.entities,
            views: self.views,
            drift: Vec::new(),
            requests: spent.requests,
            read_units: spent.units.read,
            write_units: spent.units.write,
        };
        for row in self.unlike.values() {
            let view = audit.views.entry(row.view).or_default();
            match row.verdict {
                Verdict::Skipped => view.skipped += 1,
                Verdict::Forgotten => view.forgotten += 1,
                Verdict::Undecided => view.undecided += 1,
                Verdict::Drifted(_) | Verdict::Unreadable(_) => {}
            }
        }
        for (key, (view, differences)) in &self.drifted {
            let verdict = self.unlike.get(key).map(|row| &row.verdict);
            let unreadable = matches!(verdict, Some(Verdict::Unreadable(_)));
            let repaired = !unreadable && !matches!(verdict, Some(Verdict::Drifted(_) | Verdict::Undecided));
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
                unreadable,
            }));
        }
        audit
    }
}
