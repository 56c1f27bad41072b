//! History: what current totals were when days were closed, as small items of the state table that are no entities.

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, ReturnConsumedCapacity, WriteRequest};
use compact_str::CompactString;
use tidemark_model::rows::{TTL, seconds_up};
use tidemark_model::time::IN_ORDER_MS;
use tidemark_model::{Key, Measures};

use super::DynamoStore;
use super::error::{invalid, store_error};
use super::item::{Item, Reading, key_item, number, read_units, string, write_units};
use super::rows::read_row;
use crate::{Answer, Metered, StoreError, Units};

const CLOSED: &str = "closed";
const DATE: &str = "date";

/// A day that was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Its date.
    pub date: CompactString,
    /// When it began, in ms since 1970.
    pub start_ms: i64,
    /// When it was closed, in ms since 1970: what had been counted by then is in it.
    pub closed_ms: i64,
    /// When this may be forgotten, in ms since 1970.
    pub expires_ms: i64,
}

impl DynamoStore {
    /// How many rows [`DynamoStore::close`] takes at once. (Amazon DynamoDB API reference, "BatchWriteItem".)
    pub const CLOSED_AT_ONCE: usize = 25;

    /// Keeps what rows of current totals were when a day was closed, in the place of what was kept of that day. The
    /// rows that the store did not get to come back.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn close(&self, closing: &Closing, rows: &[(Key, Measures)]) -> Answer<Vec<(Key, Measures)>> {
        let table = self.tables.state.as_str();
        let write = |(key, row): &(Key, Measures)| {
            let put = PutRequest::builder().set_item(Some(closed(closing, key, row))).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        };
        let writes = rows.iter().map(write).collect::<Result<Vec<_>, _>>();
        let writes = writes.map_err(|error| invalid("BatchWriteItem", table, error))?;
        let answer = self
            .client
            .batch_write_item()
            .request_items(table, writes)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("BatchWriteItem", table, e))?;
        let units = write_units(answer.consumed_capacity());
        let left = answer.unprocessed_items.unwrap_or_default().into_values().flatten();
        let left: Vec<Item> = left.filter_map(|write| write.put_request).map(|put| put.item).collect();
        let is_left = |key: &Key| left.iter().any(|item| item.get("PK") == Some(&string(key.pk.as_str())));
        Ok(Metered { value: rows.iter().filter(|(key, _)| is_left(key)).cloned().collect(), units })
    }

    /// What a row of current totals was at the ends of the days that began within these times, both in it, the
    /// earliest first.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn closings(&self, row: &Key, from_ms: i64, to_ms: i64) -> Answer<Vec<(Closing, Measures)>> {
        let table = self.tables.state.as_str();
        let mut pages = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_names("#sk", "SK")
            .expression_attribute_values(":pk", string(row.pk.as_str()))
            .expression_attribute_values(":from", string(place(from_ms)))
            .expression_attribute_values(":to", string(place(to_ms)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .into_paginator()
            .send();
        let (mut days, mut units) = (Vec::new(), Units::default());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| store_error("Query", table, e))?;
            units += read_units(page.consumed_capacity());
            for item in page.items() {
                days.push(day(&Reading { table, item })?);
            }
        }
        Ok(Metered { value: days, units })
    }
}

/// A sort key.
fn place(start_ms: i64) -> String {
    format!("METRICS#{}", start_ms.clamp(*IN_ORDER_MS.start(), *IN_ORDER_MS.end()))
}

fn closed(closing: &Closing, key: &Key, row: &Measures) -> Item {
    let mut item = key_item(&Key { pk: key.pk.clone(), sk: place(closing.start_ms).into() });
    item.extend(row.iter().map(|(name, n)| (name.to_owned(), number(n))));
    item.insert(TTL.to_owned(), number(seconds_up(closing.expires_ms)));
    item.insert(CLOSED.to_owned(), number(closing.closed_ms));
    item.insert(DATE.to_owned(), AttributeValue::S(closing.date.to_string()));
    item
}

fn day(reading: &Reading<'_>) -> Result<(Closing, Measures), StoreError> {
    let start = reading.text("SK")?.strip_prefix("METRICS#").and_then(|start| start.parse().ok());
    let mut row = read_row(reading, None)?.measures;
    let closing = Closing {
        date: reading.text(DATE)?.into(),
        start_ms: start.ok_or_else(|| reading.unreadable("SK"))?,
        closed_ms: reading.parsed(CLOSED)?,
        expires_ms: row.expires_ms().ok_or_else(|| reading.unreadable(TTL))?,
    };
    row.remove(TTL);
    row.remove(CLOSED);
    Ok((closing, row))
}
