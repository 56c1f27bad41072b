//! Conditional updates: what an answer or a refusal means.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};

use super::error::{is_condition_failed, store_error};
use super::item::{REFUSED, write_units};
use crate::{Answer, Metered};

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
