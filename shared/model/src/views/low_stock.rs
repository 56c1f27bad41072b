//! Low stock: how many active products are running out, and which.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Board, CURRENT, Column, ONE, Source, Tables, View};
use crate::number::Number;
use crate::product::{Listing, Product};
use crate::rows::Contribution;
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "lowStock",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: Some(BOARD),
    ranking: None,
    columns: &[Column::count("products", "count")],
    document,
};

/// The board of the products that are running out, by how many are left.
pub const BOARD: Board = Board { name: KIND, rank: |state| Some(low(state)?.1.quantity) };
const KIND: &str = "LOWSTOCK";
/// Its only row.
pub const ROW: Key = Key::fixed(KIND, CURRENT);

/// The view's document.
#[derive(Debug, Serialize)]
pub struct LowStock<'a> {
    /// How many.
    pub count: Number,
    /// Which, the scarcest first.
    pub products: Vec<LowProduct<'a>>,
}

/// A product that is running out.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LowProduct<'a> {
    /// Its number in the catalogue.
    pub product_id: i64,
    /// Who sells it.
    pub seller_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its category.
    pub category: &'a str,
    /// How many are left.
    pub quantity: i64,
}

impl<'a> LowStock<'a> {
    /// What the tables hold of it.
    pub fn read(tables: &'a Tables) -> Self {
        let row = tables.rows.iter().find(|(key, _)| *key == ROW);
        let product = |state| {
            low(state).map(|(product, listing)| LowProduct {
                product_id: product.id,
                seller_id: &product.seller,
                name: &product.name,
                category: &listing.category,
                quantity: listing.quantity,
            })
        };
        let mut products: Vec<_> = tables.listed.iter().filter_map(product).collect();
        products.sort_by_key(|product| (product.quantity, product.product_id));
        let count = Number(row.map(|(_, measures)| measures.get("count")).unwrap_or_default());
        Self { count, products }
    }
}

fn low(state: &State) -> Option<(&Product, &Listing)> {
    let State::Product(product) = state else { return None };
    let listing = product.listing().filter(|listing| listing.low)?;
    Some((product, listing))
}

fn rows(state: &State, contribution: &mut Contribution) {
    if low(state).is_some() {
        contribution.add(ROW, [("count", ONE)]);
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&LowStock::read(tables))
}
