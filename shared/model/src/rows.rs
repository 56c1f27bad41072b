//! Rows and the deltas to them: a commutative group under addition.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::{Decimal, Key};

/// A hash map with a fast, fixed hasher: the same input gives the same output.
pub type Map<K, V> = HashMap<K, V, FixedState>;

/// The numbers of one row, by attribute name, sorted. Zeros are kept out, so that equal numbers
/// are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measures(Vec<(CompactString, Decimal)>);

impl Measures {
    /// The number under a name; absent means zero.
    pub fn get(&self, name: &str) -> Decimal {
        match self.position(name) {
            Ok(at) => self.0.get(at).map_or(Decimal::ZERO, |(_, n)| *n),
            Err(_) => Decimal::ZERO,
        }
    }

    /// Adds to the number under a name.
    pub fn add(&mut self, name: &str, n: Decimal) {
        if n.is_zero() {
            return;
        }
        match self.position(name) {
            Err(at) => self.0.insert(at, (CompactString::from(name), n)),
            Ok(at) => {
                let Some(entry) = self.0.get_mut(at) else { return };
                entry.1 = entry.1.plus(n);
                if entry.1.is_zero() {
                    self.0.remove(at);
                }
            }
        }
    }

    /// Whether every number is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The non-zero numbers in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Decimal)> {
        self.0.iter().map(|(name, n)| (name.as_str(), *n))
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| have.as_str().cmp(name))
    }
}

/// Rows, or changes to rows: what each key's numbers are, or what is to be added to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(Map<Key, Measures>);

impl Rows {
    /// Adds numbers to a row.
    pub fn add(&mut self, key: Key, measures: &[(&str, Decimal)]) {
        let row = self.0.entry(key).or_default();
        for (name, n) in measures {
            row.add(name, *n);
        }
    }

    /// Merges other deltas into these; the order of merges never matters.
    pub fn merge(&mut self, other: Self) {
        for (key, measures) in other.0 {
            let row = self.0.entry(key).or_default();
            for (name, n) in measures.iter() {
                row.add(name, n);
            }
        }
    }

    /// The rows that are not all zeros, in the order of their keys.
    pub fn into_sorted(self) -> Vec<(Key, Measures)> {
        let mut rows: Vec<_> = self.0.into_iter().filter(|(_, m)| !m.is_empty()).collect();
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }
}

impl FromIterator<(Key, Measures)> for Rows {
    fn from_iter<I: IntoIterator<Item = (Key, Measures)>>(rows: I) -> Self {
        let mut all = Self::default();
        for (key, measures) in rows {
            all.merge(Self(std::iter::once((key, measures)).collect()));
        }
        all
    }
}

/// What a few states add to the rows or take from them, summed before the rows are touched: most
/// changes leave most of a product where it was, and cancel out.
#[derive(Debug, Default)]
pub struct Contribution {
    leaving: bool,
    keys: Vec<Key>,
    shares: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    /// Which of the keys.
    at: usize,
    measure: &'static str,
    n: Decimal,
}

impl Contribution {
    /// The next state comes: it adds its share.
    pub fn coming(&mut self) -> &mut Self {
        self.leaving = false;
        self
    }

    /// The next state goes: it takes its share with it.
    pub fn leaving(&mut self) -> &mut Self {
        self.leaving = true;
        self
    }

    /// The state's share in one row.
    pub fn add<const N: usize>(&mut self, key: Key, measures: [(&'static str, Decimal); N]) {
        let at = self.keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        });
        for (measure, n) in measures {
            let n = if self.leaving { -n } else { n };
            match self.shares.iter_mut().find(|share| share.at == at && share.measure == measure) {
                Some(share) => share.n = share.n.plus(n),
                None => self.shares.push(Share { at, measure, n }),
            }
        }
    }

    /// Adds to the rows what has not cancelled out, and begins anew.
    pub fn settle(&mut self, rows: &mut Rows) {
        for (at, key) in self.keys.drain(..).enumerate() {
            let mut shares = self.shares.iter().filter(|share| share.at == at && !share.n.is_zero()).peekable();
            if shares.peek().is_some() {
                let row = rows.0.entry(key).or_default();
                shares.for_each(|share| row.add(share.measure, share.n));
            }
        }
        self.shares.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deltas() -> impl Strategy<Value = Vec<(u8, u8, i64)>> {
        prop::collection::vec((0_u8..4, 0_u8..4, -5_i64..5), 0..40)
    }

    fn rows(deltas: &[(u8, u8, i64)]) -> Rows {
        let mut rows = Rows::default();
        for (row, measure, n) in deltas {
            rows.add(Key::of("R", &row.to_string(), "X"), &[(measure.to_string().as_str(), Decimal::whole(*n))]);
        }
        rows
    }

    fn merged(parts: [&Rows; 2]) -> Vec<(Key, Measures)> {
        let mut all = Rows::default();
        for part in parts {
            all.merge(part.clone());
        }
        all.into_sorted()
    }

    proptest! {
        #[test]
        fn merging_is_commutative_with_zero(a in deltas(), b in deltas()) {
            let (a, b) = (rows(&a), rows(&b));
            prop_assert_eq!(merged([&a, &b]), merged([&b, &a]));
            prop_assert_eq!(merged([&a, &Rows::default()]), a.into_sorted());
        }

        #[test]
        fn merging_is_associative_so_any_split_is_the_whole(all in deltas(), cut in 0_usize..40, other in 0_usize..40) {
            let whole = rows(&all).into_sorted();
            for at in [cut.min(all.len()), other.min(all.len())] {
                let (left, right) = all.split_at(at);
                prop_assert_eq!(&merged([&rows(left), &rows(right)]), &whole);
            }
        }
    }
}
