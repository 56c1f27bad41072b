//! Canonical JSON: one text for one content, whatever the order of members and the spaces. And what is short
//! and stands for texts: fingerprints and digests.

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::raw::Raw;
use crate::stream::first_line;

/// A JSON value as canonical text: members in the order of their names, no space, strings escaped
/// one way. Numbers stay as they were written: 1.0 is not 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The canonical text of a value, without the members of these names at any depth.
    ///
    /// # Errors
    /// If a string or a member cannot be read.
    pub(crate) fn without(value: &Raw<'_>, omitted: &[&str]) -> Result<Self, String> {
        let mut text = String::with_capacity(value.json().len());
        push(value.json(), omitted, &mut text)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self(raw.get().into()))
    }
}

/// 128 bits that stand for some texts in their order; each text's length counts, so that no two
/// lists run into each other.
pub(crate) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> u128 {
    let mut all = String::new();
    for text in texts {
        all.push_str(itoa::Buffer::new().format(text.len()));
        all.push(':');
        all.push_str(text);
    }
    xxh3_128(all.as_bytes())
}

/// What stands for texts that may hold personal data, where others must not read them: their [`fingerprint`],
/// as 32 digits in hexadecimal. There is no key to it: whoever knows the texts can compute it again. So it is
/// a pseudonym, and hides nothing from who can guess.
pub(crate) fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> CompactString {
    format_compact!("{:032x}", fingerprint(texts))
}

/// Appends a value's canonical text. The depth is bounded: the record was checked for it.
fn push(json: &str, omitted: &[&str], text: &mut String) -> Result<(), String> {
    match json.as_bytes().first() {
        Some(b'{') => {
            let mut members = Vec::new();
            for member in sonic_rs::to_object_iter(json) {
                let (name, value) = member.map_err(|e| first_line(&e))?;
                if !omitted.contains(&&*name) {
                    members.push((name, value));
                }
            }
            members.sort_by(|a, b| a.0.cmp(&b.0));
            text.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                push_string(name, text)?;
                text.push(':');
                push(value.as_raw_str(), omitted, text)?;
            }
            text.push('}');
        }
        Some(b'[') => {
            text.push('[');
            for (at, value) in sonic_rs::to_array_iter(json).enumerate() {
                if at > 0 {
                    text.push(',');
                }
                push(value.map_err(|e| first_line(&e))?.as_raw_str(), omitted, text)?;
            }
            text.push(']');
        }
        Some(b'"') => push_string(&serde_json::from_str::<String>(json).map_err(|e| e.to_string())?, text)?,
        _ => text.push_str(json.trim()),
    }
    Ok(())
}

fn push_string(string: &str, text: &mut String) -> Result<(), String> {
    text.push_str(&serde_json::to_string(string).map_err(|e| e.to_string())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_content_is_one_text() {
        let canonical = |json: &str| Json::without(&sonic_rs::from_str(json).unwrap(), &["ip"]).map(|json| json.0);
        let expected = r#"{"a":[1.0,{"x":"é\u0000"}],"b":"/"}"#;
        for json in [
            r#"{"a":[1.0,{"x":"é\u0000"}],"b":"/"}"#,
            r#" { "b" : "\/" , "ip": [1], "a" : [ 1.0 , { "ip": 7, "x" : "\u00e9\u0000" } ] } "#,
        ] {
            assert_eq!(&*canonical(json).unwrap(), expected);
        }
        assert_ne!(canonical("[1]"), canonical("[1.0]"));
        assert_ne!(canonical("[\"1\"]"), canonical("[1]"));
        assert!(canonical(r#"["\ud800"]"#).is_err());
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        assert_ne!(fingerprint(["ab", "c"]), fingerprint(["a", "bc"]));
        assert_ne!(fingerprint(["a", ""]), fingerprint(["a"]));
    }
}
