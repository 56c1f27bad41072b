//! Exact decimals: money, and everything else that is summed.
//!
//! A [`Decimal`] counts units of 10^-12 in an `i128`. That is the very domain of a DynamoDB
//! number (38 significant digits, exact), so a sum is the same number here and in the table, and
//! addition is associative: no order of arrival, split or merge can change a total. Floats are
//! neither, which is why no text is ever read through one.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Neg;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits kept after the point.
pub const FRACTION_DIGITS: u32 = 12;
const ONE: i128 = 10_i128.pow(FRACTION_DIGITS);

/// An exact decimal with up to 12 digits after the point and 26 before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

/// Why a text is not a [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not a JSON number.
    #[error("is not a number")]
    NotANumber,
    /// It has non-zero digits beyond the twelfth after the point; rounding it would lose money.
    #[error("has more than {FRACTION_DIGITS} digits after the point")]
    TooFine,
    /// It has more than 26 digits before the point.
    #[error("is too large")]
    TooLarge,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    pub const fn whole(n: i64) -> Self {
        Self(n as i128 * ONE)
    }

    /// The number as a count of units of 10^-12.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// The number that is so many units of 10^-12.
    pub const fn of_units(units: i128) -> Self {
        Self(units)
    }

    /// Whether this is nothing, so that adding it changes nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum. Inputs are bounded at decoding (see [`crate::product`]) so that 10^11 of the largest
    /// fit before this would saturate.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The product with a whole number, or `None` where it does not fit.
    pub fn times(self, n: i64) -> Option<Self> {
        self.0.checked_mul(i128::from(n)).map(Self)
    }

    /// The quotient by a count, rounded half to even at the twelfth digit: for display, never
    /// for further sums. `None` for a count of zero.
    pub fn mean(self, count: Self) -> Option<Self> {
        let n = i128::from(count.to_whole().filter(|n| *n > 0)?);
        Some(Self(divided_half_to_even(self.0, n)))
    }

    /// The whole number, or `None` if there is a fraction or it exceeds an `i64`.
    pub fn to_whole(self) -> Option<i64> {
        (self.0 % ONE == 0).then_some(self.0 / ONE).and_then(|n| i64::try_from(n).ok())
    }

    /// The number `unscaled` times ten to the minus `scale`: how Kafka Connect writes decimals.
    ///
    /// # Errors
    /// If it has too many digits.
    pub fn scaled(unscaled: i128, scale: i32) -> Result<Self, DecimalError> {
        format!("{unscaled}e{}", -i64::from(scale)).parse()
    }

    /// Reads a JSON number as [`FromStr`] does, but rounds what is finer than there are digits, half
    /// to even: for measurements, which are no money.
    ///
    /// # Errors
    /// If it is too large or no number.
    pub fn nearest(text: &str) -> Result<Self, DecimalError> {
        match text.parse() {
            Err(DecimalError::TooFine) => {}
            read => return read,
        }
        let (negative, number) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (number, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        // So many of the digits are units; the others decide how the last one is rounded.
        let kept = i64::from(FRACTION_DIGITS) + exponent + whole.len() as i64;
        let (kept, dropped) = match usize::try_from(kept) {
            Ok(kept) => digits.split_at_checked(kept).unwrap_or((&digits, "")),
            Err(_) => return Ok(Self::ZERO),
        };
        let units: i128 = format!("0{kept}").parse().map_err(|_| DecimalError::TooLarge)?;
        let rest = dropped.strip_prefix('5').map(|rest| rest.bytes().any(|b| b != b'0'));
        let up = match rest {
            Some(more_than_half) => more_than_half || units % 2 == 1,
            None => dropped.starts_with(['6', '7', '8', '9']),
        };
        let units = units + i128::from(up);
        if units >= LIMIT {
            return Err(DecimalError::TooLarge);
        }
        Ok(Self(if negative { -units } else { units }))
    }

    /// The largest whole number that is not above it; at the ends of 64 bits, those.
    pub fn floor(self) -> i64 {
        let floor = self.0.div_euclid(ONE);
        i64::try_from(floor).unwrap_or(if floor < 0 { i64::MIN } else { i64::MAX })
    }

    /// The closest binary float: for sketches, never for money.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / ONE as f64
    }

    /// Rounded half to even to a number of digits after the point: for display.
    #[must_use]
    pub fn rounded(self, digits: u32) -> Self {
        let unit = 10_i128.pow(FRACTION_DIGITS.saturating_sub(digits));
        Self(divided_half_to_even(self.0, unit).saturating_mul(unit))
    }
}

