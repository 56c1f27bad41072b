//! Rows: one conditional UpdateItem each, because PartiQL cannot create what it updates.

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use tidemark_model::rows::{Combine, TTL};
use tidemark_model::views::{Ranking, directory_of};
use tidemark_model::{Decimal, Key, Measures};

use super::DynamoStore;
use super::conditional::held;
use super::error::{is_condition_failed, refused_item, store_error};
use super::item::{Item, REFUSED, Reading, key_item, mark, number, string, write_units};
use crate::{Answer, LaneId, Marks, Metered, Row, StoreError};

/// The attribute under which the directory lists a row.
pub(super) const KIND: &str = "kind";

impl DynamoStore {
    pub(super) async fn update_row(
        &self,
        lane: &LaneId,
        seq: u64,
        key: &Key,
        delta: &Measures,
        ranking: Option<&'static Ranking>,
    ) -> Answer<Option<Row>> {
        const OPERATION: &str = "UpdateItem";
        let table = self.tables.views.as_str();
        let mut adds = Vec::new();
        let mut sets = vec!["#mark = :seq".to_owned()];
        let mut has_extremes = false;
        let mut request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .expression_attribute_names("#mark", lane.mark())
            .expression_attribute_values(":seq", number(seq));
        for (at, (name, n)) in delta.iter().enumerate() {
            match Combine::of(name) {
                Combine::Sum => adds.push(format!("#{at} :{at}")),
                // Retention is the operator's to change: the newest word counts.
                _ if name == TTL => sets.push(format!("#{at} = :{at}")),
                _ => {
                    has_extremes = true;
                    sets.push(format!("#{at} = if_not_exists(#{at}, :{at})"));
                }
            }
            request = request
                .expression_attribute_names(format!("#{at}"), name)
                .expression_attribute_values(format!(":{at}"), number(n));
        }
        if let Some(ranking) = ranking {
            sets.push("#before = if_not_exists(#present, :zero)".to_owned());
            request = request
                .expression_attribute_names("#before", lane.before())
                .expression_attribute_names("#present", ranking.present)
                .expression_attribute_values(":zero", number(0));
        }
        if let Some(kind) = directory_of(key) {
            // The same each time: the index is written to once.
            sets.push("#kind = :kind".to_owned());
            request =
                request.expression_attribute_names("#kind", KIND).expression_attribute_values(":kind", string(kind));
        }
        let mut update = format!("SET {}", sets.join(", "));
        if !adds.is_empty() {
            update.push_str(&format!(" ADD {}", adds.join(", ")));
        }
        if ranking.is_some() && delta.find(TTL).is_none() {
            update.push_str(" REMOVE #ttl");
            request = request.expression_attribute_names("#ttl", TTL);
        }
        let answered = has_extremes || ranking.is_some();
        if answered {
            request = request
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        }
        let answer = request
            .update_expression(update)
            .condition_expression("attribute_not_exists(#mark) OR #mark < :seq")
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let (item, units) = match answer {
            Ok(answer) => (answer.attributes, write_units(answer.consumed_capacity.as_ref())),
            Err(error) if is_condition_failed(&error) => (refused_item(&error), REFUSED),
            Err(error) => return Err(store_error(OPERATION, table, error)),
        };
        let missing = || StoreError::Unreadable {
            table: table.to_owned(),
            pk: key.pk.to_string(),
            sk: key.sk.to_string(),
            attribute: "(the whole item)".to_owned(),
        };
        let value = match (answered, item) {
            (false, _) => None,
            (true, Some(item)) => Some(read_row(&Reading { table, item: &item }, Some(lane))?),
            (true, None) => return Err(missing()),
        };
        Ok(Metered { value, units })
    }

    pub(super) async fn put_row(&self, key: &Key, row: &Measures, marks: &[(LaneId, u64)]) -> Answer<bool> {
        let table = self.tables.views.as_str();
        let mut item = key_item(key);
        item.extend(row.iter().map(|(name, n)| (name.to_owned(), number(n))));
        item.extend(marks.iter().map(|(lane, seq)| (lane.mark(), number(seq))));
        item.extend(directory_of(key).map(|kind| (KIND.to_owned(), string(kind))));
        self.create_item(table, item).await
    }

