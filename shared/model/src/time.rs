//! Times: read in whatever unit they come, and put into windows.
//!
//! A time is a number of ms since 1970. Days are those of a time zone, which is always given.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use compact_str::{CompactString, format_compact};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::Decimal;
use crate::raw::Raw;

/// A day in ms, where no clock is changed.
pub const DAY_MS: i64 = 86_400_000;
/// A minute in ms.
pub const MINUTE_MS: i64 = 60_000;
/// The windows of most rows, in ms: a quarter of an hour.
pub const QUARTER_MS: i64 = 15 * MINUTE_MS;
/// 9999-12-31, the last day that ISO 8601 writes with four digits.
pub const LATEST_MS: i64 = 253_402_300_799_999;
/// Times in ms of thirteen digits, from 2001 to 2286: in keys that hold them as they are, only these stand in the order
/// of their numbers.
pub const IN_ORDER_MS: RangeInclusive<i64> = 1_000_000_000_000..=9_999_999_999_999;
/// Numbers below this are seconds or days.
const SECONDS_BELOW: u64 = 100_000_000_000;
/// 0001-01-01.
const EARLIEST_MS: i64 = -62_135_596_800_000;

/// A time as ISO 8601 writes it, in UTC; the number itself where that cannot.
pub fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |timestamp| timestamp.to_string())
}

/// The time zone whose days are counted by.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl FromStr for Zone {
    type Err = String;

    /// Takes a name of the IANA database, such as `Europe/Berlin`.
    fn from_str(name: &str) -> Result<Self, String> {
        if name == "UTC" {
            return Ok(Self::default());
        }
        TimeZone::get(name).map(Self).map_err(|_| format!("`{name}` is not a time zone of the IANA database"))
    }
}

/// One day of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day {
    /// Its date, as ISO 8601 writes it.
    pub date: CompactString,
    /// When it ends, in ms since 1970. Days have 23 to 25 hours where clocks are changed.
    pub end_ms: i64,
}

impl Zone {
    /// The day that a time falls on.
    pub fn day(&self, ms: i64) -> Day {
        if self.0 == TimeZone::UTC {
            let end_ms = (ms.div_euclid(DAY_MS) + 1) * DAY_MS;
            let date = TimeZone::UTC.to_datetime(timestamp(ms)).date();
            return Day { date: format_compact!("{date}"), end_ms };
        }
        let date = self.0.to_datetime(timestamp(ms)).date();
        let end_ms = date.tomorrow().ok().and_then(|next| self.begins(next));
        Day { date: format_compact!("{date}"), end_ms: end_ms.unwrap_or(LATEST_MS + 1) }
    }

    /// When the day that a time falls on begins, in ms since 1970.
    pub fn day_start(&self, ms: i64) -> i64 {
        self.begins(self.0.to_datetime(timestamp(ms)).date()).unwrap_or(EARLIEST_MS)
    }

    /// When a date begins; where clocks change at midnight, that is at one.
    fn begins(&self, date: Date) -> Option<i64> {
        self.0.to_timestamp(date.to_datetime(Time::midnight())).ok().map(Timestamp::as_millisecond)
    }
}

/// When the window of a width that a time falls into begins.
pub fn window_start(ms: i64, width_ms: i64) -> i64 {
    ms.div_euclid(width_ms) * width_ms
}

/// Reads a time: ISO 8601 (without an offset it is UTC), or a number whose unit its magnitude
/// tells.
///
/// # Errors
/// The reason why it is none.
pub fn read(field: &str, value: &Raw<'_>) -> Result<i64, String> {
    let text = value.text();
    let number = text.as_deref().unwrap_or(value.json());
    if let Ok(n) = number.parse::<i64>() {
        return within(field, by_magnitude(n));
    }
    match (&text, number.parse::<Decimal>()) {
        // Seconds may have a fraction; of a finer unit it is less than a ms.
        (None, Ok(n)) if n.to_f64().abs() < SECONDS_BELOW as f64 => {
            within(field, n.times(1_000).ok_or_else(|| odd(field, value))?.floor())
        }
        (None, Ok(n)) => within(field, by_magnitude(n.floor())),
        (Some(text), _) => iso(field, text),
        (None, Err(_)) => Err(odd(field, value)),
    }
}

