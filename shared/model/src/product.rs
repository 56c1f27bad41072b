//! Products of the catalogue: topics `product.created`, `product.updated`, `product.deleted`.
//!
//! Every event carries the whole new state in `data`; `changes` (as documented) and `previousData`
//! (as really sent) are not read, because the old state is the stored entity. The three topics
//! have no order between them, so a product's version is (timestamp, created < updated < deleted,
//! hash of the value).

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::field::{ID_LIMIT, PRICE_LIMIT, QUANTITY_LIMIT, VALUE_LIMIT, whole, within};
use crate::raw::{Object, Raw};
use crate::stream::{Accepted, Input, Route, Said, Stream};
use crate::time::LATEST_MS;
use crate::{Change, Decimal, Key, State, Version};

/// The stream of product events.
pub const STREAM: Stream =
    Stream { name: "products", topics: &["product.created", "product.updated", "product.deleted"], decode, route };

/// Keeps a state well under one item's 400 KB, and most under one write unit.
const NAME_LIMIT: usize = 4096;

/// A product as the views need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its number in the catalogue.
    #[serde(rename = "productId")]
    pub id: i64,
    /// Who sells it.
    #[serde(rename = "sellerId")]
    pub seller: CompactString,
    /// Its name; empty if a deletion came first and did not say.
    pub name: CompactString,
    /// Whether it is on sale.
    pub status: Status,
}

/// Whether a product is on sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It is.
    Active(Listing),
    /// It was deleted, or a deletion is the first that was heard of it.
    Deleted {
        /// When the tombstone may be forgotten, in ms since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<i64>,
    },
}

/// What an active product is offered at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its category.
    pub category: CompactString,
    /// The price of one.
    pub price: Decimal,
    /// How many there are.
    pub quantity: i64,
    /// Whether that was below the threshold when this state was decoded. Kept in the state, so
    /// that a changed threshold never lets rows drift from states: it takes effect per product.
    pub low: bool,
}

impl Product {
    /// What it is offered at, if it is.
    pub fn listing(&self) -> Option<&Listing> {
        match &self.status {
            Status::Active(listing) => Some(listing),
            Status::Deleted { .. } => None,
        }
    }

    /// When it may be forgotten.
    pub fn expires(&self) -> Option<i64> {
        match self.status {
            Status::Active(_) => None,
            Status::Deleted { expires } => expires,
        }
    }
}

impl Listing {
    /// Price times quantity. Exact and in range by the limits at decoding.
    pub fn value(&self) -> Decimal {
        self.price.times(self.quantity).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    event_type: CompactString,
    #[serde(borrow)]
    timestamp: Raw<'a>,
    #[serde(borrow)]
    data: Object<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    product_id: Raw<'a>,
    seller_id: CompactString,
    #[serde(default)]
    name: Option<CompactString>,
    #[serde(borrow, default)]
    price: Option<Raw<'a>>,
    #[serde(borrow, default)]
    quantity: Option<Raw<'a>>,
    #[serde(default)]
    category: Option<CompactString>,
}

fn decode(input: &Input<'_>, said: &mut Said) -> Result<Accepted, String> {
    let (value, settings) = (input.value()?, input.settings);
    let Object(event) = crate::stream::parse::<Object<Event<'_>>>(value)?;
    let deleted = event.event_type == "ProductDeleted";
    let rank = match event.event_type.as_str() {
        "ProductCreated" => 0,
        "ProductUpdated" => 1,
        "ProductDeleted" => 2,
        other => return Err(format!("eventType `{other:.64}` is not a product event")),
    };
    let timestamp = whole("timestamp", &event.timestamp)?;
    if !(0..=LATEST_MS).contains(&timestamp) {
        return Err(format!("timestamp {timestamp} is not between 1970 and 9999, in ms"));
    }
    // It would win until then.
    input.not_ahead("timestamp", timestamp)?;
    let Object(data) = event.data;
    let id = whole("productId", &data.product_id)?;
    within("sellerId", &data.seller_id, ID_LIMIT)?;
    if let Some(name) = &data.name {
        within("name", name, NAME_LIMIT)?;
    }
    if settings.is_late(timestamp) {
        return Ok(Accepted::Late);
    }
    let (name, status) = if deleted {
        let expires = settings.tombstone_expires(timestamp);
        (data.name.unwrap_or_default(), Status::Deleted { expires })
    } else {
        let name = data.name.ok_or("name is missing")?;
        let price = price(&data.price.ok_or("price is missing")?)?;
        let quantity = whole("quantity", &data.quantity.ok_or("quantity is missing")?)?;
        if !(0..=QUANTITY_LIMIT).contains(&quantity) {
            return Err(format!("quantity {quantity} is not between 0 and {QUANTITY_LIMIT}"));
        }
        if price.times(quantity).is_none_or(|value| value >= VALUE_LIMIT) {
            return Err(format!("price {price} times quantity {quantity} is not below {VALUE_LIMIT}"));
        }
        let category = data.category.ok_or("category is missing")?;
        within("category", &category, ID_LIMIT)?;
        let low = quantity < settings.low_stock_threshold;
        (name, Status::Active(Listing { category, price, quantity, low }))
    };
    let version = Version { major: timestamp, minor: rank, tie: xxh3_64(value) };
    let key = Key::numbered("PRODUCT", id, "STATE");
    let product = Product { id, seller: data.seller_id, name, status };
    said.changes.push(Change { key, version, state: State::Product(product), claimed: None, told_by: None });
    Ok(Accepted::Counted)
}

fn price(value: &Raw<'_>) -> Result<Decimal, String> {
    let text = value.json();
    let price: Decimal = text.parse().map_err(|e| format!("price {text:.64} {e}"))?;
    if price < Decimal::ZERO || price >= PRICE_LIMIT {
        return Err(format!("price {price} is not between 0 and {PRICE_LIMIT}"));
    }
    Ok(price)
}

fn route(value: &[u8]) -> Route {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent<'a> {
        event_type: CompactString,
        #[serde(borrow, default)]
        timestamp: Option<Raw<'a>>,
        data: Owner,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owner {
        seller_id: String,
    }
    let Ok(Sent { event_type, timestamp, data }) = crate::stream::parse::<Sent<'_>>(value) else {
        return Route { topic: "product.updated", ..Route::default() };
    };
    let topic = match event_type.as_str() {
        "ProductCreated" => "product.created",
        "ProductDeleted" => "product.deleted",
        _ => "product.updated",
    };
    let time_ms = timestamp.and_then(|timestamp| whole("timestamp", &timestamp).ok());
    Route { topic, key: Some(data.seller_id), time_ms }
}
