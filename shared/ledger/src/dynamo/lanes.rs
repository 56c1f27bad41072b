//! Lanes: cursors, and the list of lanes.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use tidemark_model::{Decimal, Key};

use super::DynamoStore;
use super::conditional::held;
use super::error::store_error;
use super::item::{Item, Reading, key_item, number, read_units, string, write_units};
use crate::{Answer, Cursor, LaneId, LaneStats, Metered, PlanId, StoreError, Units};

const LANES: &str = "LANES";

fn cursor_key(lane: &LaneId) -> Key {
    Key { pk: format!("LANE#{lane}").into(), sk: "CURSOR".into() }
}

impl DynamoStore {
    pub(super) async fn get_cursor(&self, lane: &LaneId) -> Answer<Option<Cursor>> {
        let Metered { value, units } = self.get_state_item(&cursor_key(lane)).await?;
        let table = self.tables.state.as_str();
        let value = value.map(|item| read_cursor(&Reading { table, item: &item })).transpose()?;
        Ok(Metered { value, units })
    }

    pub(super) async fn get_state_item(&self, key: &Key) -> Answer<Option<Item>> {
        let table = self.tables.state.as_str();
        let answer = self
            .client
            .get_item()
            .table_name(table)
            .set_key(Some(key_item(key)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("GetItem", table, e))?;
        let units = read_units(answer.consumed_capacity());
        Ok(Metered { value: answer.item, units })
    }

    pub(super) async fn put_lane(&self, lane: &LaneId, name: &str) -> Answer<()> {
        let key = Key { pk: LANES.into(), sk: lane.to_string().into() };
        let mut item = key_item(&key);
        item.insert("name".to_owned(), string(name));
        self.put_state_item(item).await
    }

    pub(super) async fn put_state_item(&self, item: Item) -> Answer<()> {
        let table = self.tables.state.as_str();
        let answer = self
            .client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("PutItem", table, e))?;
        Ok(Metered { value: (), units: write_units(answer.consumed_capacity()) })
    }

