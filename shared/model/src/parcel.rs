//! Parcels: the points of a request that have no identity of their own. They count together, once, because the
//! request has one.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::metric::{Point, Series};
use crate::time::Day;
use crate::{Change, Decimal, Key, State, Version};

/// The points of a request, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// The points by what they are of, in the order of their first.
    pub strands: Vec<Strand>,
    /// When the parcel may be forgotten, in ms since 1970: a day after its newest point would be late.
    pub expires: i64,
}

/// Points of one series on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strand {
    /// Of what they are counted: of their own series, or of the overflow.
    pub series: Series,
    /// The day that was.
    pub day: Day,
    /// How long their windows are kept after they end, in ms.
    pub kept_ms: i64,
    /// When each was, in ms since 1970, and what was measured.
    pub points: Vec<(i64, Decimal)>,
}

impl Parcel {
    /// The points of a part of a request, by the request's digest. The first that arrive stay.
    pub fn of(request: &CompactString, part: usize, points: impl IntoIterator<Item = Point>) -> Change {
        let mut parcel = Self { strands: Vec::new(), expires: i64::MIN };
        for point in points {
            parcel.add(point);
        }
        Change {
            key: Key::parts(&["REQUEST", request], &["POINTS", &format!("{part:04}")]),
            version: Version { major: 0, minor: 0, tie: 0 },
            state: State::Parcel(parcel),
            claimed: None,
            told_by: None,
        }
    }

    fn add(&mut self, Point { series, day, at, value, kept_ms, .. }: Point) {
        self.expires = self.expires.max(at.saturating_add(kept_ms));
        let same = |strand: &&mut Strand| strand.series == series && strand.day == day && strand.kept_ms == kept_ms;
        match self.strands.iter_mut().find(same) {
            Some(strand) => strand.points.push((at, value)),
            None => self.strands.push(Strand { series, day, kept_ms, points: vec![(at, value)] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Zone;

    /// Persisted: a later release reads what this one wrote.
    #[test]
    fn a_parcel_reads_back_from_the_json_that_is_stored() {
        let series = |metric: &str| Series { app: "a".into(), metric: metric.into(), kind: "k".into(), tags: vec![] };
        let point = |at: i64, metric: &str| Point {
            offset: 0,
            series: series(metric),
            at,
            day: Zone::default().day(at),
            value: Decimal::whole(at),
            kept_ms: 10,
        };
        let change = Parcel::of(&"d".into(), 3, [point(1, "m"), point(5, "n"), point(2, "m")]);
        assert_eq!(change.key, Key::fixed("REQUEST#d", "POINTS#0003"));
        let day = r#""day":{"date":"1970-01-01","end_ms":86400000},"kept_ms":10"#;
        let series = |metric: &str| format!(r#""series":{{"app":"a","metric":"{metric}","type":"k"}}"#);
        let json = format!(
            r#"{{"Parcel":{{"strands":[{{{},{day},"points":[[1,"1"],[2,"2"]]}},{{{},{day},"points":[[5,"5"]]}}],"expires":15}}}}"#,
            series("m"),
            series("n"),
        );
        assert_eq!(serde_json::to_string(&change.state).unwrap(), json);
        assert_eq!(serde_json::from_str::<State>(&json).unwrap(), change.state);
    }
}