/// Reads ISO 8601: date and time; an offset or `Z`, else it is UTC.
///
/// # Errors
/// The reason why it is none.
pub fn iso(field: &str, text: &str) -> Result<i64, String> {
    let zoned = text.parse::<Timestamp>();
    let time = zoned.or_else(|_| text.parse::<DateTime>().and_then(|time| TimeZone::UTC.to_timestamp(time)));
    let time = time.map_err(|_| format!("{field} `{text:.64}` is not a time"))?;
    within(field, time.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// A time in ms as part of a name, in UTC: `20261120_020000`.
pub fn to_name(ms: i64) -> String {
    timestamp(ms.clamp(EARLIEST_MS, LATEST_MS)).strftime("%Y%m%d_%H%M%S").to_string()
}

/// A number of unknown unit as ms: days below 200,000 (the year 2517), seconds below 10^11, ms below
/// 10^14, us below 10^17 (each the year 5138), else ns. So no ms value of after March 1973 ever
/// becomes a time of 1970.
pub fn by_magnitude(n: i64) -> i64 {
    match n.unsigned_abs() {
        0..200_000 => n * DAY_MS,
        200_000..SECONDS_BELOW => n * 1_000,
        SECONDS_BELOW..100_000_000_000_000 => n,
        100_000_000_000_000..100_000_000_000_000_000 => n.div_euclid(1_000),
        _ => n.div_euclid(1_000_000),
    }
}

/// Refuses what no calendar of four digits holds.
pub(crate) fn within(field: &str, ms: i64) -> Result<i64, String> {
    if (EARLIEST_MS..=LATEST_MS).contains(&ms) {
        return Ok(ms);
    }
    Err(format!("{field} is not between the years 1 and 9999"))
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

fn odd(field: &str, value: &Raw<'_>) -> String {
    format!("{field} {:.64} is not a time", value.json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone() {
        let hour = 3_600_000;
        // (zone, time, date, hours of the day)
        for (zone, time, date, hours) in [
            ("UTC", "2025-01-01T00:00:00Z", "2025-01-01", 24),
            ("UTC", "2024-12-31T23:59:59.999Z", "2024-12-31", 24),
            ("Europe/Berlin", "2025-03-29T22:59:59.999Z", "2025-03-29", 24),
            ("Europe/Berlin", "2025-03-29T23:00:00Z", "2025-03-30", 23),
            ("Europe/Berlin", "2025-03-30T21:59:59.999Z", "2025-03-30", 23),
            ("Europe/Berlin", "2025-03-30T22:00:00Z", "2025-03-31", 24),
            ("Europe/Berlin", "2025-10-25T22:00:00Z", "2025-10-26", 25),
            ("Europe/Berlin", "2025-10-26T22:59:59.999Z", "2025-10-26", 25),
            ("Europe/Berlin", "2025-10-26T23:00:00Z", "2025-10-27", 24),
            ("America/New_York", "2025-01-01T04:59:59.999Z", "2024-12-31", 24),
            ("America/New_York", "2025-01-01T05:00:00Z", "2025-01-01", 24),
            // Clocks change at midnight: the day begins at one.
            ("America/Asuncion", "2024-10-06T03:59:59Z", "2024-10-05", 24),
            ("America/Asuncion", "2024-10-06T04:00:00Z", "2024-10-06", 23),
            ("Asia/Kathmandu", "2025-01-01T18:15:00Z", "2025-01-02", 24),
        ] {
            let ms = iso("t", time).unwrap();
            let day = zone.parse::<Zone>().unwrap().day(ms);
            assert_eq!(day.date, date, "{zone} {time}");
            let started = zone.parse::<Zone>().unwrap().day(day.end_ms - hours * hour);
            let before = zone.parse::<Zone>().unwrap().day(day.end_ms - hours * hour - 1);
            assert_eq!((started.date == day.date, before.date == day.date), (true, false), "{zone} {time} {hours}");
            assert_eq!(zone.parse::<Zone>().unwrap().day_start(ms), day.end_ms - hours * hour, "{zone} {time}");
        }
        assert!("Mars/Olympus".parse::<Zone>().is_err());
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        for (json, expect) in [
            ("1735689600.123", 1_735_689_600_123),
            ("1735689600123.9", 1_735_689_600_123),
            ("1.7356896e9", 1_735_689_600_000),
            ("\"2025-01-01T00:00:00.5Z\"", 1_735_689_600_500),
        ] {
            assert_eq!(read("t", &sonic_rs::from_str(json).unwrap()), Ok(expect), "{json}");
        }
        for json in ["true", "\"soon\"", "1e300", "{}", "[1]"] {
            assert!(read("t", &sonic_rs::from_str(json).unwrap()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_unit_is_told_by_its_magnitude() {
        let new_year = 1_735_689_600_000_i64;
        for (n, expect) in [
            (new_year, new_year),
            (new_year / 1_000, new_year),
            (new_year * 1_000 + 7, new_year),
            (new_year * 1_000_000 + 7, new_year),
            (20_089, new_year),
            (0, 0),
            (-86_400_000_000_001, -86_400_000_000_001),
        ] {
            assert_eq!(by_magnitude(n), expect, "{n}");
        }
    }
}
