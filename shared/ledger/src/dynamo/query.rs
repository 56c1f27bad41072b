//! What dashboards read: single rows, spans of partitions, pages of the directory, timelines.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use tidemark_model::rows::TTL;
use tidemark_model::views::{CURRENT, directory_of};
use tidemark_model::{Key, Known, Measures};

use super::DynamoStore;
use super::entities::read_known;
use super::error::store_error;
use super::item::{Item, Reading, key_item, read_units, string};
use super::rows::{KIND, read_keyed_row, read_row};
use crate::{Answer, Metered, StoreError, Units};

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
    /// The measures that are wanted of them; all, if it names none.
    pub only: &'static [&'static str],
}

impl Span {
    /// From one key to another of the same partition.
    pub fn between((from, to): (Key, Key), most: usize) -> Self {
        Self::of(from.pk, (from.sk.into(), to.sk.into()), most)
    }

    /// From one sort key of a partition to another.
    pub fn of(pk: impl Into<String>, (from, to): (String, String), most: usize) -> Self {
        Self { pk: pk.into(), from, to, backwards: false, most, only: &[] }
    }

    /// The span read from its end.
    #[must_use]
    pub fn backwards(self) -> Self {
        Self { backwards: true, ..self }
    }

    /// The span's rows with these measures alone: what is not asked for need not be parsed.
    #[must_use]
    pub fn only(self, only: &'static [&'static str]) -> Self {
        Self { only, ..self }
    }
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

    /// The rows of some keys, as they are now: those that are there, in any order.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn newest_rows(&self, keys: Vec<Key>) -> Answer<Vec<(Key, Measures)>> {
        self.batch_get_all(&self.tables.views, keys, true, read_keyed_row).await
    }

    /// The rows of a span, in its order; and the sort key to go on after, if there may be more.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn span(&self, span: &Span) -> Answer<(Vec<(Key, Measures)>, Option<String>)> {
        self.query_span(span, false).await
    }

    /// The same, as they are now.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn newest_span(&self, span: &Span) -> Answer<(Vec<(Key, Measures)>, Option<String>)> {
        self.query_span(span, true).await
    }

    async fn query_span(&self, span: &Span, consistent: bool) -> Answer<(Vec<(Key, Measures)>, Option<String>)> {
        let table = self.tables.views.as_str();
        let (mut rows, mut units, mut after) = (Vec::new(), Units::default(), None);
        loop {
            let left = span.most.saturating_sub(rows.len());
            let page = self.query(table, span, left, after.as_deref(), consistent).await?;
            units += page.units;
            for item in &page.value.0 {
                rows.push(read_keyed_row(Reading { table, item })?);
            }
            after = page.value.1;
            if after.is_none() || rows.len() >= span.most {
                break;
            }
        }
        Ok(Metered { value: (rows, after), units })
    }

    /// The rows of a span as far as one request shows them, which is 1 MB at most; and the sort key to go on after,
    /// if there may be more.
    ///
    /// # Errors
    /// If the request fails or an item cannot be read.
    pub async fn page(&self, span: &Span, after: Option<&str>) -> Answer<(Vec<(Key, Measures)>, Option<String>)> {
        let table = self.tables.views.as_str();
        let Metered { value: (items, next), units } = self.query(table, span, span.most, after, false).await?;
        let rows = items.iter().map(|item| read_keyed_row(Reading { table, item })).collect::<Result<_, _>>()?;
        Ok(Metered { value: (rows, next), units })
    }

    /// The entities of a span of the state table, likewise, strongly consistent.
    ///
    /// # Errors
    /// If the request fails or an item cannot be read.
    pub async fn entities(&self, span: &Span, after: Option<&str>) -> Answer<(Vec<(Key, Known)>, Option<String>)> {
        let table = self.tables.state.as_str();
        let Metered { value: (items, next), units } = self.query(table, span, span.most, after, true).await?;
        let entity = |item| {
            let reading = Reading { table, item };
            Ok((reading.key()?, read_known(&reading)?))
        };
        Ok(Metered { value: (items.iter().map(entity).collect::<Result<_, StoreError>>()?, next), units })
    }

    /// The rows of these keys that are there, in no order.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn rows_at(&self, keys: &[Key]) -> Answer<Vec<(Key, Measures)>> {
        self.batch_get_all(&self.tables.views, keys.to_vec(), false, read_keyed_row).await
    }

    /// One request for items of a span after a sort key, at most so many; and the sort key to go on after.
    async fn query(
        &self,
        table: &str,
        span: &Span,
        most: usize,
        after: Option<&str>,
        consistent: bool,
    ) -> Answer<(Vec<Item>, Option<String>)> {
        let place = |sk: &str| key_item(&Key { pk: span.pk.as_str().into(), sk: sk.into() });
        let mut request = self.client.query();
        if !span.only.is_empty() {
            let mut wanted = "#pk, #sk, #ttl".to_owned();
            for (at, name) in span.only.iter().enumerate() {
                wanted.push_str(&format!(", #{at}"));
                request = request.expression_attribute_names(format!("#{at}"), *name);
            }
            request = request.expression_attribute_names("#ttl", TTL).projection_expression(wanted);
        }
        let page = request
            .table_name(table)
            .consistent_read(consistent)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_names("#sk", "SK")
            .expression_attribute_values(":pk", string(&span.pk))
            .expression_attribute_values(":from", string(&span.from))
            .expression_attribute_values(":to", string(&span.to))
            .scan_index_forward(!span.backwards)
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(place))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("Query", table, e))?;
        let units = read_units(page.consumed_capacity());
        let next = page.last_evaluated_key().map(|item| Reading { table, item }.key()).transpose()?;
        Ok(Metered { value: (page.items.unwrap_or_default(), next.map(|key| key.sk.to_string())), units })
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
        let found = self.rows_at(&keys).await?;
        units += found.units;
        let mut found: HashMap<Key, Measures> = found.value.into_iter().collect();
        let rows = keys.into_iter().filter_map(|key| found.remove_entry(&key)).collect();
        Ok(Metered { value: (rows, next.filter(|key| key.sk == CURRENT)), units })
    }
}
