//! Comparing rows with what entities add up to.
//!
//! Sums alone are compared. A TTL is the newest word, and only rows of points have a least and a greatest
//! value. Some rows hold more than the entities that are left, and what was forgotten is not known:
//! there, less than these say is drift, and more is *forgotten*, or drift. Some have another source, and some
//! are about to expire, and their entities may have: these are *skipped*.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use compact_str::CompactString;
use tidemark_model::rows::Combine;
use tidemark_model::time::DAY_MS;
use tidemark_model::views::{Source, View, ranking_of, view_of};
use tidemark_model::{Decimal, Key, Measures};

use super::Look;
use crate::{Floor, Row};

/// A window's events expire up to its length before its row: a day, which may have 25 hours. And clocks may
/// differ.
const EXPIRING_MS: i64 = DAY_MS + DAY_MS / 12;

/// The name of what places a row in a ranking's index.
pub(super) const RANK: &str = "rank";

/// What rows of no view are reported under: records that were set aside are counted there.
const NO_VIEW: &str = "(rejects)";

/// What a comparison goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) now_ms: i64,
    pub(super) tombstones_kept: bool,
}

/// What comparing all rows comes to.
pub(super) struct Compared {
    /// Rows by view.
    pub(super) rows: BTreeMap<&'static str, usize>,
    /// Those that are not just right.
    pub(super) unlike: Vec<Unlike>,
}

/// A row that is not just right.
pub(super) struct Unlike {
    pub(super) key: Key,
    pub(super) view: &'static str,
    pub(super) verdict: Verdict,
}

/// What is to be said of a row that is not just right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It cannot be recomputed.
    Skipped,
    /// It holds more than the entities that are left, as it may.
    Forgotten,
    /// A plan moved it meanwhile.
    Undecided,
    /// It is wrong in these numbers.
    Drifted(Vec<Difference>),
}

/// A number of a row that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) measure: CompactString,
    /// None is as good as zero, but for a place in an index.
    pub(super) stored: Option<Decimal>,
    pub(super) recomputed: Option<Decimal>,
}

impl Unlike {
    pub(super) fn key(&self) -> Key {
        self.key.clone()
    }

    pub(super) fn has_drifted(&self) -> bool {
        matches!(self.verdict, Verdict::Drifted(_))
    }

    pub(super) fn leave_undecided(&mut self) {
        if self.has_drifted() {
            self.verdict = Verdict::Undecided;
        }
    }

    pub(super) fn differences(&self) -> &[Difference] {
        match &self.verdict {
            Verdict::Drifted(differences) => differences,
            _ => &[],
        }
    }
}

/// Compares all rows, or those that are still open.
pub(super) fn compare(look: &Look, rules: Rules, open: Option<&HashSet<Key>>) -> Compared {
    let missing = look.computed.iter().filter(|(key, row)| !look.stored.contains_key(*key) && !row.is_empty());
    let all = look.stored.keys().chain(missing.map(|(key, _)| key));
    let mut compared = Compared { rows: BTreeMap::new(), unlike: Vec::new() };
    for key in all.filter(|key| open.is_none_or(|open| open.contains(*key))) {
        let view = view_of(key);
        let name = view.map_or(NO_VIEW, |view| view.name);
        *compared.rows.entry(name).or_default() += 1;
        let verdict = match view {
            Some(view) if view.source != Source::Points => of_entities(look, rules, view, key),
            _ => Some(Verdict::Skipped),
        };
        if let Some(verdict) = verdict {
            compared.unlike.push(Unlike { key: key.clone(), view: name, verdict });
        }
    }
    compared.unlike.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    compared
}

fn of_entities(look: &Look, rules: Rules, view: &View, key: &Key) -> Option<Verdict> {
    let nothing = Measures::default();
    let stored = look.stored.get(key);
    let computed = look.computed.get(key).unwrap_or(&nothing);
    let numbers = stored.map_or(&nothing, |row| &row.measures);
    let expires = [numbers.expires_ms(), computed.expires_ms()].into_iter().flatten().min();
    if expires.is_some_and(|expires| rules.now_ms >= expires - EXPIRING_MS) {
        return Some(Verdict::Skipped);
    }
    let mut differences = Vec::new();
    let mut forgotten = false;
    let names: BTreeSet<&str> = numbers.iter().chain(computed.iter()).map(|(name, _)| name).collect();
    for name in names.into_iter().filter(|name| Combine::of(name) == Combine::Sum) {
        let (had, wanted) = (numbers.get(name), computed.get(name));
        if had > wanted && may_forget(view, name, rules) {
            forgotten = true;
        } else if had != wanted {
            let (stored, recomputed) = (numbers.find(name), Some(wanted));
            differences.push(Difference { measure: name.into(), stored, recomputed });
        }
    }
    differences.extend(stored.and_then(|row| misplaced(look, key, row, computed)));
    match (differences.is_empty(), forgotten) {
        (false, _) => Some(Verdict::Drifted(differences)),
        (true, true) => Some(Verdict::Forgotten),
        (true, false) => None,
    }
}

/// Whether what a number counts may be gone already.
fn may_forget(view: &View, name: &str, rules: Rules) -> bool {
    match view.source {
        Source::Entities | Source::Points => false,
        Source::Tombstones(names) => !rules.tombstones_kept && names.contains(&name),
        Source::Forgotten => true,
    }
}

/// A row's place where it is another than its ranking asks for. Below the floor, none is asked for.
fn misplaced(look: &Look, key: &Key, row: &Row, computed: &Measures) -> Option<Difference> {
    let ranking = ranking_of(key)?;
    let by = computed.get(ranking.by);
    let reaches = |floor: &Floor| floor.shown.is_none_or(|shown| by >= shown);
    let wanted = match look.floors.get(ranking.board) {
        _ if !ranking.is_present(computed) => None,
        Some(floor) if reaches(floor) => Some(by),
        _ => row.rank.and(Some(by)),
    };
    (row.rank != wanted).then(|| Difference { measure: RANK.into(), stored: row.rank, recomputed: wanted })
}
