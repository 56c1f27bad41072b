//! Reading the views back: whole, for snapshots and the local run; and the tops of rankings.

use std::time::Duration;

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use serde::{Deserialize, Serialize};
use tidemark_model::views::{self, Ranking, VIEWS};
use tidemark_model::{Decimal, Key, Measures, State};

use super::DynamoStore;
use super::error::store_error;
use super::item::{Item, Reading, key_item, number, read_units, string};
use super::rows::read_keyed_row;
use crate::{Answer, Floor, Metered, Page, Segment, Store, StoreError, Units};

/// Before keys are asked for again that a throttled read left out.
const PAUSE: Duration = Duration::from_millis(50);
/// Places of a ranking that are read first beyond those wanted, for equals of the last.
const ROOM: usize = 10;

impl DynamoStore {
    /// Reads every row that is not past its TTL, and every listed state. It scans the views table:
    /// never for a dashboard.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn read_tables(&self, now_ms: i64) -> Result<views::Tables, StoreError> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = self.rows(Segment::WHOLE, after.as_ref()).await?.value;
            for (key, row) in page {
                let row = row?.measures;
                if row.is_kept(now_ms) {
                    rows.push((key, row));
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut tables = views::Tables { rows, listed: Vec::new() };
        for view in VIEWS {
            if let Some(board) = view.board {
                let mut after = None;
                loop {
                    let (states, next) = self.listed(board.name, after.as_ref(), None).await?.value;
                    tables.listed.extend(states);
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(tables)
    }

    /// A page of the states on a board after a place on it, the lowest rank first and equals in any order, at most so
    /// many, or as many as one answer holds; and the place to go on after, if there may be more.
    ///
    /// # Errors
    /// If the request fails or a state cannot be read.
    pub async fn listed(
        &self,
        board: &str,
        after: Option<&Place>,
        most: Option<usize>,
    ) -> Answer<(Vec<State>, Option<Place>)> {
        let table = self.tables.state.as_str();
        let page = self
            .client
            .query()
            .table_name(table)
            .index_name("board")
            .key_condition_expression("#board = :board")
            .expression_attribute_names("#board", "board")
            .expression_attribute_values(":board", string(board))
            .set_exclusive_start_key(after.map(|place| place.on(board)))
            .set_limit(most.map(|most| i32::try_from(most).unwrap_or(i32::MAX)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("Query", table, e))?;
        let state = |item| {
            let reading = Reading { table, item };
            serde_json::from_str(reading.text("s")?).map_err(|_| reading.unreadable("s"))
        };
        let states = page.items().iter().map(state).collect::<Result<_, StoreError>>()?;
        let units = read_units(page.consumed_capacity());
        let next = page.last_evaluated_key().map(|item| Place::read(&Reading { table, item })).transpose()?;
        Ok(Metered { value: (states, next), units })
    }

    /// The rows of one partition key, in the order of their sort keys.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn partition(&self, pk: &str) -> Answer<Vec<(Key, Measures)>> {
        let table = self.tables.views.as_str();
        let mut pages = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_values(":pk", string(pk))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .into_paginator()
            .send();
        let (mut rows, mut units) = (Vec::new(), Units::default());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| store_error("Query", table, e))?;
            units += read_units(page.consumed_capacity());
            for item in page.items() {
                rows.push(read_keyed_row(Reading { table, item })?);
            }
        }
        Ok(Metered { value: rows, units })
    }

    /// The highest rows of a ranking, at most so many, the highest first and equals in the order of
    /// their keys. Where more rows fell than the index has room for, it may be fewer until the next
    /// refresh, but never wrong ones.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn top(&self, ranking: &'static Ranking, most: usize) -> Answer<Vec<(Key, Measures)>> {
        let table = self.tables.views.as_str();
        let Metered { value: Floor { shown: floor, .. }, mut units } = self.read_floor(ranking).await?;
        let mut request = self
            .client
            .query()
            .table_name(table)
            .index_name("ranking")
            .scan_index_forward(false)
            .expression_attribute_names("#board", "board")
            .expression_attribute_values(":board", string(ranking.board))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut condition = "#board = :board".to_owned();
        if let Some(floor) = floor {
            condition.push_str(" AND #rank >= :floor");
            request = request
                .expression_attribute_names("#rank", "rank")
                .expression_attribute_values(":floor", number(floor));
        }
        request = request.key_condition_expression(condition);
        let mut ranked: Vec<(Decimal, Key)> = Vec::new();
        let (mut after, mut limit) = (None, i32::try_from(most.saturating_add(ROOM)).ok());
        'pages: loop {
            let page = request.clone().set_exclusive_start_key(after).set_limit(limit).send().await;
            let page = page.map_err(|e| store_error("Query", table, e))?;
            units += read_units(page.consumed_capacity());
            for item in page.items() {
                let reading = Reading { table, item };
                let rank: Decimal = reading.parsed("rank")?;
                // Equals stand in the index in any order: all of the last rank are needed to cut there.
                if ranked.len() >= most && ranked.last().is_some_and(|(last, _)| rank < *last) {
                    break 'pages;
                }
                ranked.push((rank, reading.key()?));
            }
            // Many equals are read by whole pages.
            (after, limit) = (page.last_evaluated_key, None);
            if after.is_none() {
                break;
            }
        }
        let keys: Vec<Key> = ranked.into_iter().map(|(_, key)| key).collect();
        let Metered { value: mut rows, units: of_rows } = self.rows_at(&keys).await?;
        units += of_rows;
        rows.retain(|(_, row)| ranking.is_present(row));
        rows.sort_by(|(a, one), (b, other)| other.get(ranking.by).cmp(&one.get(ranking.by)).then_with(|| a.cmp(b)));
        rows.truncate(most);
        Ok(Metered { value: rows, units })
    }

    /// Reads items until all are answered.
    pub(super) async fn batch_get_all<T>(
        &self,
        table: &str,
        mut keys: Vec<Key>,
        consistent: bool,
        read: impl Fn(Reading<'_>) -> Result<T, StoreError>,
    ) -> Answer<Vec<T>> {
        let (mut items, mut all) = (Vec::with_capacity(keys.len()), Units::default());
        while !keys.is_empty() {
            let asked = keys.split_off(keys.len().saturating_sub(Self::READ_KEYS));
            let Metered { value, units } = self.batch_get(table, &asked, consistent, &read).await?;
            let Page { found, unprocessed } = value;
            all += units;
            items.extend(found);
            if !unprocessed.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            keys.extend(unprocessed);
        }
        Ok(Metered { value: items, units: all })
    }
}

/// A place on a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    key: Key,
    rank: i64,
}

impl Place {
    fn read(reading: &Reading<'_>) -> Result<Self, StoreError> {
        Ok(Self { key: reading.key()?, rank: reading.parsed("rank")? })
    }

    fn on(&self, board: &str) -> Item {
        let mut item = key_item(&self.key);
        item.insert("board".to_owned(), string(board));
        item.insert("rank".to_owned(), number(self.rank));
        item
    }
}
