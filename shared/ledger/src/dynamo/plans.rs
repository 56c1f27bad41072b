//! Plans, and what is noted of them.

use std::ops::RangeInclusive;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use tidemark_model::Key;

use super::DynamoStore;
use super::error::store_error;
use super::item::{Item, Reading, key_item, number, read_units, string};
use crate::{Answer, ConflictPage, LaneId, Metered, PlanId, PlanPage, StoreError, WrittenPlan};

/// What stands under a plan's id.
#[derive(Clone, Copy)]
enum Kind {
    Plan,
    Conflicts,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Plan => "PLAN#",
            Self::Conflicts => "CONFLICTS#",
        }
    }

    fn key(self, lane: &LaneId, plan: &PlanId) -> Key {
        Key { pk: format!("LANE#{lane}").into(), sk: format!("{}{plan}", self.prefix()).into() }
    }

    /// The plan under whose id an item stands.
    fn plan(self, reading: &Reading<'_>) -> Result<PlanId, StoreError> {
        let id = reading.text("SK")?.strip_prefix(self.prefix());
        Ok(PlanId::stored(id.ok_or_else(|| reading.unreadable("SK"))?))
    }
}

impl DynamoStore {
    pub(super) async fn get_plan(&self, lane: &LaneId, plan: &PlanId) -> Answer<Option<Vec<u8>>> {
        let Metered { value, units } = self.get_state_item(&Kind::Plan.key(lane, plan)).await?;
        Ok(Metered { value: value.map(|item| self.body(item)).transpose()?, units })
    }

    pub(super) async fn put_plan(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        previous: Option<&PlanId>,
        body: &[u8],
        expires_s: i64,
    ) -> Answer<()> {
        let mut item = key_item(&Kind::Plan.key(lane, plan));
        item.insert("body".to_owned(), AttributeValue::B(Blob::new(body)));
        item.insert("TTL".to_owned(), number(expires_s));
        item.extend(previous.map(|previous| ("previous".to_owned(), string(previous.to_string()))));
        self.put_state_item(item).await
    }

    pub(super) async fn put_conflicts(
        &self,
        lane: &LaneId,
        plan: &PlanId,
        conflicts: &[usize],
        expires_s: i64,
    ) -> Answer<()> {
        let mut item = key_item(&Kind::Conflicts.key(lane, plan));
        let places = conflicts.iter().map(ToString::to_string).collect();
        item.insert("transitions".to_owned(), AttributeValue::Ns(places));
        item.insert("TTL".to_owned(), number(expires_s));
        self.put_state_item(item).await
    }

    pub(super) async fn query_plans(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Answer<PlanPage> {
        let page = self.query_kind(Kind::Plan, lane, seqs, after).await?;
        let (next, units) = (self.next(Kind::Plan, &page)?, read_units(page.consumed_capacity()));
        let written = |item: Item| {
            let reading = Reading { table: &self.tables.state, item: &item };
            let plan = Kind::Plan.plan(&reading)?;
            let previous: Option<String> = reading.optional("previous")?;
            let previous = previous.map(|previous| PlanId::stored(&previous));
            Ok(WrittenPlan { plan, previous, body: self.body(item)? })
        };
        let plans = page.items.unwrap_or_default().into_iter().map(written).collect::<Result<_, StoreError>>()?;
        Ok(Metered { value: (plans, next), units })
    }

    pub(super) async fn query_conflicts(
        &self,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Answer<ConflictPage> {
        let page = self.query_kind(Kind::Conflicts, lane, seqs, after).await?;
        let (next, units) = (self.next(Kind::Conflicts, &page)?, read_units(page.consumed_capacity()));
        let noted = |item| {
            let reading = Reading { table: &self.tables.state, item };
            Ok((Kind::Conflicts.plan(&reading)?, places(&reading)?))
        };
        let conflicts = page.items().iter().map(noted).collect::<Result<_, StoreError>>()?;
        Ok(Metered { value: (conflicts, next), units })
    }

    async fn query_kind(
        &self,
        kind: Kind,
        lane: &LaneId,
        seqs: &RangeInclusive<u64>,
        after: Option<&PlanId>,
    ) -> Result<QueryOutput, StoreError> {
        let table = self.tables.state.as_str();
        let first = kind.key(lane, &PlanId::new(*seqs.start(), 0));
        let last = kind.key(lane, &PlanId::new(*seqs.end(), u64::MAX));
        self.client
            .query()
            .table_name(table)
            .consistent_read(true)
            .key_condition_expression("#pk = :lane AND #sk BETWEEN :first AND :last")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_names("#sk", "SK")
            .expression_attribute_values(":lane", string(first.pk))
            .expression_attribute_values(":first", string(first.sk))
            .expression_attribute_values(":last", string(last.sk))
            .set_exclusive_start_key(after.map(|plan| key_item(&kind.key(lane, plan))))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| store_error("Query", table, e))
    }

    /// The id to go on after.
    fn next(&self, kind: Kind, page: &QueryOutput) -> Result<Option<PlanId>, StoreError> {
        page.last_evaluated_key().map(|item| kind.plan(&Reading { table: &self.tables.state, item })).transpose()
    }

    /// A plan as it was written.
    fn body(&self, mut item: Item) -> Result<Vec<u8>, StoreError> {
        match item.remove("body") {
            Some(AttributeValue::B(body)) => Ok(body.into_inner()),
            _ => Err(Reading { table: &self.tables.state, item: &item }.unreadable("body")),
        }
    }
}

/// The places of transitions, ascending: a set of numbers has no order.
fn places(reading: &Reading<'_>) -> Result<Vec<usize>, StoreError> {
    let Some(AttributeValue::Ns(places)) = reading.item.get("transitions") else {
        return Err(reading.unreadable("transitions"));
    };
    let mut places: Vec<usize> = places
        .iter()
        .map(|place| place.parse().map_err(|_| reading.unreadable("transitions")))
        .collect::<Result<_, _>>()?;
    places.sort_unstable();
    Ok(places)
}
