//! Sellers: total, active and deleted products, and the value of what is in stock.

use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Source, Tables, View};
use crate::number::{Money, Number};
use crate::rows::{Contribution, Measures};
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "sellers",
    kind: KIND,
    rows,
    source: Source::Tombstones(&["total", "deleted"]),
    board: None,
    ranking: None,
    columns: &[
        Column::pk("seller_id", 1),
        Column::count("total_products", "total"),
        Column::count("active_products", "active"),
        Column::count("deleted_products", "deleted"),
        Column::decimal("total_value", "value"),
    ],
    document,
};

const KIND: &str = "SELLER";

/// One seller's metrics.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SellerMetrics {
    /// Whose.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub seller_id: CompactString,
    /// Products ever seen.
    pub total_products: Number,
    /// Those on sale.
    pub active_products: Number,
    /// Those deleted.
    pub deleted_products: Number,
    /// Sum of price times quantity over the active ones.
    pub total_value: Money,
}

impl SellerMetrics {
    /// Reads a row; `None` for another view's, and for a seller without products.
    pub fn read(key: &Key, measures: &Measures) -> Option<Self> {
        let seller_id = key.id(KIND, CURRENT)?;
        let number = |name| Number(measures.get(name));
        (!measures.get("total").is_zero()).then(|| Self {
            seller_id,
            total_products: number("total"),
            active_products: number("active"),
            deleted_products: number("deleted"),
            total_value: Money(measures.get("value")),
        })
    }
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Product(product) = state else { return };
    let key = Key::of(KIND, &product.seller, CURRENT);
    match product.listing() {
        Some(listing) => {
            contribution.add(key, [("total", ONE), ("active", ONE), ("value", listing.value())]);
        }
        None => contribution.add(key, [("total", ONE), ("deleted", ONE)]),
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let rows = tables.rows.iter();
    to_raw_value(&rows.filter_map(|(key, m)| SellerMetrics::read(key, m)).collect::<Vec<_>>())
}
