//! Rejects: how many records of a topic have been set aside. They have no entity, so they are
//! points: counted by their offsets.

use crate::{Decimal, Key, Rows};

use super::CURRENT;

/// Counts records of a topic that are set aside.
pub fn count(topic: &str, records: usize, rows: &mut Rows) {
    let records = Decimal::whole(i64::try_from(records).unwrap_or(i64::MAX));
    rows.add(Key::of("REJECTS", topic, CURRENT), &[("records", records)]);
}
