//! Entities: read by BatchGetItem, or a timeline by Query; written by batches of conditional PartiQL statements.
//!
//! A batch of 25 statements costs the same units as 25 UpdateItem calls, each statement stands or
//! falls alone, and the client spends a fraction of the CPU (see the benchmark in the README).

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementRequest, KeysAndAttributes, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure,
};
use tidemark_model::views::listed;
use tidemark_model::{Key, Known, Transition};

use super::DynamoStore;
use super::error::{invalid, member_error, store_error};
use super::item::{Item, REFUSED, Reading, key_item, mark, number, read_units, string, write_units};
use crate::{Answer, KnownPage, LaneId, Metered, Page, StoreError, Written};

impl DynamoStore {
    pub(super) async fn get_entities(&self, keys: &[Key], consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        self.batch_get(&self.tables.state, keys, consistent, |reading| read_known(&reading)).await
    }

    pub(super) async fn query_timeline(&self, timeline: &str, after: Option<&Key>) -> Answer<KnownPage> {
        let table = self.tables.state.as_str();
        let answer = self
            .client
            .query()
            .table_name(table)
            .consistent_read(true)
            .key_condition_expression("#pk = :timeline")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_values(":timeline", string(timeline))
            .set_exclusive_start_key(after.map(key_item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("Query", table, e))?;
        let next = answer.last_evaluated_key().map(|item| Reading { table, item }.key()).transpose()?;
        let found = answer.items().iter().map(|item| read_known(&Reading { table, item }));
        let found = found.collect::<Result<_, _>>()?;
        Ok(Metered { value: (found, next), units: read_units(answer.consumed_capacity()) })
    }

    pub(super) async fn get_marks(&self, lane: &LaneId, keys: &[Key]) -> Answer<Page<(Key, u64), Key>> {
        self.batch_get(&self.tables.state, keys, true, |reading| Ok((reading.key()?, mark(reading.item, lane)))).await
    }

    pub(super) async fn batch_get<T>(
        &self,
        table: &str,
        keys: &[Key],
        consistent: bool,
        read: impl Fn(Reading<'_>) -> Result<T, StoreError>,
    ) -> Answer<Page<T, Key>> {
        const OPERATION: &str = "BatchGetItem";
        let asked = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(key_item).collect()))
            .consistent_read(consistent)
            .build()
            .map_err(|e| invalid(OPERATION, table, e))?;
        let answer = self
            .client
            .batch_get_item()
            .request_items(table, asked)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error(OPERATION, table, e))?;
        let items = answer.responses().and_then(|tables| tables.get(table)).map_or(&[][..], Vec::as_slice);
        let left = answer.unprocessed_keys().and_then(|tables| tables.get(table));
        let key_of = |item| Reading { table, item }.key();
        Ok(Metered {
            value: Page {
                found: items.iter().map(|item| read(Reading { table, item })).collect::<Result<_, _>>()?,
                unprocessed: left
                    .map_or(&[][..], KeysAndAttributes::keys)
                    .iter()
                    .map(key_of)
                    .collect::<Result<_, _>>()?,
            },
            units: read_units(answer.consumed_capacity()),
        })
    }

    pub(super) async fn execute_transitions(
        &self,
        lane: &LaneId,
        seq: u64,
        transitions: &[&Transition],
    ) -> Answer<Vec<Written>> {
        const OPERATION: &str = "BatchExecuteStatement";
        let table = self.tables.state.as_str();
        let statements = transitions
            .iter()
            .map(|transition| statement(table, &lane.mark(), seq, transition))
            .collect::<Result<_, _>>()?;
        let answer = self
            .client
            .batch_execute_statement()
            .set_statements(Some(statements))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error(OPERATION, table, e))?;
        let mut written = Vec::with_capacity(transitions.len());
        for response in answer.responses() {
            written.push(match response.error() {
                None => Written::Applied,
                Some(error) => refusal(table, lane, error)?,
            });
        }
        let units = match answer.consumed_capacity() {
            // The total has the refused ones in it, but is left out when all were refused.
            [] => written.iter().filter(|written| **written != Written::Unprocessed).map(|_| REFUSED).sum(),
            consumed => write_units(consumed),
        };
        // An answer for each statement is part of the contract; what misses one is asked again.
        written.resize(transitions.len(), Written::Unprocessed);
        Ok(Metered { value: written, units })
    }
}

