//! Comparing rows with what entities add up to.
//!
//! Sums alone are compared. A TTL is the newest word, and only rows of points have a least and a greatest
//! value. Some rows hold more than the entities that are left, and what was forgotten is not known:
//! there, less than these say is drift, and more is *forgotten*, or drift. Rows with a TTL are among them: where
//! a retention was changed, their entities may be gone before them, or they before their entities. So such
//! a row that is missing is *skipped*, as are rows that are about to expire and those with another source.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use compact_str::CompactString;
use tidemark_model::rows::Combine;
use tidemark_model::time::DAY_MS;
use tidemark_model::views::{Source, View, ranking_of, view_of};
use tidemark_model::{Decimal, Key, Measures};

use super::report::Audited;
use super::{Look, name_of};
use crate::{Floor, Row};

/// A window's events expire up to its length before its row: a day, which may have 25 hours. And clocks may
/// differ.
const EXPIRING_MS: i64 = DAY_MS + DAY_MS / 12;

/// The name of what places a row in a ranking's index.
pub(super) const RANK: &str = "rank";

/// What a comparison goes by.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// After the scans: what had expired when they came by is past its TTL then.
    pub(super) now_ms: i64,
    pub(super) nothing_forgotten: bool,
    /// The views that are compared; all, if none is named.
    pub(super) views: Vec<&'static str>,
}

/// What comparing all rows comes to.
pub(super) struct Compared {
    /// By view, how many rows there are, and how many cannot be recomputed.
    pub(super) views: BTreeMap<&'static str, Audited>,
    /// Those that are not just right; those that cannot be recomputed only if single rows were asked for.
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
    /// This number of it cannot be read.
    Unreadable(Difference),
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
            Verdict::Unreadable(difference) => std::slice::from_ref(difference),
            Verdict::Skipped | Verdict::Forgotten | Verdict::Undecided => &[],
        }
    }
}

/// Compares all rows, or those that are still open.
pub(super) fn compare(look: &Look, rules: &Rules, open: Option<&HashSet<Key>>) -> Compared {
    let is_there = |key: &Key| look.stored.contains_key(key) || look.unreadable.contains_key(key);
    let missing = look.computed.iter().filter(|(key, row)| !is_there(key) && !row.is_empty());
    let all = look.stored.keys().chain(look.unreadable.keys()).chain(missing.map(|(key, _)| key));
    let mut compared = Compared { views: look.uncompared.clone(), unlike: Vec::new() };
    let is_asked = |key: &Key| rules.views.is_empty() || rules.views.contains(&name_of(key));
    for key in all.filter(|key| is_asked(key) && open.is_none_or(|open| open.contains(*key))) {
        let view = name_of(key);
        let counts = compared.views.entry(view).or_default();
        counts.rows += 1;
        match (verdict(look, rules, key), open) {
            (None, _) => {}
            (Some(Verdict::Skipped), None) => counts.skipped += 1,
            (Some(Verdict::Forgotten), None) => counts.forgotten += 1,
            (Some(verdict), _) => compared.unlike.push(Unlike { key: key.clone(), view, verdict }),
        }
    }
    compared.unlike.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    compared
}

fn verdict(look: &Look, rules: &Rules, key: &Key) -> Option<Verdict> {
    if let Some(attribute) = look.unreadable.get(key) {
        let recomputed = look.computed.get(key).and_then(|row| row.find(attribute));
        return Some(Verdict::Unreadable(Difference { measure: attribute.clone(), stored: None, recomputed }));
    }
    match view_of(key) {
        Some(view) => of_entities(look, rules, view, key),
        None => Some(Verdict::Skipped),
    }
}

fn of_entities(look: &Look, rules: &Rules, view: &View, key: &Key) -> Option<Verdict> {
    let nothing = Measures::default();
    let stored = look.stored.get(key);
    let computed = look.computed.get(key).unwrap_or(&nothing);
    let numbers = stored.map_or(&nothing, |row| &row.measures);
    let expires = [numbers.expires_ms(), computed.expires_ms()].into_iter().flatten().min();
    let may_be_gone = stored.is_none() && !rules.nothing_forgotten;
    if expires.is_some_and(|expires| may_be_gone || rules.now_ms >= expires - EXPIRING_MS) {
        return Some(Verdict::Skipped);
    }
    let may_forget = |name: &str| match view.source {
        Source::Entities | Source::Points => expires.is_some() && !rules.nothing_forgotten,
        Source::Tombstones(names) => !rules.nothing_forgotten && (expires.is_some() || names.contains(&name)),
        Source::Forgotten => true,
    };
    let mut differences = Vec::new();
    let mut forgotten = false;
    let names: BTreeSet<&str> = numbers.iter().chain(computed.iter()).map(|(name, _)| name).collect();
    for name in names.into_iter().filter(|name| Combine::of(name) == Combine::Sum) {
        let (had, wanted) = (numbers.get(name), computed.get(name));
        if had > wanted && may_forget(name) {
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
