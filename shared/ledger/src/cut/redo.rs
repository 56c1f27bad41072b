//! From what was scanned and the log to the cut: pure, one item after the other.

use std::collections::BTreeMap;

use tidemark_model::rows::{Combine, TTL};
use tidemark_model::views::{Ranking, ranking_of, rankings};
use tidemark_model::{Decimal, Key, Known, Map, Measures, Transition};

use super::Logged;
use crate::{LaneId, Row};

/// A cut's log, by item. Every scanned item is to be carried on once, in any order; then the [`Rest`] is what the
/// scans did not see. It holds what the log changes, and not what was scanned.
#[derive(Debug, Default)]
pub struct Redo {
    /// As the log left them.
    entities: Map<Key, Known>,
    rows: Map<Key, Vec<Share>>,
    /// By board, how many rows that compete were found to be there.
    present: BTreeMap<&'static str, i64>,
    /// The rows with tallies, which are known when all rows are.
    tallies: BTreeMap<Key, Measures>,
}

/// What one plan adds to a row.
#[derive(Debug)]
struct Share {
    lane: LaneId,
    seq: u64,
    delta: Measures,
}

/// What is left of a cut when everything scanned was carried on, in the order of the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Entities that were not scanned.
    pub entities: Vec<(Key, Known)>,
    /// Rows that were not scanned, and those that hold tallies.
    pub rows: Vec<(Key, Measures)>,
}

impl Redo {
    /// Adds a plan of the log. Their order does not matter.
    pub fn add(&mut self, Logged { lane, seq, plan }: Logged) {
        for (key, delta) in plan.deltas(plan.transitions.iter()) {
            self.rows.entry(key).or_default().push(Share { lane: lane.clone(), seq, delta });
        }
        for Transition { key, counter, version, after, .. } in plan.transitions {
            let known = Known { counter: counter + 1, version, state: after };
            let known = self.entity(&key, known);
            self.entities.insert(key, known);
        }
    }

    /// A scanned entity as of the cut.
    pub fn entity(&mut self, key: &Key, scanned: Known) -> Known {
        // The version first: an entity that was forgotten and came again counts from the start.
        let age = |known: &Known| (known.version, known.counter);
        self.entities.remove(key).filter(|logged| age(logged) > age(&scanned)).unwrap_or(scanned)
    }

    /// A scanned row as of the cut; `None` for one with a tally, which is among the rest.
    pub fn row(&mut self, key: &Key, scanned: Row) -> Option<Measures> {
        let Row { mut measures, marks, .. } = scanned;
        for Share { lane, seq, delta } in self.rows.remove(key).unwrap_or_default() {
            let is_added = marks.iter().any(|(of, mark)| *of == lane && *mark >= seq);
            for (name, n) in delta.iter() {
                // A least or greatest value follows the mark in a write of its own, and may be said twice.
                if !is_added || Combine::of(name) != Combine::Sum {
                    measures.add(name, n);
                }
            }
        }
        if let Some(ranking) = ranking_of(key) {
            let is_present = ranking.is_present(&measures);
            *self.present.entry(ranking.board).or_default() += i64::from(is_present);
            if is_present {
                // Scanned while it was empty and expiring.
                measures.remove(TTL);
            }
        }
        if rankings().map(Ranking::tally_row).any(|tally| tally == *key) {
            self.tallies.insert(key.clone(), measures);
            return None;
        }
        Some(measures)
    }

    /// What the scans did not see, and the tallies: the rows of a ranking that are there, counted.
    pub fn rest(mut self) -> Rest {
        let unseen: Vec<Key> = self.rows.keys().cloned().collect();
        let carried = |key: Key| Some((key.clone(), self.row(&key, Row::default())?));
        let mut rows: Vec<(Key, Measures)> = unseen.into_iter().filter_map(carried).collect();
        for ranking in rankings() {
            let present = self.present.get(ranking.board).copied().unwrap_or_default();
            let row = self.tallies.entry(ranking.tally_row()).or_default();
            row.set(ranking.tally.1, Decimal::whole(present));
        }
        rows.extend(self.tallies.into_iter().filter(|(_, row)| !row.is_empty()));
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut entities: Vec<(Key, Known)> = self.entities.into_iter().collect();
        entities.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Rest { entities, rows }
    }
}

