//! Entities: what the records talk about, and the state that the newest record left each in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Key;
use crate::product::Product;

/// The state of one entity, as it is stored. One line per kind of entity.
///
/// The JSON form is persisted and read by later releases: new fields need a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// A product of the catalogue.
    Product(Product),
}

impl State {
    /// When the state may be forgotten, in ms since 1970; `None` means never.
    pub fn expires(&self) -> Option<i64> {
        match self {
            Self::Product(product) => product.expires(),
        }
    }
}

/// The logical version of a state, taken from the data: the highest wins, whatever the order of
/// arrival. Products: (timestamp in ms, rank of the event type, hash of the value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Decides first.
    pub major: i64,
    /// Decides between equal majors.
    pub minor: i64,
    /// Decides what is left, arbitrarily but the same way everywhere.
    pub tie: u64,
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
    /// The whole new state.
    pub state: State,
}

/// What the store knows of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
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
