//! Requests: values that come over HTTP, read by the very decoders of the streams.
//!
//! A record of Kafka has a place that names it. A value of a request has none, and the request may come again: so
//! every change that it comes to is an entity's, which may be told any number of times, on any lane. An event
//! without an id is named by its place in a request that has an idempotency key, or if it says no time; and else by its
//! fingerprint, as in the stream. Points without one make [`Parcel`]s.

use compact_str::CompactString;

use crate::Change;
use crate::decode::shortened;
use crate::fingerprint::digest;
use crate::kafka::RawRecord;
use crate::metric::Point;
use crate::parcel::Parcel;
use crate::stream::{Accepted, Input, Requested, Said, Settings, Stream};

/// Values of one parcel at most: so many buckets of a sketch, with the other numbers of a row, fit one addition.
const PARCEL_VALUES: usize = 128;
/// Bytes of their JSON at most, but for one value alone: what is kept of it fits a key. So a parcel takes some
/// 100 KB at most, and an item holds 400.
const PARCEL_BYTES: usize = 64 << 10;

/// What names a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    digest: CompactString,
    /// Whether the request may come again under its name.
    pub may_come_again: bool,
}

impl RequestId {
    /// Of a request that comes again under the same idempotency key of the same caller.
    pub fn keyed(caller: &str, key: &str) -> Self {
        Self { digest: digest(["key", caller, key]), may_come_again: true }
    }

    /// Of a request without a key: random bits, the same whenever this one is committed again.
    pub fn random(bits: u128) -> Self {
        Self { digest: digest(["random", &bits.to_string()]), may_come_again: false }
    }

    /// What names the value at a place in the request.
    pub fn id_of(&self, index: usize) -> CompactString {
        digest([self.digest.as_str(), &index.to_string()])
    }
}

/// What a request comes to.
#[derive(Clone, Debug, Default)]
pub struct Ingested {
    /// What its good values say.
    pub changes: Vec<Change>,
    /// What became of each value, in their order: the reason, where it cannot be counted.
    pub results: Vec<Result<Accepted, String>>,
}

/// Reads a request's values, as a producer would send them to a stream's topic. They arrive now; `may_tell` says of
/// which apps the caller may tell something. The same values, under the same id, come to the same entities.
pub fn ingest<V: AsRef<[u8]>>(
    stream: &Stream,
    values: &[V],
    request: &RequestId,
    settings: &Settings,
    may_tell: impl Fn(&str) -> bool,
) -> Ingested {
    let (mut said, mut results) = (Said::default(), Vec::with_capacity(values.len()));
    for (index, value) in values.iter().enumerate() {
        let before = (said.changes.len(), said.points.len());
        let record = RawRecord::requested(i64::try_from(index).unwrap_or(i64::MAX), settings.now_ms);
        let id = request.id_of(index);
        let requested = Requested { id: &id, may_come_again: request.may_come_again, may_tell: &may_tell };
        let input = Input { record: &record, value: Some(value.as_ref()), settings, requested: Some(requested) };
        let result = (stream.decode)(&input, &mut said);
        if result.is_err() {
            // A value counts whole or not at all.
            said.changes.truncate(before.0);
            said.points.truncate(before.1);
        }
        results.push(result.map_err(shortened));
    }
    let mut changes = said.changes;
    changes.extend(parcels(said.points, values, request));
    Ingested { changes, results }
}

/// Points as parcels. Which point is in which part depends on the values alone, and not on what became of them:
/// when the request comes again, some may be late that were not.
fn parcels<V: AsRef<[u8]>>(points: Vec<Point>, values: &[V], request: &RequestId) -> Vec<Change> {
    let (mut part, mut count, mut bytes) = (0, 0, 0);
    let mut of_index = Vec::with_capacity(values.len());
    for value in values {
        let length = value.as_ref().len();
        if count == PARCEL_VALUES || (count > 0 && bytes + length > PARCEL_BYTES) {
            (part, count, bytes) = (part + 1, 0, 0);
        }
        (count, bytes) = (count + 1, bytes + length);
        of_index.push(part);
    }
    let part_of = |point: &Point| usize::try_from(point.offset).ok().and_then(|at| of_index.get(at)).copied();
    let mut parts: Vec<(usize, Vec<Point>)> = Vec::new();
    for point in points {
        let part = part_of(&point).unwrap_or(part);
        match parts.last_mut() {
            Some((last, points)) if *last == part => points.push(point),
            _ => parts.push((part, vec![point])),
        }
    }
    parts.into_iter().map(|(part, points)| Parcel::of(&request.digest, part, points)).collect()
}
