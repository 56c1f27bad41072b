//! Lanes: sequences of plans that are committed one after the other.

use std::collections::BTreeMap;
use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tidemark_model::Batch;
use xxhash_rust::xxh3::xxh3_64;

/// One Kafka partition of one event source in one epoch, or what takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What marks and keys carry.
    pub id: LaneId,
    /// What people read: `source topic partition epoch`.
    pub name: String,
}

impl Lane {
    /// The lane of a batch.
    pub fn of(batch: &Batch, epoch: u32) -> Self {
        Self::new(&batch.source, &batch.topic, batch.partition, epoch)
    }

    /// The lane of a partition. Raising the epoch (after a topic was recreated) gives a new lane.
    pub fn new(source: &str, topic: &str, partition: i32, epoch: u32) -> Self {
        Self::named(format!("{source} {topic} {partition} {epoch}"))
    }

    /// The lane of the same partition in the epoch before, if there was one.
    pub(crate) fn before(&self) -> Option<Self> {
        let (partition, epoch) = self.name.rsplit_once(' ')?;
        let before = epoch.parse::<u32>().ok()?.checked_sub(1)?;
        Some(Self::named(format!("{partition} {before}")))
    }

    fn named(name: String) -> Self {
        Self { id: LaneId::of(&name), name }
    }
}

/// A lane's short id: 35 bits of a hash of its name, in base 32.
///
/// It is short because it names an attribute on every row the lane touches. Two lanes of one id
/// would break exactness, so the cursor keeps the full name and a mismatch fails closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId(CompactString);

impl LaneId {
    const LENGTH: usize = 7;

    /// Of the audit, whose repairs leave marks as a lane's plans do. No hash has this length.
    pub const AUDIT: Self = Self(CompactString::const_new("audit"));

    fn of(name: &str) -> Self {
        const DIGITS: [char; 32] = [
            'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u',
            'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7',
        ];
        let mut hash = xxh3_64(name.as_bytes());
        let mut id = CompactString::default();
        for _ in 0..Self::LENGTH {
            id.push(DIGITS.get((hash % 32) as usize).copied().unwrap_or('a'));
            hash /= 32;
        }
        Self(id)
    }

    /// An id read back from the store.
    pub fn stored(id: &str) -> Self {
        Self(CompactString::from(id))
    }

    /// The id as archives write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the attribute that carries the lane's mark on entities and rows.
    pub fn mark(&self) -> String {
        format!("~{}", self.0)
    }

    /// The name of the attribute of a competing row that keeps what the row read before the lane's
    /// newest addition.
    pub fn before(&self) -> String {
        format!("^{}", self.0)
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plan's fresh id: the seq that it is written for and 64 random bits, each as 16 digits in
/// hexadecimal. So a lane's plans stand in its order, and those of some seqs are one query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanId(CompactString);

impl PlanId {
    /// An id of a seq and random bits.
    pub fn new(seq: u64, bits: u64) -> Self {
        Self(CompactString::from(format!("{seq:016x}{bits:016x}")))
    }

    /// The seq that the plan was written for; `None` for an id of another form.
    pub fn seq(&self) -> Option<u64> {
        u64::from_str_radix(self.0.get(..16)?, 16).ok()
    }

    /// An id read back from the store.
    pub fn stored(id: &str) -> Self {
        Self(CompactString::from(id))
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a lane stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// How many plans the lane has committed.
    pub seq: u64,
    /// The newest plan.
    pub plan: PlanId,
    /// Whether that plan may not be wholly applied yet.
    pub pending: bool,
    /// The last offset that the lane's plans cover.
    pub through: Option<i64>,
    /// The newest Kafka timestamp up to `through`, in ms.
    pub through_ts: Option<i64>,
    /// When the plan was committed, in ms since 1970.
    pub since_ms: i64,
    /// The lane's full name.
    pub name: String,
}

impl Cursor {
    /// What the lane's name is made of: source, topic, partition, epoch.
    pub fn place(&self) -> Option<(&str, &str, i32, u32)> {
        let mut parts = self.name.rsplitn(4, ' ');
        let (epoch, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (topic, source) = (parts.next()?, parts.next()?);
        Some((source, topic, partition, epoch))
    }
}

/// Where lanes stand.
pub type Cursors = BTreeMap<LaneId, Cursor>;

#[cfg(test)]
mod tests {
    use super::*;

    /// What one lane keeps on a row must not overwrite what another keeps there, nor a number of the row.
    #[test]
    fn each_lane_has_attributes_of_its_own() {
        let lane = LaneId::stored("abcdefg");
        assert_eq!((lane.mark(), lane.before()), ("~abcdefg".to_owned(), "^abcdefg".to_owned()));
    }

    #[test]
    fn a_lane_knows_the_one_of_the_epoch_before() {
        assert_eq!(Lane::new("http", "ingest", 3, 7).before(), Some(Lane::new("http", "ingest", 3, 6)));
        assert_eq!(Lane::new("http", "ingest", 3, 0).before(), None);
    }

    #[test]
    fn a_plans_id_tells_its_seq_but_an_id_of_another_form_tells_none() {
        for seq in [0, 1, 17, u64::MAX] {
            assert_eq!(PlanId::new(seq, u64::MAX).seq(), Some(seq));
        }
        assert_eq!(["", "0123456789", "0123456789abcdeg0"].map(|id| PlanId::stored(id).seq()), [None; 3]);
    }
}
