//! Small items of the state table that are no entities: rankings' floors and retention settings.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use tidemark_model::Key;
use tidemark_model::views::Ranking;

use super::DynamoStore;
use super::conditional::held;
use super::item::{Item, Reading, key_item, number};
use crate::{Answer, AppRetention, Floor, Metered, StoreError};

const RETENTION: Key = Key::fixed("SETTINGS", "RETENTION");

fn floor_key(ranking: &Ranking) -> Key {
    Key::of("RANKING", ranking.board, "FLOOR")
}

impl DynamoStore {
    pub(super) async fn get_floor(&self, ranking: &Ranking) -> Answer<Floor> {
        let Metered { value, units } = self.get_state_item(&floor_key(ranking)).await?;
        let table = self.tables.state.as_str();
        let floor = |item: Item| {
            let reading = Reading { table, item: &item };
            Ok(Floor {
                floor: reading.optional("floor")?,
                shown: reading.optional("shown")?,
                refreshed: reading.parsed("refreshed")?,
            })
        };
        Ok(Metered { value: value.map(floor).transpose()?.unwrap_or_default(), units })
    }

    pub(super) async fn put_floor(&self, ranking: &Ranking, read: Floor, floor: Floor) -> Answer<bool> {
        let table = self.tables.state.as_str();
        let mut request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(&floor_key(ranking))))
            .expression_attribute_names("#refreshed", "refreshed")
            .expression_attribute_values(":refreshed", number(floor.refreshed));
        let (mut set, mut remove) = ("SET #refreshed = :refreshed".to_owned(), Vec::new());
        for (name, floor) in [("floor", floor.floor), ("shown", floor.shown)] {
            request = request.expression_attribute_names(format!("#{name}"), name);
            match floor {
                Some(floor) => {
                    request = request.expression_attribute_values(format!(":{name}"), number(floor));
                    set.push_str(&format!(", #{name} = :{name}"));
                }
                None => remove.push(format!("#{name}")),
            }
        }
        if !remove.is_empty() {
            set.push_str(&format!(" REMOVE {}", remove.join(", ")));
        }
        let same_floor = match read.floor {
            Some(read) => {
                request = request.expression_attribute_values(":read", number(read));
                "#floor = :read"
            }
            None => "attribute_not_exists(#floor)",
        };
        let same_look = if read == Floor::default() {
            "attribute_not_exists(#refreshed) OR #refreshed = :seen"
        } else {
            "#refreshed = :seen"
        };
        let answer = request
            .update_expression(set)
            .condition_expression(format!("{same_floor} AND ({same_look})"))
            .expression_attribute_values(":seen", number(read.refreshed))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        held(table, answer)
    }

    pub(super) async fn get_retention(&self) -> Answer<AppRetention> {
        let Metered { value, units } = self.get_state_item(&RETENTION).await?;
        let item = value.unwrap_or_default();
        let reading = Reading { table: self.tables.state.as_str(), item: &item };
        let value = AppRetention { activity: days(&reading, "activity")?, metrics: days(&reading, "metrics")? };
        Ok(Metered { value, units })
    }
}

/// A map from apps to numbers of days.
fn days(reading: &Reading<'_>, attribute: &'static str) -> Result<Vec<(String, i64)>, StoreError> {
    let Some(value) = reading.item.get(attribute) else { return Ok(Vec::new()) };
    let AttributeValue::M(apps) = value else { return Err(reading.unreadable(attribute)) };
    let days = |value: &AttributeValue| match value {
        AttributeValue::N(days) => days.parse().ok().filter(|days| (1..=36_500).contains(days)),
        _ => None,
    };
    apps.iter()
        .map(|(app, value)| Ok((app.clone(), days(value).ok_or_else(|| reading.unreadable(attribute))?)))
        .collect()
}
