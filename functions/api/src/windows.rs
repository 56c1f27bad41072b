//! Windows of time that an answer has a value for.

use tidemark_model::time::{Zone, window_start};

use crate::Range;

/// Windows of one answer at most.
pub(crate) const MOST: usize = 11_000;

/// How wide windows are.
#[derive(Clone, Debug)]
pub(crate) enum Width {
    /// So many ms; multiples of that since 1970.
    Ms(i64),
    /// Days of a zone.
    Day(Zone),
}

/// Windows one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// When each begins, in ms since 1970; and when the last one ends.
    bounds: Vec<i64>,
}

impl Windows {
    /// The whole windows that a range touches; `None` if they are too many for one answer.
    pub(crate) fn of(range: Range, width: &Width) -> Option<Self> {
        let (mut bounds, mut end_ms) = match width {
            Width::Ms(ms) => (Vec::new(), window_start(range.start_ms, *ms)),
            Width::Day(zone) => (Vec::new(), zone.day_start(range.start_ms)),
        };
        while end_ms < range.end_ms {
            if bounds.len() == MOST {
                return None;
            }
            bounds.push(end_ms);
            end_ms = match width {
                Width::Ms(ms) => end_ms.saturating_add(*ms),
                Width::Day(zone) => zone.day(end_ms).end_ms,
            };
        }
        bounds.push(end_ms);
        Some(Self { bounds })
    }

    /// A range as the one window there is.
    pub(crate) fn whole(range: Range) -> Self {
        Self { bounds: vec![range.start_ms, range.end_ms] }
    }

    /// All of them as one range.
    pub(crate) fn covered(&self) -> Range {
        let first = self.bounds.first().copied().unwrap_or_default();
        Range { start_ms: first, end_ms: self.bounds.last().copied().unwrap_or(first) }
    }

    /// Which one holds a time.
    pub(crate) fn at(&self, ms: i64) -> Option<usize> {
        let begun = self.bounds.partition_point(|bound| *bound <= ms);
        begun.checked_sub(1).filter(|_| begun < self.bounds.len())
    }

    /// Each in turn.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range> {
        self.bounds.iter().zip(self.bounds.iter().skip(1)).map(|(start, end)| Range { start_ms: *start, end_ms: *end })
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::time::{DAY_MS, MINUTE_MS, iso};

    use super::*;

    fn ms(text: &str) -> i64 {
        iso("t", text).unwrap()
    }

    #[test]
    fn days_are_those_of_the_zone_also_where_clocks_change() {
        // (zone, from, to, hours of each day)
        for (zone, from, to, hours) in [
            ("UTC", "2025-01-01T00:00:00Z", "2025-01-03T00:00:00Z", vec![24, 24]),
            ("UTC", "2025-01-01T23:59:59.999Z", "2025-01-02T00:00:00.001Z", vec![24, 24]),
            ("Europe/Berlin", "2025-03-29T12:00:00Z", "2025-03-31T12:00:00Z", vec![24, 23, 24]),
            ("Europe/Berlin", "2025-10-26T12:00:00Z", "2025-10-27T12:00:00Z", vec![25, 24]),
            ("America/Asuncion", "2024-10-06T12:00:00Z", "2024-10-07T12:00:00Z", vec![23, 24]),
            ("Asia/Kathmandu", "2025-01-01T18:14:59Z", "2025-01-01T18:15:01Z", vec![24, 24]),
        ] {
            let range = Range { start_ms: ms(from), end_ms: ms(to) };
            let windows = Windows::of(range, &Width::Day(zone.parse().unwrap())).unwrap();
            let found: Vec<i64> = windows.iter().map(|day| (day.end_ms - day.start_ms) / (60 * MINUTE_MS)).collect();
            assert_eq!(found, hours, "{zone} {from}");
            let covered = windows.covered();
            assert!(covered.start_ms <= range.start_ms && range.end_ms <= covered.end_ms);
            assert_eq!((windows.at(range.start_ms), windows.at(range.end_ms - 1)), (Some(0), Some(hours.len() - 1)));
            assert_eq!((windows.at(covered.start_ms - 1), windows.at(covered.end_ms)), (None, None));
        }
    }

    #[test]
    fn windows_are_counted_before_there_are_too_many() {
        let range = Range { start_ms: 0, end_ms: 366 * DAY_MS };
        assert_eq!(Windows::of(range, &Width::Ms(MINUTE_MS)), None);
        assert_eq!(Windows::of(range, &Width::Ms(60 * MINUTE_MS)).unwrap().iter().count(), 366 * 24);
    }
}