    pub(super) async fn put_extreme(&self, key: &Key, name: &'static str, value: Decimal) -> Answer<bool> {
        let table = self.tables.views.as_str();
        let beyond = if Combine::of(name) == Combine::Least { ">" } else { "<" };
        let answer = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .update_expression("SET #name = :value")
            .condition_expression(format!("#name {beyond} :value"))
            .expression_attribute_names("#name", name)
            .expression_attribute_values(":value", number(value))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        held(table, answer)
    }

    pub(super) async fn put_row_ttl(&self, key: &Key, ranking: &'static Ranking, expires_s: i64) -> Answer<bool> {
        let table = self.tables.views.as_str();
        // What only ever added up to zero may have no attribute.
        let empty = |field: &str| format!("(attribute_not_exists(#{field}) OR #{field} = :zero)");
        let condition = "attribute_exists(#pk) AND attribute_not_exists(#ttl)";
        let answer = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .update_expression("SET #ttl = :expires")
            .condition_expression(format!("{condition} AND {} AND {}", empty("by"), empty("present")))
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_names("#by", ranking.by)
            .expression_attribute_names("#present", ranking.present)
            .expression_attribute_values(":expires", number(expires_s))
            .expression_attribute_values(":zero", number(0))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        held(table, answer)
    }

    pub(super) async fn put_rank(
        &self,
        key: &Key,
        ranking: &'static Ranking,
        seen: &Row,
        rank: Option<Decimal>,
    ) -> Answer<bool> {
        let table = self.tables.views.as_str();
        // What only ever added up to zero may have no attribute.
        let unchanged = |field: &str, n: Decimal| match n.is_zero() {
            true => format!("(attribute_not_exists(#{field}) OR #{field} = :{field})"),
            false => format!("#{field} = :{field}"),
        };
        let (by, present) = (seen.measures.get(ranking.by), seen.measures.get(ranking.present));
        let mut condition = format!("{} AND {}", unchanged("by", by), unchanged("present", present));
        let mut request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .expression_attribute_names("#board", "board")
            .expression_attribute_names("#rank", "rank")
            .expression_attribute_names("#by", ranking.by)
            .expression_attribute_names("#present", ranking.present)
            .expression_attribute_values(":by", number(by))
            .expression_attribute_values(":present", number(present));
        request = match rank {
            Some(rank) => request
                .update_expression("SET #board = :board, #rank = :rank")
                .expression_attribute_values(":board", string(ranking.board))
                .expression_attribute_values(":rank", number(rank)),
            None => {
                condition.push_str(" AND #rank = :old");
                request
                    .update_expression("REMOVE #board, #rank")
                    .expression_attribute_values(":old", number(seen.rank.unwrap_or_default()))
            }
        };
        let answer = request
            .condition_expression(condition)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        held(table, answer)
    }
}

/// A row with what stands beside its numbers.
pub(super) fn read_row(reading: &Reading<'_>, lane: Option<&LaneId>) -> Result<Row, StoreError> {
    let mut measures = Measures::default();
    for (name, value) in measured(reading.item) {
        let n: Decimal = value.parse().map_err(|_| reading.unreadable(name))?;
        measures.add(name, n);
    }
    let before = lane.and_then(|lane| match reading.item.get(&lane.before()) {
        Some(AttributeValue::N(n)) => n.parse().ok(),
        _ => None,
    });
    Ok(Row {
        measures,
        rank: reading.optional("rank")?,
        mark: lane.map_or(0, |lane| mark(reading.item, lane)),
        before: before.unwrap_or_default(),
        marks: Vec::new(),
    })
}

/// A row's key and its numbers.
pub(super) fn read_keyed_row(reading: Reading<'_>) -> Result<(Key, Measures), StoreError> {
    Ok((reading.key()?, read_row(&reading, None)?.measures))
}

/// The marks of all lanes on an entity or a row, in the order of their ids.
pub(super) fn read_marks(item: &Item) -> Marks {
    let mark = |(name, value): (&String, &AttributeValue)| match value {
        AttributeValue::N(seq) => Some((LaneId::stored(name.strip_prefix('~')?), seq.parse().ok()?)),
        _ => None,
    };
    let mut marks: Marks = item.iter().filter_map(mark).collect();
    marks.sort_unstable();
    marks
}

/// A row's numbers without what lanes and rankings keep there.
fn measured(item: &Item) -> impl Iterator<Item = (&String, &String)> {
    item.iter().filter_map(|(name, value)| match value {
        AttributeValue::N(n) if !name.starts_with(['~', '^']) && name != "rank" => Some((name, n)),
        _ => None,
    })
}
