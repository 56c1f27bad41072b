//! Products of the catalogue: topics `product.created`, `product.updated`, `product.deleted`.
//!
//! Every event carries the whole new state in `data`; `changes` (as documented) and `previousData`
//! (as really sent) are not read, because the old state is the stored entity. The three topics
//! have no order between them, so a product's version is (timestamp, created < updated < deleted,
//! hash of the value).

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::kafka::RawRecord;
use crate::raw::{Object, Raw};
use crate::stream::{Accepted, Settings, Stream};
use crate::{Change, Decimal, Key, State, Version};

/// The stream of product events.
pub const STREAM: Stream =
    Stream { name: "products", topics: &["product.created", "product.updated", "product.deleted"], decode, route };

/// Prices are below this, quantities at most that, and the product of both below the last: 10^11
/// products of the largest value add up before a sum needs more digits than there are (see
/// [`Decimal`]).
const PRICE_LIMIT: Decimal = Decimal::whole(1_000_000_000_000);
const QUANTITY_LIMIT: i64 = 1_000_000_000;
const VALUE_LIMIT: Decimal = Decimal::whole(1_000_000_000_000_000);
/// DynamoDB allows 2048 bytes of partition key; escaping takes up to three for one.
const ID_LIMIT: usize = 512;
/// Keeps a state well under one item's 400 KB, and most under one write unit.
const NAME_LIMIT: usize = 4096;
const DAY_MS: i64 = 86_400_000;
/// 9999-12-31, the last day that ISO 8601 writes with four digits.
const TIMESTAMP_LIMIT: i64 = 253_402_300_799_999;

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

fn decode(_: &RawRecord<'_>, value: &[u8], settings: &Settings) -> Result<Accepted, String> {
    let Object(event) = crate::stream::parse::<Object<Event<'_>>>(value)?;
    let deleted = event.event_type == "ProductDeleted";
    let rank = match event.event_type.as_str() {
        "ProductCreated" => 0,
        "ProductUpdated" => 1,
        "ProductDeleted" => 2,
        other => return Err(format!("eventType `{other:.64}` is not a product event")),
    };
    let timestamp = whole("timestamp", &event.timestamp)?;
    if !(0..=TIMESTAMP_LIMIT).contains(&timestamp) {
        return Err(format!("timestamp {timestamp} is not between 1970 and 9999, in ms"));
    }
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
        // A day longer than records count: an invocation may take its time.
        let expires = settings.tombstone_retention_ms.map(|ms| timestamp.saturating_add(ms).saturating_add(DAY_MS));
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
    Ok(Accepted::Change(Change { key, version, state: State::Product(product) }))
}

fn within(field: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() > limit {
        return Err(format!("{field} is longer than {limit} bytes"));
    }
    Ok(())
}

fn whole(field: &str, value: &Raw<'_>) -> Result<i64, String> {
    let text = value.json();
    let n = text.parse().ok().or_else(|| text.parse::<Decimal>().ok()?.to_whole());
    n.ok_or_else(|| format!("{field} {text:.64} is not a whole number of 64 bits"))
}

fn price(value: &Raw<'_>) -> Result<Decimal, String> {
    let text = value.json();
    let price: Decimal = text.parse().map_err(|e| format!("price {text:.64} {e}"))?;
    if price < Decimal::ZERO || price >= PRICE_LIMIT {
        return Err(format!("price {price} is not between 0 and {PRICE_LIMIT}"));
    }
    Ok(price)
}

/// Where the producer would have sent a value: its topic, and its key.
fn route(value: &[u8]) -> (&'static str, Option<String>) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Route {
        event_type: CompactString,
        data: Owner,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owner {
        seller_id: String,
    }
    match crate::stream::parse::<Route>(value) {
        Ok(Route { event_type, data }) => {
            let topic = match event_type.as_str() {
                "ProductCreated" => "product.created",
                "ProductDeleted" => "product.deleted",
                _ => "product.updated",
            };
            (topic, Some(data.seller_id))
        }
        Err(_) => ("product.updated", None),
    }
}
