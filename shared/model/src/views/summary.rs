//! The summary of all orders: how many, for how much, by how many customers, of how many products.
//!
//! Customers and products are counted by the rankings of their rows: as they come and go.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Source, Tables, View};
use crate::number::{Money, Number};
use crate::rows::Contribution;
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "summary",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[
        Column::count("total_orders", "orders"),
        Column::decimal("total_revenue", "revenue"),
        Column::count("unique_customers", "customers"),
        Column::count("unique_products_sold", "products"),
    ],
    document,
};

/// Its only row is this kind's current total.
pub const ROW: Key = Key::fixed(KIND, CURRENT);
pub(super) const KIND: &str = "SUMMARY";

/// The view's document.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Summary {
    /// Orders that are not deleted.
    pub total_orders: Number,
    /// What they are for.
    pub total_revenue: Money,
    /// Customers with an order.
    pub unique_customers: Number,
    /// Products with a piece in an order.
    pub unique_products_sold: Number,
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Order(order) = state else { return };
    if !order.deleted {
        contribution.add(ROW, [("orders", ONE), ("revenue", order.total())]);
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let row = tables.rows.iter().find(|(key, _)| *key == ROW);
    let number = |name| Number(row.map(|(_, row)| row.get(name)).unwrap_or_default());
    to_raw_value(&Summary {
        total_orders: number("orders"),
        total_revenue: Money(row.map(|(_, row)| row.get("revenue")).unwrap_or_default()),
        unique_customers: number("customers"),
        unique_products_sold: number("products"),
    })
}
