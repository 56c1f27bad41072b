//! Categories: active products, the value of what is in stock, and the mean price.

use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Source, Tables, View};
use crate::number::{Money, Number};
use crate::rows::{Contribution, Measures};
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "categories",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[
        Column::pk("category", 1),
        Column::count("total_products", "products"),
        Column::decimal("total_value", "value"),
        Column::decimal("total_price", "prices"),
    ],
    document,
};

const KIND: &str = "CATEGORY";

/// One category's metrics.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CategoryMetrics {
    /// Which.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub category: CompactString,
    /// Active products.
    pub total_products: Number,
    /// Sum of price times quantity over them.
    pub total_value: Money,
    /// Mean price of one unit of each, rounded half to even at the twelfth digit.
    pub average_price: Money,
}

impl CategoryMetrics {
    /// Reads a row; `None` for another view's, and for a category without active products.
    pub fn read(key: &Key, measures: &Measures) -> Option<Self> {
        let category = key.id(KIND, CURRENT)?;
        let products = measures.get("products");
        let average_price = Money(measures.get("prices").mean(products)?);
        Some(Self {
            category,
            total_products: Number(products),
            total_value: Money(measures.get("value")),
            average_price,
        })
    }
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Product(product) = state else { return };
    let Some(listing) = product.listing() else { return };
    contribution.add(
        Key::of(KIND, &listing.category, CURRENT),
        [("products", ONE), ("value", listing.value()), ("prices", listing.price)],
    );
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let rows = tables.rows.iter();
    to_raw_value(&rows.filter_map(|(key, m)| CategoryMetrics::read(key, m)).collect::<Vec<_>>())
}
