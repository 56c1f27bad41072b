//! JSON as records need it read: values that are not looked at until their turn comes, and
//! objects that are nothing but objects.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sonic_rs::LazyValue;

/// The text of one JSON value, valid and without space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw<'a>(Cow<'a, str>);

impl<'a> Raw<'a> {
    /// The value's JSON.
    pub fn json(&self) -> &str {
        &self.0
    }

    /// What stands between the quotes of a JSON string, escapes not undone; `None` for any other
    /// value.
    pub fn quoted(&self) -> Option<&str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// The JSON string of a text that needs no escapes.
    pub(crate) fn of_plain(text: &str) -> Raw<'static> {
        Raw(Cow::Owned(format!("\"{text}\"")))
    }

    /// The JSON of a whole number.
    pub(crate) fn of_whole(n: i64) -> Raw<'static> {
        Raw(Cow::Owned(n.to_string()))
    }

    /// The value with its own text.
    pub(crate) fn into_owned<'b>(self) -> Raw<'b> {
        Raw(Cow::Owned(self.0.into_owned()))
    }

    /// The text of a JSON string; `None` for any other value.
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok()
    }
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The parser's own lazy value carries caches that we have no use for: four times the size.
        // It copies strings that have escapes, and borrows everything else.
        LazyValue::deserialize(deserializer).map(|value| Self(value.as_raw_cow()))
    }
}

/// A JSON object. A derived struct alone would take an array of its fields, too.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}
