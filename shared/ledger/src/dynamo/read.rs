//! Reading the views back: whole, for snapshots and the local run.

use aws_sdk_dynamodb::types::AttributeValue;
use tidemark_model::views::{self, VIEWS};
use tidemark_model::{Decimal, Key, Measures, State};

use super::DynamoStore;
use super::error::store_error;
use super::item::{Item, Reading, string};
use crate::StoreError;

impl DynamoStore {
    /// Reads every row and every listed state. It scans the views table: never for a dashboard.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn read_tables(&self) -> Result<views::Tables, StoreError> {
        let mut tables = views::Tables { rows: self.scan_rows().await?, listed: Vec::new() };
        for view in VIEWS {
            if let Some(board) = view.board {
                tables.listed.extend(self.query_board(board.name).await?);
            }
        }
        Ok(tables)
    }

    async fn scan_rows(&self) -> Result<Vec<(Key, Measures)>, StoreError> {
        let table = self.tables.views.as_str();
        let mut pages = self.client.scan().table_name(table).into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|e| store_error("Scan", table, e))?;
            rows.push(read_row(&Reading { table, item: &item })?);
        }
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(rows)
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
}

fn read_row(reading: &Reading<'_>) -> Result<(Key, Measures), StoreError> {
    let mut measures = Measures::default();
    for (name, value) in measured(reading.item) {
        let n: Decimal = value.parse().map_err(|_| reading.unreadable("(a measure)"))?;
        measures.add(name, n);
    }
    Ok((reading.key()?, measures))
}

/// A row's numbers without its marks.
fn measured(item: &Item) -> impl Iterator<Item = (&String, &String)> {
    item.iter().filter_map(|(name, value)| match value {
        AttributeValue::N(n) if !name.starts_with('~') && name != "TTL" => Some((name, n)),
        _ => None,
    })
}
