//! Fields of records: what is read the same way in every stream, and the limits that keep every key,
//! item and sum within what the store holds.

use compact_str::CompactString;

use crate::Decimal;
use crate::raw::Raw;

/// Prices are below this, quantities at most that, and the product of both below the last: 10^11
/// products of the largest value add up before a sum needs more digits than there are (see
/// [`Decimal`]).
pub(crate) const PRICE_LIMIT: Decimal = Decimal::whole(1_000_000_000_000);
pub(crate) const QUANTITY_LIMIT: i64 = 1_000_000_000;
pub(crate) const VALUE_LIMIT: Decimal = Decimal::whole(1_000_000_000_000_000);
/// DynamoDB allows 2048 bytes of partition key; escaping takes up to three for one.
pub const ID_LIMIT: usize = 512;

/// Refuses a text that is too long.
pub(crate) fn within(field: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() > limit {
        return Err(format!("{field} is longer than {limit} bytes"));
    }
    Ok(())
}

/// A whole number.
pub(crate) fn whole(field: &str, value: &Raw<'_>) -> Result<i64, String> {
    let text = value.json();
    let n = text.parse().ok().or_else(|| text.parse::<Decimal>().ok()?.to_whole());
    n.ok_or_else(|| format!("{field} {text:.64} is not a whole number of 64 bits"))
}

/// An id, be it a text or a whole number of any length: 7 and "7" are the same.
pub(crate) fn id(field: &str, value: &Raw<'_>) -> Result<CompactString, String> {
    let json = value.json();
    let is_whole = json.strip_prefix('-').unwrap_or(json).bytes().all(|byte| byte.is_ascii_digit());
    let id = match value.text() {
        Some(text) => CompactString::from(text),
        None if json.starts_with('"') => return Err(format!("{field} is no Unicode text")),
        None if is_whole && json != "-0" => CompactString::from(json),
        None => CompactString::from(whole(field, value)?.to_string()),
    };
    within(field, &id, ID_LIMIT)?;
    Ok(id)
}
