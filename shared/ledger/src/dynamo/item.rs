//! Attributes of items, read with the item's name in the error.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity};
use tidemark_model::Key;

use crate::{LaneId, StoreError, Units};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

/// The primary key as a request takes it.
pub(super) fn key_item(key: &Key) -> Item {
    HashMap::from([("PK".to_owned(), string(&*key.pk)), ("SK".to_owned(), string(&*key.sk))])
}

/// An item being read.
pub(super) struct Reading<'a> {
    pub(super) table: &'a str,
    pub(super) item: &'a Item,
}

impl Reading<'_> {
    pub(super) fn key(&self) -> Result<Key, StoreError> {
        Ok(Key { pk: self.text("PK")?.into(), sk: self.text("SK")?.into() })
    }

    pub(super) fn text(&self, attribute: &'static str) -> Result<&str, StoreError> {
        match self.item.get(attribute) {
            Some(AttributeValue::S(text)) => Ok(text),
            _ => Err(self.unreadable(attribute)),
        }
    }

    pub(super) fn parsed<T: FromStr>(&self, attribute: &'static str) -> Result<T, StoreError> {
        match self.item.get(attribute) {
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => text.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| self.unreadable(attribute))
    }

    pub(super) fn optional<T: FromStr>(&self, attribute: &'static str) -> Result<Option<T>, StoreError> {
        if !self.item.contains_key(attribute) {
            return Ok(None);
        }
        self.parsed(attribute).map(Some)
    }

    pub(super) fn flag(&self, attribute: &'static str) -> Result<bool, StoreError> {
        match self.item.get(attribute) {
            Some(AttributeValue::Bool(flag)) => Ok(*flag),
            _ => Err(self.unreadable(attribute)),
        }
    }

    pub(super) fn unreadable(&self, attribute: &str) -> StoreError {
        let text = |name| match self.item.get(name) {
            Some(AttributeValue::S(text)) => text.clone(),
            _ => "?".to_owned(),
        };
        StoreError::Unreadable {
            table: self.table.to_owned(),
            pk: text("PK"),
            sk: text("SK"),
            attribute: attribute.to_owned(),
        }
    }
}

/// A lane's mark on an item; 0 for none.
pub(super) fn mark(item: &Item, lane: &LaneId) -> u64 {
    match item.get(&lane.mark()) {
        Some(AttributeValue::N(seq)) => seq.parse().unwrap_or(0),
        _ => 0,
    }
}

/// Units of a read.
pub(super) fn read_units<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> Units {
    Units { read: total(consumed), write: 0.0 }
}

/// Units of a write.
pub(super) fn write_units<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> Units {
    Units { read: 0.0, write: total(consumed) }
}

/// A refused condition consumes the unit that the write would have, but the refusal does not say.
pub(super) const REFUSED: Units = Units { read: 0.0, write: 1.0 };

fn total<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
}
