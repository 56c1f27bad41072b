//! What dashboards read: single rows, spans of partitions, pages of the directory.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use tidemark_model::views::{CURRENT, directory_of};
use tidemark_model::{Key, Measures};

use super::DynamoStore;
use super::error::store_error;
use super::item::{Reading, key_item, read_units, string};
use super::rows::{KIND, read_row};
use crate::{Answer, Metered, Units};

/// Part of a partition: sort keys from one to another, both in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition key.
    pub pk: String,
    /// The first sort key.
    pub from: String,
    /// The last sort key.
    pub to: String,
    /// Whether it is read from its end.
    pub backwards: bool,
    /// How many items at most.
    pub most: usize,
}

impl DynamoStore {
    /// One row, if there is one.
    ///
    /// # Errors
    /// If the request fails or the item cannot be read.
    pub async fn row(&self, key: &Key) -> Answer<Option<Measures>> {
        let table = self.tables.views.as_str();
        let answer = self
            .client
            .get_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("GetItem", table, e))?;
        let units = read_units(answer.consumed_capacity());
        let row = |item| read_row(&Reading { table, item: &item }, None).map(|row| row.measures);
        Ok(Metered { value: answer.item.map(row).transpose()?, units })
    }

    /// The rows of a span, in its order; and the sort key to go on after, if there may be more.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn span(&self, span: &Span) -> Answer<(Vec<(Key, Measures)>, Option<String>)> {
        self.page(span, None).await
    }

    /// The rows of a span after a sort key in it, likewise.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn page(&self, span: &Span, after: Option<&str>) -> Answer<(Vec<(Key, Measures)>, Option<String>)> {
        let table = self.tables.views.as_str();
        let place = |sk: &str| key_item(&Key { pk: span.pk.as_str().into(), sk: sk.into() });
        let (mut rows, mut units, mut after) = (Vec::new(), Units::default(), after.map(place));
        loop {
            let left = span.most.saturating_sub(rows.len());
            let page = self
                .client
                .query()
                .table_name(table)
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_names("#pk", "PK")
                .expression_attribute_names("#sk", "SK")
                .expression_attribute_values(":pk", string(&span.pk))
                .expression_attribute_values(":from", string(&span.from))
                .expression_attribute_values(":to", string(&span.to))
                .scan_index_forward(!span.backwards)
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(after.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|e| store_error("Query", table, e))?;
            units += read_units(page.consumed_capacity());
            for item in page.items() {
                let reading = Reading { table, item };
                rows.push((reading.key()?, read_row(&reading, None)?.measures));
            }
            after = page.last_evaluated_key;
            if after.is_none() || rows.len() >= span.most {
                break;
            }
        }
        let next = after.map(|item| Reading { table, item: &item }.key()).transpose()?.map(|key| key.sk.to_string());
        Ok(Metered { value: (rows, next), units })
    }

    /// The current totals of a kind after a row, in the order of their ids, at most so many; and the row to go on
    /// after, if there may be more.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn directory(
        &self,
        kind: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Answer<(Vec<(Key, Measures)>, Option<Key>)> {
        let table = self.tables.views.as_str();
        let place = |key: &Key| {
            let mut item = key_item(key);
            item.insert(KIND.to_owned(), string(kind));
            item
        };
        // A row of another kind is no place in this one.
        let after = after.filter(|key| directory_of(key) == Some(kind));
        let page = self
            .client
            .query()
            .table_name(table)
            .index_name("directory")
            .key_condition_expression("#kind = :kind")
            .expression_attribute_names("#kind", KIND)
            .expression_attribute_values(":kind", string(kind))
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(place))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("Query", table, e))?;
        let keys: Vec<Key> = page.items().iter().map(|item| Reading { table, item }.key()).collect::<Result<_, _>>()?;
        let next = page.last_evaluated_key().map(|item| Reading { table, item }.key()).transpose()?;
        let mut units = read_units(page.consumed_capacity());
        let found = self.get_rows(keys.clone()).await?;
        units += found.units;
        let mut found: HashMap<Key, Measures> = found.value.into_iter().collect();
        let rows = keys.into_iter().filter_map(|key| found.remove_entry(&key)).collect();
        Ok(Metered { value: (rows, next.filter(|key| key.sk == CURRENT)), units })
    }
}
