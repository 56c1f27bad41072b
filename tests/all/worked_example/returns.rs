//! Returns of what was sold: topic `shop.returns`, key productId. A return is a line of no order, with
//! a negative quantity.

use compact_str::CompactString;
use serde::Deserialize;
use tidemark_model::debezium::Cell;
use tidemark_model::order::Item;
use tidemark_model::stream::{Accepted, Input, Route, Said, Stream, parse};
use tidemark_model::{Change, Decimal, Key, State, Version};

/// The stream.
pub const STREAM: Stream = Stream { name: "returns", topics: &["shop.returns"], decode, route };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Return {
    return_id: CompactString,
    product_id: CompactString,
    quantity: i64,
    price: Decimal,
    returned_at: i64,
}

fn decode(input: &Input<'_>, said: &mut Said) -> Result<Accepted, String> {
    let value: Return = parse(input.value()?)?;
    let at = input.not_ahead("returnedAt", value.returned_at)?;
    if value.quantity <= 0 {
        return Err(format!("quantity {} is not above 0", value.quantity));
    }
    let id = CompactString::from(format!("return-{}", value.return_id));
    said.changes.push(Change {
        key: Key::of("ITEM", &id, "STATE"),
        // The newest wins, in any order of arrival; the same again changes nothing.
        version: Version { major: at, minor: 0, tie: 0 },
        state: State::Item(Box::new(Item {
            id,
            deleted: false,
            product: Cell::told(Some(value.product_id)),
            quantity: Cell::told(Some(-value.quantity)),
            price: Cell::told(Some(value.price)),
            expires: None,
        })),
        claimed: None,
        told_by: None,
    });
    Ok(Accepted::Counted)
}

fn route(value: &[u8]) -> Route {
    let value = parse::<Return>(value).ok();
    let time_ms = value.as_ref().map(|value| value.returned_at);
    Route { topic: "shop.returns", key: value.map(|value| value.product_id.into()), time_ms }
}
