//! Rows and the deltas to them: a commutative group under addition.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::{Decimal, Key};

/// A hash map with a fast, fixed hasher: the same input gives the same output.
pub type Map<K, V> = HashMap<K, V, FixedState>;

/// The attribute that says when an item may be forgotten, in seconds since 1970: DynamoDB's TTL.
/// Among the numbers of a delta it is the row's.
pub const TTL: &str = "TTL";

/// How two numbers under one name become one. The name alone decides, so that it is the same
/// everywhere a row is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// They add up; zero is as good as none. What can be retracted is a sum.
    Sum,
    /// The least stays: `min`.
    Least,
    /// The greatest stays: `max`, `TTL`.
    Greatest,
}

impl Combine {
    /// What a name asks for.
    pub fn of(name: &str) -> Self {
        match name {
            "min" => Self::Least,
            "max" | TTL => Self::Greatest,
            _ => Self::Sum,
        }
    }

    /// The two numbers as one.
    #[must_use]
    pub fn apply(self, a: Decimal, b: Decimal) -> Decimal {
        match self {
            Self::Sum => a.plus(b),
            Self::Least => a.min(b),
            Self::Greatest => a.max(b),
        }
    }
}

/// The numbers of one row, by attribute name, sorted. Sums of zero are kept out, so that equal
/// numbers are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measures(Vec<(CompactString, Decimal)>);

impl Measures {
    /// The number under a name; absent means zero.
    pub fn get(&self, name: &str) -> Decimal {
        self.find(name).unwrap_or_default()
    }

    /// The number under a name, if there is one.
    pub fn find(&self, name: &str) -> Option<Decimal> {
        self.0.get(self.position(name).ok()?).map(|(_, n)| *n)
    }

    /// Adds to the number under a name, as [`Combine`] says for it.
    pub fn add(&mut self, name: &str, n: Decimal) {
        let combine = Combine::of(name);
        if combine == Combine::Sum && n.is_zero() {
            return;
        }
        match self.position(name) {
            Err(at) => self.0.insert(at, (CompactString::from(name), n)),
            Ok(at) => {
                let Some(entry) = self.0.get_mut(at) else { return };
                entry.1 = combine.apply(entry.1, n);
                if combine == Combine::Sum && entry.1.is_zero() {
                    self.0.remove(at);
                }
            }
        }
    }

    /// Puts a number under a name, whatever was there.
    pub fn set(&mut self, name: &str, n: Decimal) {
        self.remove(name);
        self.add(name, n);
    }

    /// Takes the number under a name away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Whether there is nothing to say: every sum is zero. A TTL alone says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(name, _)| name == TTL)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// When the row may be forgotten, in ms since 1970.
    pub fn expires_ms(&self) -> Option<i64> {
        self.find(TTL)?.to_whole()?.checked_mul(1_000)
    }

    /// Whether the row is not past its TTL: DynamoDB deletes such rows only some time later.
    pub fn is_kept(&self, now_ms: i64) -> bool {
        self.expires_ms().is_none_or(|expires| expires > now_ms)
    }

    /// The numbers in the order of their names.
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

    /// Adds a row's numbers to a row.
    pub fn add_measures(&mut self, key: Key, measures: &Measures) {
        let row = self.0.entry(key).or_default();
        for (name, n) in measures.iter() {
            row.add(name, n);
        }
    }

    /// Merges other deltas into these; the order of merges never matters.
    pub fn merge(&mut self, other: Self) {
        for (key, measures) in other.0 {
            self.add_measures(key, &measures);
        }
    }

    /// The rows in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Measures)> {
        self.0.iter()
    }

    /// A row's numbers, if anything was ever added to it.
    pub fn get(&self, key: &Key) -> Option<&Measures> {
        self.0.get(key)
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
            all.add_measures(key, &measures);
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
    measure: CompactString,
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

    /// The state's share in one row that stays.
    pub fn add<const N: usize>(&mut self, key: Key, measures: [(&'static str, Decimal); N]) {
        let at = self.row(key);
        for (name, n) in measures {
            self.share(at, CompactString::const_new(name), n);
        }
    }

    /// The state's share in the row of a window, which may be forgotten at a time in ms since 1970.
    pub fn add_window<const N: usize>(
        &mut self,
        key: Key,
        expires_ms: Option<i64>,
        measures: [(&'static str, Decimal); N],
    ) {
        let at = self.row(key);
        if let Some(expires_ms) = expires_ms {
            self.share(at, CompactString::const_new(TTL), Decimal::whole(seconds_up(expires_ms)));
        }
        for (name, n) in measures {
            self.share(at, CompactString::const_new(name), n);
        }
    }

    /// The state's share in one row, under names that depend on it.
    pub fn add_measures(&mut self, key: Key, measures: &Measures) {
        let at = self.row(key);
        for (name, n) in measures.iter() {
            self.share(at, CompactString::from(name), n);
        }
    }

    /// Adds to the rows what has not cancelled out, and begins anew.
    pub fn settle(&mut self, rows: &mut Rows) {
        for (at, key) in self.keys.drain(..).enumerate() {
            let shares = || self.shares.iter().filter(|share| share.at == at);
            if shares().any(Share::says_something) {
                let row = rows.0.entry(key).or_default();
                shares().for_each(|share| row.add(&share.measure, share.n));
            }
        }
        self.shares.clear();
    }

    fn row(&mut self, key: Key) -> usize {
        self.keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        })
    }

    fn share(&mut self, at: usize, measure: CompactString, n: Decimal) {
        let combine = Combine::of(&measure);
        let n = if self.leaving && combine == Combine::Sum { -n } else { n };
        match self.shares.iter_mut().find(|share| share.at == at && share.measure == measure) {
            Some(share) => share.n = combine.apply(share.n, n),
            None => self.shares.push(Share { at, measure, n }),
        }
    }
}

impl Share {
    fn says_something(&self) -> bool {
        self.measure != TTL && (Combine::of(&self.measure) != Combine::Sum || !self.n.is_zero())
    }
}

/// A time in ms as the TTL that does not come before it, in seconds.
pub fn seconds_up(ms: i64) -> i64 {
    ms.div_euclid(1_000) + i64::from(ms.rem_euclid(1_000) > 0)
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

    #[test]
    fn no_ttl_comes_before_its_time() {
        let times = [(-1, 0), (0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)];
        assert_eq!(times.map(|(ms, _)| (ms, seconds_up(ms))), times);
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
