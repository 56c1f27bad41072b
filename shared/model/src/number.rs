//! Decimals and ids as JSON numbers, for documents that people and scripts read.

use compact_str::CompactString;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Decimal;

/// Serialises as an exact JSON number; only through `serde_json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub Decimal);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// An id that is serialised as a number where it is written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(pub CompactString);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<i128>() {
            Ok(n) if itoa::Buffer::new().format(n) == self.0 => {
                RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
            }
            _ => serializer.serialize_str(&self.0),
        }
    }
}
