//! What a window of a metric comes to.

use tidemark_model::sketch::quantile;
use tidemark_model::{Decimal, Measures};

/// One number out of a window's points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aggregation {
    Mean,
    Sum,
    Count,
    Min,
    Max,
    /// The value at this rank from 0 to 1, within 1%.
    Quantile(f64),
    /// The sum of the values, per second of the window.
    Rate,
}

impl Aggregation {
    /// What callers call them.
    pub(crate) const WORDS: [(&str, Self); 10] = [
        ("mean", Self::Mean),
        ("sum", Self::Sum),
        ("count", Self::Count),
        ("min", Self::Min),
        ("max", Self::Max),
        ("median", Self::Quantile(0.5)),
        ("p90", Self::Quantile(0.9)),
        ("p95", Self::Quantile(0.95)),
        ("p99", Self::Quantile(0.99)),
        ("rate", Self::Rate),
    ];

    /// The measures it takes; none for all. Quantiles alone need the buckets of the sketch.
    pub(crate) fn measures(self) -> &'static [&'static str] {
        if matches!(self, Self::Quantile(_)) { &[] } else { &["count", "sum", "min", "max"] }
    }

    /// The number, of the sum of rows of a window of so many seconds; `None` if nothing was measured.
    pub(crate) fn of(self, row: &Measures, seconds: i64) -> Option<Decimal> {
        let (count, sum) = (row.get("count"), row.get("sum"));
        match self {
            Self::Mean => sum.mean(count),
            Self::Sum => Some(sum),
            Self::Count => Some(count),
            Self::Min => row.find("min"),
            Self::Max => row.find("max"),
            Self::Quantile(q) => quantile(row, q),
            Self::Rate => sum.mean(Decimal::whole(seconds)),
        }
    }
}