impl Neg for Decimal {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Reads a JSON number: sign, digits, fraction, exponent. Linear in the text's length.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (number, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(DecimalError::NotANumber),
            Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
            None => (mantissa, ""),
        };
        if whole.is_empty() {
            return Err(DecimalError::NotANumber);
        }
        // Without its trailing zeros, only a number out of range needs more than 38 digits.
        let significant = if fraction.is_empty() { whole.trim_end_matches('0') } else { whole };
        let mut units = Some(0_i128);
        for byte in significant.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(DecimalError::NotANumber);
            }
            let digit = i128::from(byte - b'0');
            units = units.and_then(|units| units.checked_mul(10)?.checked_add(digit));
        }
        if units == Some(0) {
            return Ok(Self::ZERO);
        }
        let zeros = (whole.len() - significant.len()) as i64;
        let shift = i64::from(FRACTION_DIGITS) + exponent + zeros - fraction.len() as i64;
        if shift < 0 {
            return Err(DecimalError::TooFine);
        }
        let shift = u32::try_from(shift).map_err(|_| DecimalError::TooLarge)?;
        let shifted = units.zip(10_i128.checked_pow(shift)).and_then(|(units, power)| units.checked_mul(power));
        let units = shifted.filter(|units| *units < LIMIT).ok_or(DecimalError::TooLarge)?;
        Ok(Self(if negative { -units } else { units }))
    }
}

/// The quotient by a positive number.
fn divided_half_to_even(n: i128, by: i128) -> i128 {
    let (quotient, rest) = (n.div_euclid(by), n.rem_euclid(by));
    let up = match (rest * 2).cmp(&by) {
        Ordering::Less => 0,
        Ordering::Greater => 1,
        Ordering::Equal => quotient & 1,
    };
    quotient + up
}

/// 38 digits: what a DynamoDB number holds.
const LIMIT: i128 = 10_i128.pow(38);

fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    // No text is so long that a larger exponent could be made up for by its digits.
    const LARGEST: i64 = 1_000_000_000_000;
    let magnitude = digits.parse::<i64>().unwrap_or(LARGEST).min(LARGEST);
    Ok(if text.starts_with('-') { -magnitude } else { magnitude })
}