    pub(super) async fn set_cursor(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        let table = self.tables.state.as_str();
        let mut update = "SET #seq = :seq, #plan = :plan, #pending = :true, #since = :since, #name = :name".to_owned();
        let mut request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(&cursor_key(lane))))
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_names("#plan", "plan")
            .expression_attribute_names("#pending", "pending")
            .expression_attribute_names("#since", "since")
            .expression_attribute_names("#name", "name")
            .expression_attribute_values(":seq", number(cursor.seq))
            .expression_attribute_values(":plan", string(cursor.plan.to_string()))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":since", number(cursor.since_ms))
            .expression_attribute_values(":name", string(&cursor.name));
        for (name, value) in [("through", cursor.through), ("through_ts", cursor.through_ts)] {
            let Some(value) = value else { continue };
            update.push_str(&format!(", #{name} = :{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), number(value));
        }
        request = if cursor.seq == 1 {
            request.condition_expression("attribute_not_exists(#seq)")
        } else {
            request
                .condition_expression("#seq = :old AND #pending = :false")
                .expression_attribute_values(":old", number(cursor.seq - 1))
                .expression_attribute_values(":false", AttributeValue::Bool(false))
        };
        let answer =
            request.update_expression(update).return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        held(table, answer)
    }

    pub(super) async fn put_cursor(&self, lane: &LaneId, cursor: &Cursor) -> Answer<bool> {
        let mut item = key_item(&cursor_key(lane));
        item.extend([
            ("seq".to_owned(), number(cursor.seq)),
            ("plan".to_owned(), string(cursor.plan.to_string())),
            ("pending".to_owned(), AttributeValue::Bool(cursor.pending)),
            ("since".to_owned(), number(cursor.since_ms)),
            ("name".to_owned(), string(&cursor.name)),
        ]);
        for (name, value) in [("through", cursor.through), ("through_ts", cursor.through_ts)] {
            item.extend(value.map(|value| (name.to_owned(), number(value))));
        }
        self.create_item(&self.tables.state, item).await
    }

    pub(super) async fn clear_pending(&self, lane: &LaneId, seq: u64, stats: &LaneStats) -> Answer<bool> {
        let table = self.tables.state.as_str();
        let mut update = "SET #pending = :false".to_owned();
        let mut request = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_item(&cursor_key(lane))))
            .condition_expression("#seq = :seq AND #pending = :true")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_names("#pending", "pending")
            .expression_attribute_values(":seq", number(seq))
            .expression_attribute_values(":false", AttributeValue::Bool(false))
            .expression_attribute_values(":true", AttributeValue::Bool(true));
        for (at, (name, n)) in numbers(stats).filter(|(_, n)| !n.is_zero()).enumerate() {
            update.push_str(&format!("{} #{name} :{name}", if at > 0 { "," } else { " ADD" }));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), number(n));
        }
        let answer =
            request.update_expression(update).return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        held(table, answer)
    }

    pub(super) async fn get_lane_stats(&self) -> Answer<Vec<(Cursor, LaneStats)>> {
        let (mut keys, mut last, mut all) = (Vec::new(), None, Units::default());
        loop {
            let Metered { value: lanes, units } = self.query_lanes(last.as_ref()).await?;
            all += units;
            keys.extend(lanes.iter().map(cursor_key));
            last = lanes.last().cloned();
            if last.is_none() {
                break;
            }
        }
        let read = |reading: Reading<'_>| Ok((read_cursor(&reading)?, read_stats(&reading)?));
        let Metered { value, units } = self.batch_get_all(&self.tables.state, keys, true, read).await?;
        all += units;
        Ok(Metered { value, units: all })
    }

    pub(super) async fn query_lanes(&self, after: Option<&LaneId>) -> Answer<Vec<LaneId>> {
        let table = self.tables.state.as_str();
        let answer = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#pk = :lanes AND #sk > :after")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_names("#sk", "SK")
            .expression_attribute_values(":lanes", string(LANES))
            // A lane that has just been registered may be at work.
            .consistent_read(true)
            // No lane's id sorts below a space, and an empty string is no key.
            .expression_attribute_values(":after", string(after.map_or(" ".to_owned(), LaneId::to_string)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("Query", table, e))?;
        let lane = |item| Ok::<_, StoreError>(LaneId::stored(Reading { table, item }.text("SK")?));
        Ok(Metered {
            value: answer.items().iter().map(lane).collect::<Result<_, _>>()?,
            units: read_units(answer.consumed_capacity()),
        })
    }
}

fn read_cursor(reading: &Reading<'_>) -> Result<Cursor, StoreError> {
    Ok(Cursor {
        seq: reading.parsed("seq")?,
        plan: PlanId::stored(reading.text("plan")?),
        pending: reading.flag("pending")?,
        through: reading.optional("through")?,
        through_ts: reading.optional("through_ts")?,
        since_ms: reading.parsed("since")?,
        name: reading.text("name")?.to_owned(),
    })
}

const TOOK: [&str; LaneStats::BOUNDS_MS.len() + 1] =
    ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10"];

/// A lane's numbers under the names of their attributes.
fn numbers(stats: &LaneStats) -> impl Iterator<Item = (&'static str, Decimal)> {
    let whole = |n: u64| Decimal::whole(i64::try_from(n).unwrap_or(i64::MAX));
    let sums = [
        ("plans", whole(stats.plans)),
        ("conflicts", whole(stats.conflicts)),
        ("ru", stats.read_units),
        ("wu", stats.write_units),
        ("seconds", stats.seconds),
    ];
    sums.into_iter().chain(TOOK.into_iter().zip(stats.took.map(whole)))
}

fn read_stats(reading: &Reading<'_>) -> Result<LaneStats, StoreError> {
    let mut took = [0; TOOK.len()];
    for (plans, name) in took.iter_mut().zip(TOOK) {
        *plans = reading.optional(name)?.unwrap_or_default();
    }
    Ok(LaneStats {
        plans: reading.optional("plans")?.unwrap_or_default(),
        conflicts: reading.optional("conflicts")?.unwrap_or_default(),
        read_units: reading.optional("ru")?.unwrap_or_default(),
        write_units: reading.optional("wu")?.unwrap_or_default(),
        seconds: reading.optional("seconds")?.unwrap_or_default(),
        took,
    })
}
