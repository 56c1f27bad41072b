//! Keys of items, built from data without one id ever forging another's key.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The primary key of an item: partition key and sort key, as they stand in the table.
///
/// Most parts fit in 24 bytes each and so need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(CompactString, CompactString)", into = "(CompactString, CompactString)")]
pub struct Key {
    /// Partition key, attribute `PK`.
    pub pk: CompactString,
    /// Sort key, attribute `SK`.
    pub sk: CompactString,
}

impl Key {
    /// Bytes of a partition key at most. (Amazon DynamoDB developer guide, "Quotas".)
    pub const PK_BYTES: usize = 2_048;
    /// Bytes of a sort key at most.
    pub const SK_BYTES: usize = 1_024;

    /// A key of fixed words, which need no escaping.
    pub const fn fixed(pk: &'static str, sk: &'static str) -> Self {
        Self { pk: CompactString::const_new(pk), sk: CompactString::const_new(sk) }
    }

    /// The key `{kind}#{id}`, `sk`: the id comes from data and is escaped.
    pub fn of(kind: &'static str, id: &str, sk: &'static str) -> Self {
        let mut pk = CompactString::with_capacity(kind.len() + 1 + id.len());
        pk.push_str(kind);
        pk.push('#');
        push_escaped(&mut pk, id);
        Self { pk, sk: CompactString::const_new(sk) }
    }

    /// The key `{kind}#{id}`, `sk` of a number, which needs no escaping.
    pub fn numbered(kind: &'static str, id: i64, sk: &'static str) -> Self {
        let mut pk = CompactString::const_new(kind);
        pk.push('#');
        pk.push_str(itoa::Buffer::new().format(id));
        Self { pk, sk: CompactString::const_new(sk) }
    }

    /// The key of parts with `#` between them; each part may come from data and is escaped.
    pub fn parts(pk: &[&str], sk: &[&str]) -> Self {
        let joined = |parts: &[&str]| {
            let mut key = CompactString::default();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    key.push('#');
                }
                push_escaped(&mut key, part);
            }
            key
        };
        Self { pk: joined(pk), sk: joined(sk) }
    }

    /// A key right behind those whose sort keys begin with these parts, and before every other that comes later.
    pub fn behind(pk: &[&str], sk: &[&str]) -> Self {
        let mut key = Self::parts(pk, sk);
        // Follows `#`.
        key.sk.push('$');
        key
    }

    /// The parts that [`Key::parts`] was given for the partition key.
    pub fn pk_parts(&self) -> Vec<CompactString> {
        self.pk.split('#').filter_map(unescaped).collect()
    }

    /// The parts that [`Key::parts`] was given for the sort key.
    pub fn sk_parts(&self) -> Vec<CompactString> {
        self.sk.split('#').filter_map(unescaped).collect()
    }

    /// Whether the first part of the partition key is this one.
    pub fn is_of(&self, kind: &str) -> bool {
        self.pk.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
    }

    /// The id that [`Key::of`] was given, if this key is of that kind and sort key.
    pub fn id(&self, kind: &'static str, sk: &'static str) -> Option<CompactString> {
        if self.sk != sk {
            return None;
        }
        unescaped(self.pk.strip_prefix(kind)?.strip_prefix('#')?)
    }
}

impl From<(CompactString, CompactString)> for Key {
    fn from((pk, sk): (CompactString, CompactString)) -> Self {
        Self { pk, sk }
    }
}

impl From<Key> for (CompactString, CompactString) {
    fn from(key: Key) -> Self {
        (key.pk, key.sk)
    }
}

const fn is_reserved(byte: u8) -> bool {
    matches!(byte, b'#' | b'%') || byte.is_ascii_control()
}

/// Appends a part with `#`, `%` and control characters as `%XX`. Injective: [`unescaped`] undoes it.
fn push_escaped(key: &mut CompactString, part: &str) {
    if !part.bytes().any(is_reserved) {
        return key.push_str(part);
    }
    for c in part.chars() {
        match u8::try_from(c) {
            Ok(byte) if is_reserved(byte) => {
                key.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    key.push(char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }));
                }
            }
            _ => key.push(c),
        }
    }
}

fn unescaped(part: &str) -> Option<CompactString> {
    let mut pieces = part.split('%');
    let mut id = CompactString::from(pieces.next()?);
    for piece in pieces {
        let (code, rest) = (piece.get(..2)?, piece.get(2..)?);
        id.push(char::from(u8::from_str_radix(code, 16).ok()?));
        id.push_str(rest);
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_cannot_forge_a_separator() {
        assert_eq!(Key::of("SELLER", "a#b%\u{0}😀", "X").pk, "SELLER#a%23b%25%00😀");
    }

    proptest! {
        #[test]
        fn the_encoding_is_injective(id in "\\PC{0,8}[#%\\x00-\\x1f]{0,4}\\PC{0,8}", other in "[#%0-9A-F]{0,6}") {
            let key = Key::of("SELLER", &id, "X");
            prop_assert_eq!(key.id("SELLER", "X"), Some(CompactString::from(id.as_str())));
            prop_assert_eq!(key.pk.matches('#').count(), 1);
            prop_assert_eq!(key == Key::of("SELLER", &other, "X"), id == other);
            let (of_id, of_other) = (Key::parts(&["P"], &[&id, "X"]), Key::parts(&["P"], &[&other, "X"]));
            let under = Key::parts(&["P"], &[&id, ""])..Key::behind(&["P"], &[&id]);
            prop_assert!(under.contains(&of_id));
            prop_assert_eq!(under.contains(&of_other), id == other);
        }
    }
}