impl Extend<Logged> for Redo {
    fn extend<I: IntoIterator<Item = Logged>>(&mut self, log: I) {
        log.into_iter().for_each(|logged| self.add(logged));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;
    use tidemark_model::product::{Product, Status};
    use tidemark_model::views::CURRENT;
    use tidemark_model::{State, Version};

    fn lane(name: &str) -> LaneId {
        LaneId::stored(name)
    }

    fn row(n: u64) -> Key {
        Key::of("ROW", &n.to_string(), "X")
    }

    fn measures(numbers: &[(&str, i64)]) -> Measures {
        let mut measures = Measures::default();
        numbers.iter().for_each(|(name, n)| measures.set(name, Decimal::whole(*n)));
        measures
    }

    fn logged(name: &str, seq: u64, transitions: Vec<Transition>, points: &[(Key, Measures)]) -> Logged {
        Logged { lane: lane(name), seq, plan: Plan { transitions, points: points.to_vec() } }
    }

    fn redo(log: Vec<Logged>) -> Redo {
        let mut redo = Redo::default();
        redo.extend(log);
        redo
    }

    fn known(counter: u64, version: i64) -> Known {
        let status = Status::Deleted { expires: None };
        let state = State::Product(Product { id: version, seller: "s".into(), name: "n".into(), status });
        Known { counter, version: Version { major: version, minor: 0, tie: 0 }, state }
    }

    fn transition(entity: &str, counter: u64, version: i64) -> Transition {
        let Known { counter, version, state: after, .. } = known(counter, version);
        Transition { key: Key::of("PRODUCT", entity, "STATE"), counter, version, before: None, after }
    }

    fn scanned(numbers: &[(&str, i64)], marks: &[(&str, u64)]) -> Row {
        let marks = marks.iter().map(|(name, seq)| (lane(name), *seq)).collect();
        Row { measures: measures(numbers), marks, ..Row::default() }
    }

    #[test]
    fn a_row_gets_what_plans_above_its_marks_add_and_no_more() {
        let add = |name, seq, n| logged(name, seq, vec![], &[(row(1), measures(&[("a", n)]))]);
        for (marks, expected) in [
            (&[][..], 1_111),
            (&[("one", 4)], 1_111),
            (&[("one", 5)], 1_110),
            (&[("one", 6)], 1_100),
            (&[("one", 6), ("other", 5)], 1_000),
            (&[("one", 9), ("other", 9)], 0),
        ] {
            let log = vec![add("one", 5, 1), add("one", 6, 10), add("other", 5, 100), add("other", 6, 1_000)];
            let left = redo(log).row(&row(1), scanned(&[], marks)).unwrap();
            assert_eq!(left.get("a"), Decimal::whole(expected), "{marks:?}");
        }
    }

    /// They are set after the mark: a scan may come between.
    #[test]
    fn least_and_greatest_values_are_taken_whatever_the_mark() {
        let delta = measures(&[("a", 1), ("min", 2), ("max", 9), (TTL, 70)]);
        let mut redo = redo(vec![logged("one", 5, vec![], &[(row(1), delta)])]);
        let left = redo.row(&row(1), scanned(&[("a", 5), ("min", 3), ("max", 8), (TTL, 60)], &[("one", 5)]));
        assert_eq!(left, Some(measures(&[("a", 5), ("min", 2), ("max", 9), (TTL, 70)])));
    }

    #[test]
    fn an_entity_is_as_the_newest_step_left_it() {
        let log = || {
            vec![logged("one", 1, vec![transition("p", 3, 7)], &[]), logged("b", 1, vec![transition("p", 2, 6)], &[])]
        };
        let key = Key::of("PRODUCT", "p", "STATE");
        for (scanned, expected) in [
            (known(1, 1), known(4, 7)),
            (known(3, 6), known(4, 7)),
            (known(4, 7), known(4, 7)),
            (known(5, 7), known(5, 7)),
            // It was forgotten since.
            (known(9, 6), known(4, 7)),
        ] {
            assert_eq!(redo(log()).entity(&key, scanned.clone()), expected, "{scanned:?}");
        }
        assert_eq!(redo(log()).rest().entities, [(key, known(4, 7))]);
    }

    #[test]
    fn what_was_not_scanned_is_the_rest() {
        let point = |n| (row(n), measures(&[("a", 1)]));
        let mut redo = redo(vec![logged("one", 1, vec![], &[point(1), point(2)])]);
        assert_eq!(redo.row(&row(1), Row::default()), Some(measures(&[("a", 1)])));
        assert_eq!(redo.rest(), Rest { entities: vec![], rows: vec![point(2)] });
    }

    #[test]
    fn tallies_count_the_rows_that_are_there_in_the_cut() {
        let ranking = rankings().next().unwrap();
        let competing = |n: u64| Key::of(ranking.kind, &n.to_string(), CURRENT);
        let present = |n| measures(&[(ranking.present, n), (ranking.by, 5)]);
        let log = [(competing(1), present(1)), (competing(2), present(-1)), (competing(3), present(1))];
        let mut redo = redo(vec![logged("one", 1, vec![], &log)]);
        let tally = (ranking.tally_row(), measures(&[("other", 4), (ranking.tally.1, 99)]));
        assert_eq!(redo.row(&tally.0, Row { measures: tally.1, ..Row::default() }), None);
        assert!(redo.row(&competing(2), scanned(&[(ranking.present, 1)], &[])).is_some());
        assert!(redo.row(&competing(4), scanned(&[(ranking.present, 2)], &[])).is_some());
        let rest = redo.rest().rows;
        let counted = rest.iter().find(|(key, _)| *key == ranking.tally_row()).unwrap();
        assert_eq!(counted.1, measures(&[("other", 4), (ranking.tally.1, 3)]));
        assert_eq!(rest.len(), 3, "{rest:?}");
    }

    /// The addition took its TTL away, where it was added.
    #[test]
    fn a_row_that_was_scanned_while_it_was_empty_and_expiring_stays() {
        let ranking = rankings().next().unwrap();
        let key = Key::of(ranking.kind, "1", CURRENT);
        let empty = || scanned(&[(ranking.present, 0), (TTL, 70)], &[]);
        let delta = measures(&[(ranking.present, 1)]);
        let mut redo = redo(vec![logged("one", 1, vec![], &[(key.clone(), delta.clone())])]);
        assert_eq!(redo.row(&key, empty()), Some(delta));
        assert_eq!(redo.row(&key, empty()), Some(measures(&[(TTL, 70)])), "nothing was added");
    }
}
