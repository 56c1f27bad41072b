//! Conditional writes: what an answer or a refusal means.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use super::DynamoStore;
use super::error::{is_condition_failed, store_error};
use super::item::{Item, REFUSED, write_units};
use crate::{Answer, Metered};

impl DynamoStore {
    /// Puts an item IF there is none.
    pub(super) async fn create_item(&self, table: &str, item: Item) -> Answer<bool> {
        let answer = self
            .client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", "PK")
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(Metered { value: true, units: write_units(answer.consumed_capacity()) }),
            Err(error) if is_condition_failed(&error) => Ok(Metered { value: false, units: REFUSED }),
            Err(error) => Err(store_error("PutItem", table, error)),
        }
    }
}

/// Whether the condition held.
pub(super) fn held(
    table: &str,
    answer: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>,
) -> Answer<bool> {
    match answer {
        Ok(answer) => Ok(Metered { value: true, units: write_units(answer.consumed_capacity()) }),
        Err(e) if is_condition_failed(&e) => Ok(Metered { value: false, units: REFUSED }),
        Err(e) => Err(store_error("UpdateItem", table, e)),
    }
}
