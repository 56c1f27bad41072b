//! Decimals as JSON numbers, for documents that people and scripts read.

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
