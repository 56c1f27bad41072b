//! Entities: read by BatchGetItem, or a timeline by Query; written by batches of conditional PartiQL statements.
//!
//! A batch of 25 statements costs the same units as 25 UpdateItem calls, each statement stands or
//! falls alone, and the client spends a fraction of the CPU (see the benchmark in the README).

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementRequest, KeysAndAttributes, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure,
};
use tidemark_model::views::listed;
use tidemark_model::{Key, Known, State, Transition, Version};

use super::DynamoStore;
use super::error::{invalid, member_error, store_error};
use super::item::{Item, REFUSED, Reading, key_item, mark, number, read_units, string, write_units};
use super::rows::read_marks;
use crate::{Answer, LaneId, Marks, Metered, Page, StatePage, StoreError, Written};

impl DynamoStore {
    pub(super) async fn get_entities(&self, keys: &[Key], consistent: bool) -> Answer<Page<(Key, Known), Key>> {
        let entity = |reading: Reading<'_>| Ok((reading.key()?, read_known(&reading)?));
        self.batch_get(&self.tables.state, keys, consistent, entity).await
    }

    pub(super) async fn query_timeline(&self, timeline: &str, after: Option<&Key>) -> Answer<StatePage> {
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
        let entity = |reading: Reading<'_>| Ok((reading.key()?, read_known(&reading)?));
        let found = answer.items().iter().map(|item| entity(Reading { table, item }));
        let found = found.collect::<Result<_, StoreError>>()?;
        Ok(Metered { value: (found, next), units: read_units(answer.consumed_capacity()) })
    }

    pub(super) async fn get_marks(&self, keys: &[Key]) -> Answer<Page<(Key, Marks), Key>> {
        self.batch_get(&self.tables.state, keys, true, |reading| Ok((reading.key()?, read_marks(reading.item)))).await
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
        let table = self.tables.state.as_str();
        let statements = transitions
            .iter()
            .map(|transition| statement(table, &lane.mark(), seq, transition))
            .collect::<Result<_, _>>()?;
        self.execute(statements, |item| Written::Refused { mark: mark(item, lane) }).await
    }

    pub(super) async fn insert_entities(&self, entities: &[(Key, Known)]) -> Answer<Vec<Written>> {
        let table = self.tables.state.as_str();
        let statements = entities
            .iter()
            .map(|(key, Known { counter, version, state })| {
                let attributes = attributes(table, key, *counter, *version, state)?;
                insert(table, key, attributes)
            })
            .collect::<Result<_, _>>()?;
        self.execute(statements, |_| Written::Unseen).await
    }

    /// Sends statements; `refused` tells what the item that was in one's way means.
    async fn execute(
        &self,
        statements: Vec<BatchStatementRequest>,
        refused: impl Fn(&Item) -> Written,
    ) -> Answer<Vec<Written>> {
        const OPERATION: &str = "BatchExecuteStatement";
        let table = self.tables.state.as_str();
        let asked = statements.len();
        let answer = self
            .client
            .batch_execute_statement()
            .set_statements(Some(statements))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error(OPERATION, table, e))?;
        let mut written = Vec::with_capacity(asked);
        for response in answer.responses() {
            written.push(match response.error() {
                None => Written::Applied,
                Some(error) => refusal(table, error, &refused)?,
            });
        }
        let units = match answer.consumed_capacity() {
            // The total has the refused ones in it, but is left out when all were refused.
            [] => written.iter().filter(|written| **written != Written::Unprocessed).map(|_| REFUSED).sum(),
            consumed => write_units(consumed),
        };
        // An answer for each statement is part of the contract; what misses one is asked again.
        written.resize(asked, Written::Unprocessed);
        Ok(Metered { value: written, units })
    }
}

/// An entity.
pub(super) fn read_known(reading: &Reading<'_>) -> Result<Known, StoreError> {
    Ok(Known {
        counter: reading.parsed("n")?,
        version: reading.parsed("v")?,
        state: serde_json::from_str(reading.text("s")?).map_err(|_| reading.unreadable("s"))?,
    })
}

fn refusal(
    table: &str,
    error: &BatchStatementError,
    refused: impl Fn(&Item) -> Written,
) -> Result<Written, StoreError> {
    let code = error.code().map_or("", |code| code.as_str());
    match (code, error.item()) {
        ("ConditionalCheckFailed" | "DuplicateItem", Some(item)) if item.contains_key("PK") => Ok(refused(item)),
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
    let Transition { key, counter, version, after, .. } = transition;
    let mut attributes = attributes(table, key, counter + 1, *version, after)?;
    attributes.push((mark.to_owned(), number(seq)));
    if *counter == 0 {
        return insert(table, key, attributes);
    }
    let (mut clauses, mut parameters) = (String::new(), Vec::with_capacity(attributes.len() + 3));
    for (name, value) in attributes {
        clauses.push_str(&format!(" SET \"{name}\"=?"));
        parameters.push(value);
    }
    for name in obsolete(transition) {
        clauses.push_str(&format!(" REMOVE \"{name}\""));
    }
    parameters.extend([string(&*key.pk), string(&*key.sk), number(counter)]);
    conditional(table, format!("UPDATE \"{table}\"{clauses} WHERE \"PK\"=? AND \"SK\"=? AND \"n\"=?"), parameters)
}

/// The write of a new entity, which holds only while there is none.
fn insert(
    table: &str,
    key: &Key,
    attributes: Vec<(String, AttributeValue)>,
) -> Result<BatchStatementRequest, StoreError> {
    let (mut fields, mut parameters) = (String::from("'PK':?,'SK':?"), Vec::with_capacity(attributes.len() + 2));
    parameters.extend([string(&*key.pk), string(&*key.sk)]);
    for (name, value) in attributes {
        fields.push_str(&format!(",'{name}':?"));
        parameters.push(value);
    }
    conditional(table, format!("INSERT INTO \"{table}\" VALUE {{{fields}}}"), parameters)
}

fn conditional(
    table: &str,
    text: String,
    parameters: Vec<AttributeValue>,
) -> Result<BatchStatementRequest, StoreError> {
    BatchStatementRequest::builder()
        .statement(text)
        .set_parameters(Some(parameters))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .map_err(|e| invalid("BatchExecuteStatement", table, e))
}

/// What an entity's item holds, without its marks.
fn attributes(
    table: &str,
    key: &Key,
    counter: u64,
    version: Version,
    state: &State,
) -> Result<Vec<(String, AttributeValue)>, StoreError> {
    let text = serde_json::to_string(state).map_err(|_| {
        let item = key_item(key);
        Reading { table, item: &item }.unreadable("s")
    })?;
    let mut attributes = vec![
        ("n".to_owned(), number(counter)),
        ("v".to_owned(), string(version.to_string())),
        ("s".to_owned(), string(text)),
    ];
    if let Some((board, rank)) = listed(state) {
        attributes.push(("board".to_owned(), string(board)));
        attributes.push(("rank".to_owned(), number(rank)));
    }
    if let Some(expires_ms) = state.expires() {
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
