//! Entities: what the records talk about, and the state that the newest record left each in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::activity::{Event, Seen};
use crate::metric::{Sample, TagSets};
use crate::order::{Item, Order};
use crate::parcel::Parcel;
use crate::product::Product;
use crate::{Key, SetAside};

/// The state of one entity, as it is stored. One line per kind of entity, here and below. What is larger
/// than a product is boxed: states are moved about a lot.
///
/// The JSON form is persisted and read by later releases: new fields need a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// A product of the catalogue.
    Product(Product),
    /// An order.
    Order(Box<Order>),
    /// A line of an order.
    Item(Box<Item>),
    /// Something that a user did.
    Event(Box<Event>),
    /// A user or a session was seen in an app on a day.
    Seen(Seen),
    /// A metric's point that has an identity.
    Sample(Box<Sample>),
    /// The points of a request that have none.
    Parcel(Parcel),
    /// The tag sets of a metric on a day.
    TagSets(TagSets),
    /// A record that was set aside.
    SetAside(SetAside),
}

impl State {
    /// When the state may be forgotten, in ms since 1970; `None` means never.
    pub fn expires(&self) -> Option<i64> {
        match self {
            Self::Product(product) => product.expires(),
            Self::Order(order) => order.expires,
            Self::Item(item) => item.expires,
            Self::Event(event) => Some(event.expires),
            Self::Seen(seen) => Some(seen.expires),
            Self::Sample(sample) => Some(sample.expires),
            Self::Parcel(parcel) => Some(parcel.expires),
            Self::TagSets(sets) => Some(sets.expires),
            Self::SetAside(set_aside) => Some(set_aside.expires),
        }
    }

    /// Whether the newest record told everything, so that no other can add to it.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Order(order) => order.is_whole(),
            Self::Item(item) => item.is_whole(),
            _ => true,
        }
    }

    /// This state with what its record left out taken from another one's: each field as the
    /// newest record that told it. Of two states in turn, whichever order they come in.
    #[must_use]
    pub fn merged(&self, own: Version, other: &Self, others: Version) -> Self {
        match (self, other) {
            (Self::Order(a), Self::Order(b)) => Self::Order(Box::new(a.merged(own, b, others))),
            (Self::Item(a), Self::Item(b)) => Self::Item(Box::new(a.merged(own, b, others))),
            _ => self.clone(),
        }
    }

    /// Whether a record that claims this as the state before it contradicts the one that was.
    pub fn contradicts(&self, stored: &Self) -> bool {
        match (self, stored) {
            (Self::Order(claimed), Self::Order(stored)) => claimed.contradicts(stored),
            (Self::Item(claimed), Self::Item(stored)) => claimed.contradicts(stored),
            _ => false,
        }
    }

    /// Whether the entity is only there to be counted once, and comes with others.
    pub fn is_sighting(&self) -> bool {
        matches!(self, Self::Seen(_))
    }
}

/// The logical version of a state, taken from the data: the highest wins, whatever the order of
/// arrival. Products: (timestamp in ms, rank of the event type, hash of the value). Rows of a database:
/// (position in its log, or time in ms; time in ms; offset).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Decides first.
    pub major: i64,
    /// Decides between equal majors.
    pub minor: i64,
    /// Decides what is left, arbitrarily but the same way everywhere.
    pub tie: u64,
}

impl Version {
    /// Older than any other: of what no record has told.
    pub const NONE: Self = Self { major: i64::MIN, minor: i64::MIN, tie: 0 };
    /// Newer than any other: of what no record may tell again.
    pub const LAST: Self = Self { major: i64::MAX, minor: i64::MAX, tie: u64::MAX };

    /// The lowest above this one.
    #[must_use]
    pub fn next(self) -> Self {
        let Self { major, minor, tie } = self;
        match (tie.checked_add(1), minor.checked_add(1)) {
            (Some(tie), _) => Self { tie, ..self },
            (None, Some(minor)) => Self { minor, tie: 0, ..self },
            (None, None) => Self { major: major.saturating_add(1), minor: i64::MIN, tie: 0 },
        }
    }
}

/// Persisted as `major.minor.tie`, the tie in hexadecimal.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:x}", self.major, self.minor, self.tie)
    }
}

/// A persisted version that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().unwrap_or_default();
        let (major, minor, tie) = (next(), next(), next());
        match (major.parse(), minor.parse(), u64::from_str_radix(tie, 16)) {
            (Ok(major), Ok(minor), Ok(tie)) => Ok(Self { major, minor, tie }),
            _ => Err(VersionError(text.to_owned())),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a record says: this entity has this state as of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which entity.
    pub key: Key,
    /// As of when.
    pub version: Version,
    /// The new state: whole, but for what the record left out.
    pub state: State,
    /// The state that the record says was before, where it does. Never relied on: the stored one wins.
    pub claimed: Option<Box<State>>,
    /// The telling that it comes with, where that may lose against another, or be forgotten: then this says
    /// nothing.
    pub told_by: Option<Box<(Key, Version)>>,
}

/// What the store knows of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// How often it has been changed.
    pub counter: u64,
    /// The version of its state.
    pub version: Version,
    /// Its state.
    pub state: State,
}

/// One entity's step from the state that was read to the state that the records demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Which entity.
    pub key: Key,
    /// Its counter as it was read, 0 for one not seen before; the step takes it one higher.
    pub counter: u64,
    /// The version of `after`.
    pub version: Version,
    /// The state that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<State>,
    /// The new state.
    pub after: State,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_the_lowest_above() {
        let version = |major, minor, tie| Version { major, minor, tie };
        for (one, next) in [
            (version(1, 2, 3), version(1, 2, 4)),
            (version(1, 2, u64::MAX), version(1, 3, 0)),
            (version(1, i64::MAX, u64::MAX), version(2, i64::MIN, 0)),
            (Version::NONE, version(i64::MIN, i64::MIN, 1)),
        ] {
            assert_eq!(one.next(), next);
            assert!(one < next && next < Version::LAST);
        }
    }
}
