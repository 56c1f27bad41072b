//! Product sales: how many of a product were ordered, and for how much. Ranked by revenue.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{CURRENT, Column, ONE, Ranking, Source, Tables, View, summary};
use crate::number::{Id, Money, Number};
use crate::rows::Contribution;
use crate::{Decimal, Key, State};

/// The view.
pub const VIEW: View = View {
    name: "productSales",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: Some(RANKING),
    columns: &[
        Column::pk("product_id", 1),
        Column::count("item_count", "items"),
        Column::count("quantity_sold", "quantity"),
        Column::decimal("total_revenue", "revenue"),
    ],
    document,
};

const KIND: &str = "PRODUCTSALES";
/// How products compete.
pub const RANKING: Ranking =
    Ranking { board: "PRODUCTS", kind: KIND, by: "revenue", present: "items", tally: (summary::KIND, "products") };

/// One product.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProductSales {
    /// Which.
    pub product_id: Id,
    /// Pieces.
    pub quantity_sold: Number,
    /// What they were ordered for.
    pub total_revenue: Money,
}

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Item(item) = state else { return };
    let Some(product) = &item.product.value else { return };
    contribution.add(
        Key::of(KIND, product, CURRENT),
        [("items", ONE), ("quantity", Decimal::whole(item.quantity())), ("revenue", item.revenue())],
    );
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let products = tables.of(KIND).filter(|(_, row)| RANKING.is_present(row)).filter_map(|(key, row)| {
        Some(ProductSales {
            product_id: Id(key.id(KIND, CURRENT)?),
            quantity_sold: Number(row.get("quantity")),
            total_revenue: Money(row.get("revenue")),
        })
    });
    let mut products: Vec<_> = products.collect();
    products.sort_by_key(|product| std::cmp::Reverse(product.total_revenue.0));
    to_raw_value(&products)
}
