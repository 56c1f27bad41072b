//! Daily sales: orders and what they are for, by the day they were made.

use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, ONE, Source, Tables, View};
use crate::number::{Money, Number};
use crate::rows::Contribution;
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "dailySales",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[
        Column::sk("sales_date", 1),
        Column::count("order_count", "orders"),
        Column::decimal("total_amount", "amount"),
    ],
    document,
};

const KIND: &str = "SALES";

/// One day.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DailySales {
    /// Its date, as ISO 8601 writes it.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub date: CompactString,
    /// Orders that were made on it.
    pub order_count: Number,
    /// What they are for.
    pub total_amount: Money,
}

/// The row of a date.
pub fn row(date: &str) -> Key {
    Key::parts(&[KIND], &["DAY", date])
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Order(order) = state else { return };
    // An order that does not say when it was made counts everywhere but here.
    let Some(day) = &order.day.value else { return };
    contribution.add_window(row(&day.date), day.expires, [("orders", ONE), ("amount", order.total())]);
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let days = tables.of(KIND).filter(|(_, row)| !row.get("orders").is_zero()).filter_map(|(key, row)| {
        Some(DailySales {
            date: key.sk_parts().get(1)?.clone(),
            order_count: Number(row.get("orders")),
            total_amount: Money(row.get("amount")),
        })
    });
    to_raw_value(&days.collect::<Vec<_>>())
}
