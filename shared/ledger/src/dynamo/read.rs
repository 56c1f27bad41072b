//! Reading the views back: whole, for snapshots and the local run; and the tops of rankings.

use std::time::Duration;

use tidemark_model::views::{self, Ranking, VIEWS};
use tidemark_model::{Decimal, Key, Measures, State};

use super::DynamoStore;
use super::error::store_error;
use super::item::{Reading, number, string};
use super::rows::read_row;
use crate::{Page, Segment, Store, StoreError};

/// Before keys are asked for again that a throttled read left out.
const PAUSE: Duration = Duration::from_millis(50);

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
                if is_kept(&row, now_ms) {
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
                tables.listed.extend(self.query_board(board.name).await?);
            }
        }
        Ok(tables)
    }

    /// The states on a board, the lowest rank first.
    async fn query_board(&self, board: &str) -> Result<Vec<State>, StoreError> {
        let table = self.tables.state.as_str();
        let mut pages = self
            .client
            .query()
            .table_name(table)
            .index_name("board")
            .key_condition_expression("#board = :board")
            .expression_attribute_names("#board", "board")
            .expression_attribute_values(":board", string(board))
            .into_paginator()
            .items()
            .send();
        let mut states = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|e| store_error("Query", table, e))?;
            let reading = Reading { table, item: &item };
            states.push(serde_json::from_str(reading.text("s")?).map_err(|_| reading.unreadable("s"))?);
        }
        Ok(states)
    }

    /// The highest rows of a ranking, at most so many, the highest first and equals in the order of
    /// their keys. Where more rows fell than the index has room for, it may be fewer until the next
    /// refresh, but never wrong ones.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn top(&self, ranking: &'static Ranking, most: usize) -> Result<Vec<(Key, Measures)>, StoreError> {
        let table = self.tables.views.as_str();
        let floor = self.read_floor(ranking).await?.value.shown;
        let mut request = self
            .client
            .query()
            .table_name(table)
            .index_name("ranking")
            .scan_index_forward(false)
            .expression_attribute_names("#board", "board")
            .expression_attribute_values(":board", string(ranking.board));
        let mut condition = "#board = :board".to_owned();
        if let Some(floor) = floor {
            condition.push_str(" AND #rank >= :floor");
            request = request
                .expression_attribute_names("#rank", "rank")
                .expression_attribute_values(":floor", number(floor));
        }
        let mut pages = request.key_condition_expression(condition).into_paginator().items().send();
        let mut ranked: Vec<(Decimal, Key)> = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|e| store_error("Query", table, e))?;
            let reading = Reading { table, item: &item };
            let rank: Decimal = reading.parsed("rank")?;
            // Equals stand in the index in any order: all of the last rank are needed to cut there.
            if ranked.len() >= most && ranked.last().is_some_and(|(last, _)| rank < *last) {
                break;
            }
            ranked.push((rank, reading.key()?));
        }
        let mut rows = self.get_rows(ranked.into_iter().map(|(_, key)| key).collect()).await?;
        rows.retain(|(_, row)| ranking.is_present(row));
        rows.sort_by(|(a, one), (b, other)| other.get(ranking.by).cmp(&one.get(ranking.by)).then_with(|| a.cmp(b)));
        rows.truncate(most);
        Ok(rows)
    }

    async fn get_rows(&self, mut keys: Vec<Key>) -> Result<Vec<(Key, Measures)>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let asked = keys.split_off(keys.len().saturating_sub(Self::READ_KEYS));
            let read = |reading: Reading<'_>| Ok((reading.key()?, read_row(&reading, None)?.measures));
            let Page { found, unprocessed } = self.batch_get(&self.tables.views, &asked, false, read).await?.value;
            rows.extend(found);
            if !unprocessed.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            keys.extend(unprocessed);
        }
        Ok(rows)
    }
}

/// Whether a row is not past its TTL: DynamoDB deletes such rows only some time later.
fn is_kept(row: &Measures, now_ms: i64) -> bool {
    row.expires_ms().is_none_or(|expires| expires > now_ms)
}
