//! Whole tables, a segment at a time: rows, and entities.
//!
//! A scan reads what it leaves out, too: of the state table, that is plans, cursors and the like.

use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use tidemark_model::{Key, Known};

use super::DynamoStore;
use super::entities::read_known;
use super::error::store_error;
use super::item::{Reading, key_item, read_units};
use super::rows::{read_marks, read_row};
use crate::{Answer, LaneId, Metered, Row, RowPage, Segment, StatePage, StoreError, off_thread};

impl DynamoStore {
    pub(super) async fn scan_rows(&self, segment: Segment, after: Option<&Key>) -> Answer<RowPage> {
        let table = self.tables.views.as_str();
        let page = self.scan(table, segment, after, |request| request).await?;
        let row = |item| {
            let reading = Reading { table, item };
            let row = read_row(&reading, Some(&LaneId::AUDIT));
            Ok::<_, StoreError>((reading.key()?, row.map(|row| Row { marks: read_marks(item), ..row })))
        };
        let rows = page.items().iter().map(row).collect::<Result<_, _>>()?;
        Ok(Metered { value: (rows, next(table, &page)?), units: read_units(page.consumed_capacity()) })
    }

    pub(super) async fn scan_states(&self, segment: Segment, after: Option<&Key>) -> Answer<StatePage> {
        let table = self.tables.state.as_str();
        // Of all items there, entities alone have a state.
        let entities = |request: ScanFluentBuilder| {
            request
                .filter_expression("attribute_exists(#s)")
                .projection_expression("#pk, #sk, #n, #v, #s")
                .expression_attribute_names("#pk", "PK")
                .expression_attribute_names("#sk", "SK")
                .expression_attribute_names("#n", "n")
                .expression_attribute_names("#v", "v")
                .expression_attribute_names("#s", "s")
        };
        let page = self.scan(table, segment, after, entities).await?;
        let next = next(table, &page)?;
        let units = read_units(page.consumed_capacity());
        let name = table.to_owned();
        let parsed = off_thread(move || {
            let entity = |item| {
                let reading = Reading { table: &name, item };
                Ok((reading.key()?, read_known(&reading)?))
            };
            page.items().iter().map(entity).collect::<Result<Vec<(Key, Known)>, StoreError>>()
        });
        let stopping = || StoreError::Unanswered {
            operation: "Scan",
            table: table.to_owned(),
            source: "the process is shutting down".into(),
        };
        Ok(Metered { value: (parsed.await.ok_or_else(stopping)??, next), units })
    }

    async fn scan(
        &self,
        table: &str,
        segment: Segment,
        after: Option<&Key>,
        asking: impl FnOnce(ScanFluentBuilder) -> ScanFluentBuilder,
    ) -> Result<ScanOutput, StoreError> {
        let mut request = self
            .client
            .scan()
            .table_name(table)
            .consistent_read(true)
            .set_exclusive_start_key(after.map(key_item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if segment != Segment::WHOLE {
            let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
            request = request.segment(number(segment.number)).total_segments(number(segment.of));
        }
        asking(request).send().await.map_err(|e| store_error("Scan", table, e))
    }
}

/// The key to go on after.
fn next(table: &str, page: &ScanOutput) -> Result<Option<Key>, StoreError> {
    page.last_evaluated_key().map(|item| Reading { table, item }.key()).transpose()
}
