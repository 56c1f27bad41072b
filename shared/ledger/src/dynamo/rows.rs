//! Rows: one conditional UpdateItem each, because PartiQL cannot create what it updates.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use tidemark_model::{Key, Measures};

use super::DynamoStore;
use super::conditional::held;
use super::item::{key_item, number};
use crate::{Answer, LaneId};

impl DynamoStore {
    pub(super) async fn update_row(&self, lane: &LaneId, seq: u64, key: &Key, delta: &Measures) -> Answer<bool> {
        let table = self.tables.views.as_str();
        let mut adds = Vec::new();
        let mut request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .expression_attribute_names("#mark", lane.mark())
            .expression_attribute_values(":seq", number(seq));
        for (at, (name, n)) in delta.iter().enumerate() {
            adds.push(format!("#{at} :{at}"));
            request = request
                .expression_attribute_names(format!("#{at}"), name)
                .expression_attribute_values(format!(":{at}"), number(n));
        }
        let answer = request
            .update_expression(format!("ADD {} SET #mark = :seq", adds.join(", ")))
            .condition_expression("attribute_not_exists(#mark) OR #mark < :seq")
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        held(table, answer)
    }
}
