//! How many requests a caller has made in a minute: counted in leases, by all instances together.

use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure};
use tidemark_model::Key;
use tidemark_model::time::MINUTE_MS;

use super::DynamoStore;
use super::error::{is_condition_failed, refused_item, store_error};
use super::item::{Item, REFUSED, Reading, key_item, number, write_units};
use crate::{Answer, Metered, StoreError, Units};

/// How long a count stays after its minute, in s: until TTL deletes it, nobody asks for it.
const KEPT_S: i64 = 3_600;

/// What became of a lease that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Whether it was given: so many more requests may be answered.
    pub given: bool,
    /// Requests of the minute that are leased to anybody, this lease included.
    pub used: u32,
}

impl DynamoStore {
    /// Leases so many requests of a caller's minute, which begins at that ms since 1970, IF no more than the limit
    /// are leased then. Asked for twice, it is given twice: a lost answer costs the caller requests, and never gives
    /// any.
    ///
    /// # Errors
    /// If the request fails or the count cannot be read.
    pub async fn lease(&self, caller: &str, minute_ms: i64, requests: u32, limit: u32) -> Answer<Leased> {
        let table = self.tables.state.as_str();
        let Some(most) = limit.checked_sub(requests) else {
            return Ok(Metered { value: Leased { given: false, used: limit }, units: Units::default() });
        };
        let key = Key { pk: format!("LIMIT#{caller}").into(), sk: minute_ms.to_string().into() };
        let answer = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(&key)))
            .update_expression("SET #ttl = :ttl ADD #used :requests")
            .condition_expression("attribute_not_exists(#used) OR #used <= :most")
            .expression_attribute_names("#used", "used")
            .expression_attribute_names("#ttl", "TTL")
            .expression_attribute_values(":requests", number(requests))
            .expression_attribute_values(":most", number(most))
            .expression_attribute_values(":ttl", number((minute_ms + MINUTE_MS).div_euclid(1_000) + KEPT_S))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let used = |item: Option<Item>| -> Result<u32, StoreError> {
            Reading { table, item: &item.unwrap_or_default() }.parsed("used")
        };
        match answer {
            Ok(answer) => {
                let units = write_units(answer.consumed_capacity());
                Ok(Metered { value: Leased { given: true, used: used(answer.attributes)? }, units })
            }
            Err(error) if is_condition_failed(&error) => {
                let used = used(refused_item(&error))?;
                Ok(Metered { value: Leased { given: false, used }, units: REFUSED })
            }
            Err(error) => Err(store_error("UpdateItem", table, error)),
        }
    }
}
