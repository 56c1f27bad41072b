//! Quantiles: a DDSketch whose buckets are plain numbers of a row, so that they add like any other
//! measure. <https://www.vldb.org/pvldb/vol12/p2195-masson.pdf>
//!
//! No published crate keeps its buckets where a conditional `ADD` could reach them; the mapping is
//! one logarithm.

use compact_str::{CompactString, format_compact};

use crate::{Decimal, Measures};

/// The relative error of every quantile, at most.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Each bucket's upper bound is this times its lower bound.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// The bucket of a value: `z` for zero, `p{i}` for those above gamma^(i-1) up to gamma^i, and
/// `n{i}` for their opposites.
pub fn bucket(value: Decimal) -> CompactString {
    let index = |magnitude: f64| (magnitude.ln() / GAMMA.ln()).ceil() as i32;
    if value.is_zero() {
        return CompactString::const_new("z");
    }
    let (sign, magnitude) = if value < Decimal::ZERO { ('n', -value) } else { ('p', value) };
    format_compact!("{sign}{}", index(magnitude.to_f64()))
}

/// The value at rank `q` times (count - 1), rounded down, of what a row's buckets count; between its
/// `min` and `max`. `None` if they count nothing.
pub fn quantile(row: &Measures, q: f64) -> Option<Decimal> {
    let mut buckets: Vec<(i32, Decimal, Decimal)> = row.iter().filter_map(|(name, n)| entry(name, n)).collect();
    buckets.sort_unstable();
    let total = buckets.iter().fold(Decimal::ZERO, |sum, (_, _, n)| sum.plus(*n)).to_whole()?;
    let rank = (q * (total - 1).max(0) as f64).floor() as i64;
    let mut counted = Decimal::ZERO;
    let (_, value, _) = buckets.into_iter().find(|(_, _, n)| {
        counted = counted.plus(*n);
        counted > Decimal::whole(rank)
    })?;
    let (min, max) = (row.find("min").unwrap_or(value), row.find("max").unwrap_or(value));
    Some(value.min(max).max(min))
}

/// A bucket's place among all, its middle and its count.
fn entry(name: &str, n: Decimal) -> Option<(i32, Decimal, Decimal)> {
    // More than any index of a decimal.
    const BEYOND: i32 = 1_000_000;
    if name == "z" {
        return Some((0, Decimal::ZERO, n));
    }
    let (sign, index) = name.split_at_checked(1)?;
    let index: i32 = index.parse().ok()?;
    let middle = 2.0 * GAMMA.powi(index) / (GAMMA + 1.0);
    let middle = Decimal::nearest(&format!("{middle}")).ok()?;
    match sign {
        "p" => Some((BEYOND + index, middle, n)),
        "n" => Some((-BEYOND - index, -middle, n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(values: &[Decimal]) -> Measures {
        let mut row = Measures::default();
        for value in values {
            row.add(&bucket(*value), Decimal::whole(1));
            row.add("min", *value);
            row.add("max", *value);
        }
        row
    }

    #[test]
    fn nothing_has_no_quantile_and_one_value_is_all_of_them() {
        assert_eq!(quantile(&Measures::default(), 0.5), None);
        let one: Decimal = "-12.5".parse().unwrap();
        assert_eq!(quantile(&row(&[one]), 0.99), Some(one));
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent(
            mantissas in prop::collection::vec((-10_000_i64..10_000, 0_u32..9), 1..300),
            q in 0.0_f64..=1.0,
        ) {
            let values: Vec<Decimal> =
                mantissas.iter().map(|(n, digits)| Decimal::scaled(i128::from(*n), *digits as i32).unwrap()).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let exact = sorted[(q * (sorted.len() - 1) as f64).floor() as usize].to_f64();
            let found = quantile(&row(&values), q).unwrap().to_f64();
            prop_assert!((found - exact).abs() <= exact.abs() * (RELATIVE_ERROR + 1e-9) + 1e-12, "{found} is not {exact}");
        }
    }
}
