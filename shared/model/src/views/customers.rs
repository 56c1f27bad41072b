//! Customers: how many orders each made, and for how much. Ranked by what they spent.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Ranking, Source, Tables, View, summary};
use crate::number::{Id, Money, Number};
use crate::rows::Contribution;
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "customers",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: Some(RANKING),
    columns: &[
        Column::pk("customer_id", 1),
        Column::count("order_count", "orders"),
        Column::decimal("total_spent", "spent"),
    ],
    document,
};

const KIND: &str = "CUSTOMER";
/// How customers compete.
pub const RANKING: Ranking =
    Ranking { board: "CUSTOMERS", kind: KIND, by: "spent", present: "orders", tally: (summary::KIND, "customers") };

/// One customer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Customer {
    /// Who.
    pub customer_id: Id,
    /// Orders.
    pub order_count: Number,
    /// What they are for.
    pub total_spent: Money,
}

/// A customer's row.
pub(crate) fn row(customer: &str) -> Key {
    Key::of(KIND, customer, CURRENT)
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Order(order) = state else { return };
    let Some(customer) = &order.customer.value else { return };
    contribution.add(row(customer), [("orders", ONE), ("spent", order.total())]);
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let customers = tables.of(KIND).filter(|(_, row)| RANKING.is_present(row)).filter_map(|(key, row)| {
        Some(Customer {
            customer_id: Id(key.id(KIND, CURRENT)?),
            order_count: Number(row.get("orders")),
            total_spent: Money(row.get("spent")),
        })
    });
    let mut customers: Vec<_> = customers.collect();
    customers.sort_by_key(|customer| std::cmp::Reverse(customer.total_spent.0));
    to_raw_value(&customers)
}
