//! A JSON value that is not looked at until its turn comes: a borrowed slice of the text.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};
use sonic_rs::LazyValue;

/// The text of one JSON value, valid and without space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The value's JSON.
    pub fn json(self) -> &'a str {
        self.0
    }

    /// What stands between the quotes of a JSON string, escapes not undone; `None` for any other
    /// value.
    pub fn quoted(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// The text of a JSON string; `None` for any other value.
    pub fn text(self) -> Option<String> {
        serde_json::from_str(self.0).ok()
    }
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The parser's own lazy value carries caches that we have no use for: a quarter of its size.
        match LazyValue::deserialize(deserializer)?.as_raw_cow() {
            Cow::Borrowed(text) => Ok(Self(text)),
            Cow::Owned(_) => Err(serde::de::Error::custom("raw JSON can only be borrowed")),
        }
    }
}