fn read_known(reading: &Reading<'_>) -> Result<(Key, Known), StoreError> {
    let known = Known {
        counter: reading.parsed("n")?,
        version: reading.parsed("v")?,
        state: serde_json::from_str(reading.text("s")?).map_err(|_| reading.unreadable("s"))?,
    };
    Ok((reading.key()?, known))
}

fn refusal(table: &str, lane: &LaneId, error: &BatchStatementError) -> Result<Written, StoreError> {
    let code = error.code().map_or("", |code| code.as_str());
    match (code, error.item()) {
        ("ConditionalCheckFailed" | "DuplicateItem", Some(item)) if item.contains_key("PK") => {
            Ok(Written::Refused { mark: mark(item, lane) })
        }
        // An insert's refusal need not show the item, and an item may have expired since it was read.
        ("ConditionalCheckFailed" | "DuplicateItem", _) => Ok(Written::Unseen),
        _ => match member_error("BatchExecuteStatement", table, code, error.message().unwrap_or_default()) {
            error if error.is_retryable() => Ok(Written::Unprocessed),
            error => Err(error),
        },
    }
}

/// The conditional write of one transition: an insert of a new entity, else an update that holds
/// only while the counter is as it was read. Other lanes' marks stay.
fn statement(table: &str, mark: &str, seq: u64, transition: &Transition) -> Result<BatchStatementRequest, StoreError> {
    let attributes = attributes(table, mark, seq, transition)?;
    let mut parameters: Vec<AttributeValue> = Vec::with_capacity(attributes.len() + 3);
    let text = if transition.counter == 0 {
        let mut fields = String::from("'PK':?,'SK':?");
        parameters.extend([string(&*transition.key.pk), string(&*transition.key.sk)]);
        for (name, value) in attributes {
            fields.push_str(&format!(",'{name}':?"));
            parameters.push(value);
        }
        format!("INSERT INTO \"{table}\" VALUE {{{fields}}}")
    } else {
        let mut clauses = String::new();
        for (name, value) in attributes {
            clauses.push_str(&format!(" SET \"{name}\"=?"));
            parameters.push(value);
        }
        for name in obsolete(transition) {
            clauses.push_str(&format!(" REMOVE \"{name}\""));
        }
        parameters.extend([string(&*transition.key.pk), string(&*transition.key.sk), number(transition.counter)]);
        format!("UPDATE \"{table}\"{clauses} WHERE \"PK\"=? AND \"SK\"=? AND \"n\"=?")
    };
    BatchStatementRequest::builder()
        .statement(text)
        .set_parameters(Some(parameters))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .map_err(|e| invalid("BatchExecuteStatement", table, e))
}

/// What the write sets.
fn attributes(
    table: &str,
    mark: &str,
    seq: u64,
    transition: &Transition,
) -> Result<Vec<(String, AttributeValue)>, StoreError> {
    let state = serde_json::to_string(&transition.after).map_err(|_| {
        let item = Item::from([
            ("PK".to_owned(), string(&*transition.key.pk)),
            ("SK".to_owned(), string(&*transition.key.sk)),
        ]);
        Reading { table, item: &item }.unreadable("s")
    })?;
    let mut attributes = vec![
        ("n".to_owned(), number(transition.counter + 1)),
        ("v".to_owned(), string(transition.version.to_string())),
        ("s".to_owned(), string(state)),
        (mark.to_owned(), number(seq)),
    ];
    if let Some((board, rank)) = listed(&transition.after) {
        attributes.push(("board".to_owned(), string(board)));
        attributes.push(("rank".to_owned(), number(rank)));
    }
    if let Some(expires_ms) = transition.after.expires() {
        attributes.push(("TTL".to_owned(), number(expires_ms.div_euclid(1_000))));
    }
    Ok(attributes)
}

/// What the write removes: attributes that the old state had and the new one has not.
fn obsolete(transition: &Transition) -> Vec<&'static str> {
    let Some(before) = &transition.before else { return Vec::new() };
    let mut names = Vec::new();
    if listed(before).is_some() && listed(&transition.after).is_none() {
        names.extend(["board", "rank"]);
    }
    if before.expires().is_some() && transition.after.expires().is_none() {
        names.push("TTL");
    }
    names
}