impl fmt::Display for Decimal {
    /// Plain notation without trailing zeros, as DynamoDB writes numbers: `-0.5`, `263416.28`, `10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (mut fraction, whole) = (self.0.unsigned_abs() % ONE as u128, self.0.unsigned_abs() / ONE as u128);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let mut width = FRACTION_DIGITS as usize;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        write!(f, "{sign}{whole}.{fraction:0width$}")
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As text, because most JSON readers turn numbers into floats.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap_or_else(|e| panic!("{text} {e}"))
    }

    #[test]
    fn reads_every_json_number_form() {
        for (text, expect) in [
            ("0", "0"),
            ("-0", "0"),
            ("136.19", "136.19"),
            ("136.1900000000000000000000000000000000000000", "136.19"),
            ("1.3e2", "130"),
            ("13E-1", "1.3"),
            ("-0.000000000001", "-0.000000000001"),
            ("100000000000000000000000000000000000000000000000000e-50", "1"),
            (&format!("1{}e-100000", "0".repeat(100_000)), "1"),
            (&format!("0.{}5e100011", "0".repeat(100_010)), "5"),
            ("0e99999999999999999999", "0"),
            ("99999999999999999999999999.999999999999", "99999999999999999999999999.999999999999"),
        ] {
            assert_eq!(decimal(text).to_string(), expect, "{text}");
        }
    }

    /// An exponent beyond 32 bits was once taken for a fine number, and that rounded.
    #[test]
    fn no_exponent_is_so_large_that_it_means_little() {
        for text in [
            "1e400",
            "1e4294967283",
            "1e4294967284",
            "-9e99999999999",
            "123e9223372036854775807",
            "1e9999999999999999999999",
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::TooLarge), "{text}");
            assert_eq!(Decimal::nearest(text), Err(DecimalError::TooLarge), "{text}");
            let tiny = text.replace('e', "e-");
            assert_eq!(tiny.parse::<Decimal>(), Err(DecimalError::TooFine), "{tiny}");
            assert_eq!(Decimal::nearest(&tiny), Ok(Decimal::ZERO), "{tiny}");
        }
        for zero in ["0e400", "-0.0e99999999999"] {
            assert_eq!(zero.parse(), Ok(Decimal::ZERO));
        }
    }

    #[test]
    fn refuses_what_would_be_rounded_or_is_no_number() {
        for (text, expect) in [
            ("0.0000000000001", DecimalError::TooFine),
            ("123456789012345678901234567890", DecimalError::TooLarge),
            ("1e300", DecimalError::TooLarge),
            ("1e-300", DecimalError::TooFine),
            ("100000000000000000000000000", DecimalError::TooLarge),
            ("", DecimalError::NotANumber),
            ("-", DecimalError::NotANumber),
            ("1.", DecimalError::NotANumber),
            (".5", DecimalError::NotANumber),
            ("1e", DecimalError::NotANumber),
            ("NaN", DecimalError::NotANumber),
            ("1.5.0", DecimalError::NotANumber),
            ("x0", DecimalError::NotANumber),
            ("1.x0", DecimalError::NotANumber),
            ("0x10", DecimalError::NotANumber),
            ("\"1\"", DecimalError::NotANumber),
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(expect), "{text}");
        }
    }

    #[test]
    fn a_mean_rounds_half_to_even() {
        let mean = |sum: &str, n| decimal(sum).mean(Decimal::whole(n)).map(|d| d.to_string());
        assert_eq!(mean("10", 4).as_deref(), Some("2.5"));
        assert_eq!(mean("2", 3).as_deref(), Some("0.666666666667"));
        assert_eq!(mean("-2", 3).as_deref(), Some("-0.666666666667"));
        assert_eq!(mean("0.000000000001", 2).as_deref(), Some("0"));
        assert_eq!(mean("0.000000000003", 2).as_deref(), Some("0.000000000002"));
        assert_eq!(mean("1", 0), None);
        for (n, expect) in [("2.665", "2.66"), ("2.675", "2.68"), ("-2.667", "-2.67"), ("7", "7")] {
            assert_eq!(decimal(n).rounded(2).to_string(), expect);
        }
    }

    #[test]
    fn a_measurement_is_rounded_half_to_even() {
        for (text, expect) in [
            ("12.345678901234567", "12.345678901235"),
            ("0.0000000000005", "0"),
            ("0.0000000000015", "0.000000000002"),
            ("-0.00000000000051", "-0.000000000001"),
            ("1.5e-12", "0.000000000002"),
            ("1e-300", "0"),
            ("999999999999999.9999999999999", "1000000000000000"),
            ("2.50", "2.5"),
        ] {
            assert_eq!(Decimal::nearest(text).unwrap().to_string(), expect, "{text}");
        }
        assert_eq!(Decimal::nearest("1e300"), Err(DecimalError::TooLarge));
        assert_eq!(Decimal::nearest("x"), Err(DecimalError::NotANumber));
    }

    #[test]
    fn scaled_is_connects_decimal() {
        for (unscaled, scale, expect) in [(151_403, 2, "1514.03"), (-5, 3, "-0.005"), (7, 0, "7"), (7, -2, "700")] {
            assert_eq!(Decimal::scaled(unscaled, scale).unwrap().to_string(), expect);
        }
        assert_eq!(Decimal::scaled(1, 13), Err(DecimalError::TooFine));
    }

    proptest! {
        #[test]
        fn agrees_with_rust_decimal(a in -10_i64.pow(12)..10_i64.pow(12), scale in 0_u32..9, n in -10_000_i64..10_000) {
            let theirs = rust_decimal::Decimal::new(a, scale);
            let ours = decimal(&theirs.to_string());
            prop_assert_eq!(ours.to_string(), (theirs.normalize() + rust_decimal::Decimal::ZERO).to_string());
            prop_assert_eq!(ours.times(n).map(|d| d.to_string()), Some((theirs * rust_decimal::Decimal::from(n)).normalize().to_string()));
        }

        #[test]
        fn text_comes_back(units in -LIMIT + 1..LIMIT) {
            prop_assert_eq!(Decimal(units).to_string().parse(), Ok(Decimal(units)));
        }

        #[test]
        fn any_text_is_a_number_or_an_error(text in "[-+0-9.eE]{0,60}") {
            let _ = text.parse::<Decimal>();
        }
    }
}
