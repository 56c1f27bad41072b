//! Order status: how many orders there are of each.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde_json::value::{RawValue, to_raw_value};

use super::{Column, ONE, Source, Tables, View};
use crate::number::Number;
use crate::rows::Contribution;
use crate::{Key, State};

/// The view.
pub const VIEW: View = View {
    name: "orderStatus",
    kind: KIND,
    rows,
    source: Source::Entities,
    board: None,
    ranking: None,
    columns: &[Column::sk("status", 1), Column::count("order_count", "orders")],
    document,
};

const KIND: &str = "ORDERSTATUS";
/// What an order without a status counts under.
const UNKNOWN: &str = "unknown";

fn rows(state: &State, contribution: &mut Contribution) {
    let State::Order(order) = state else { return };
    if !order.deleted {
        let status = order.status.value.as_deref().unwrap_or(UNKNOWN);
        contribution.add(Key::parts(&[KIND], &["STATUS", status]), [("orders", ONE)]);
    }
}

fn document(tables: &Tables) -> serde_json::Result<Box<RawValue>> {
    let statuses = tables.of(KIND).filter(|(_, row)| !row.get("orders").is_zero());
    let statuses = statuses.filter_map(|(key, row)| Some((key.sk_parts().get(1)?.clone(), Number(row.get("orders")))));
    to_raw_value(&statuses.collect::<BTreeMap<CompactString, Number>>())
}
