//! Returned: how many of a product came back.

use serde_json::value::{RawValue, to_raw_value};
use tidemark_model::number::{Id, Number};
use tidemark_model::rows::Contribution;
use tidemark_model::views::{CURRENT, Column, Source, Tables, View};
use tidemark_model::{Decimal, Key, State};

/// The view.
pub const VIEW: View = View {
    name: "returned",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[Column::pk("product_id", 1), Column::count("quantity", "quantity")],
    document,
};

const KIND: &str = "RETURNED";

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Item(item) = state else { return };
    let Some(product) = &item.product.value else { return };
    if item.quantity() < 0 {
        contribution.add(Key::of(KIND, product, CURRENT), [("quantity", Decimal::whole(-item.quantity()))]);
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let products =
        tables.of(KIND).filter_map(|(key, row)| Some((Id(key.id(KIND, CURRENT)?), Number(row.get("quantity")))));
    to_raw_value(&products.collect::<Vec<_>>())
}
