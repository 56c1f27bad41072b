//! Orders and their items: rows of a shop's database, by change data capture. Topics
//! `<server>.<schema>.orders` and `.order_items`.
//!
//! A row's state is what its newest record says; what that left out is kept from the newest that
//! told it. A deletion leaves a tombstone.

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

use crate::debezium::{Cell, Row, RowChange, read};
use crate::field::{PRICE_LIMIT, QUANTITY_LIMIT, VALUE_LIMIT, within};
use crate::fingerprint::digest;
use crate::stream::{Accepted, Input, Route, Said, Stream};
use crate::time::{DAY_MS, Day};
use crate::{Change, Decimal, Key, Settings, State, Version, time};

/// The stream of orders and order items.
pub const STREAM: Stream = Stream { name: "orders", topics: &["*.orders", "*.order_items"], decode, route };

/// An order as the views need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: CompactString,
    /// Whether it was deleted, or a deletion is all that was heard of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Who ordered.
    pub customer: Cell<CompactString>,
    /// What for.
    pub total: Cell<Decimal>,
    /// How far it is.
    pub status: Cell<CompactString>,
    /// The day it was made.
    pub day: Cell<SalesDay>,
    /// When the tombstone may be forgotten, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// A day of sales. Kept in the state, so that another time zone or retention never lets rows drift:
/// they take effect with each order's next record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalesDay {
    /// Its date.
    pub date: CompactString,
    /// When its row may be forgotten, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: CompactString,
    /// Whether it was deleted, or a deletion is all that was heard of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Of what.
    pub product: Cell<CompactString>,
    /// How many.
    pub quantity: Cell<i64>,
    /// The price of one.
    pub price: Cell<Decimal>,
    /// When the tombstone may be forgotten, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

impl Order {
    fn read(row: &Row<'_>, settings: &Settings) -> Result<Self, String> {
        let day = row.time("created_at")?;
        Ok(Self {
            id: row.id()?,
            deleted: false,
            customer: row.text("customer_id")?,
            total: limited("total_amount", row.decimal("total_amount", settings.decimal_scale)?, VALUE_LIMIT)?,
            status: short("status", row.text("status")?)?,
            day: Cell { value: day.value.map(|ms| SalesDay::of(ms, settings)), at: day.at },
            expires: None,
        })
    }

    /// A deletion tells every column: there is none left.
    fn deleted(id: CompactString, expires: Option<i64>) -> Self {
        let (customer, total, status, day) = (Cell::told(None), Cell::told(None), Cell::told(None), Cell::told(None));
        Self { id, deleted: true, customer, total, status, day, expires }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.customer.is_told() && self.total.is_told() && self.status.is_told() && self.day.is_told()
    }

    pub(crate) fn merged(&self, own: Version, other: &Self, others: Version) -> Self {
        Self {
            id: self.id.clone(),
            deleted: self.deleted,
            customer: self.customer.merged(own, &other.customer, others),
            total: self.total.merged(own, &other.total, others),
            status: self.status.merged(own, &other.status, others),
            day: self.day.merged(own, &other.day, others),
            expires: self.expires,
        }
    }

    pub(crate) fn contradicts(&self, stored: &Self) -> bool {
        self.customer.contradicts(&stored.customer)
            || self.total.contradicts(&stored.total)
            || self.status.contradicts(&stored.status)
    }

    /// The order of a pseudonym in place of its customer, told right after the customer was.
    pub(crate) fn erased(&self) -> Self {
        let pseudonym = self.customer.value.as_deref().map(|customer| format_compact!("erased-{}", digest([customer])));
        Self { customer: Cell { value: pseudonym, at: self.customer.at.map(Version::next) }, ..self.clone() }
    }

    /// What it is for; null is nothing.
    pub fn total(&self) -> Decimal {
        self.total.value.unwrap_or_default()
    }
}

impl SalesDay {
    fn of(ms: i64, settings: &Settings) -> Self {
        let Day { date, end_ms } = settings.zone.day(ms);
        let kept = |retention: i64| end_ms.saturating_add(retention).saturating_add(DAY_MS);
        Self { date, expires: settings.sales_retention_ms.map(kept) }
    }
}

impl Item {
    fn read(row: &Row<'_>, settings: &Settings) -> Result<Self, String> {
        let quantity = row.whole("quantity")?;
        if let Some(n) = quantity.value.filter(|n| !(-QUANTITY_LIMIT..=QUANTITY_LIMIT).contains(n)) {
            return Err(format!("quantity {n} is not between -{QUANTITY_LIMIT} and {QUANTITY_LIMIT}"));
        }
        let price = limited("price", row.decimal("price", settings.decimal_scale)?, PRICE_LIMIT)?;
        let item =
            Self { id: row.id()?, deleted: false, product: row.text("product_id")?, quantity, price, expires: None };
        // A column that is not told yet may still come; then the row's limits bound it less tightly.
        if item.revenue() >= VALUE_LIMIT || item.revenue() <= -VALUE_LIMIT {
            return Err(format!("price times quantity is not below {VALUE_LIMIT}"));
        }
        Ok(item)
    }

    fn deleted(id: CompactString, expires: Option<i64>) -> Self {
        let (product, quantity, price) = (Cell::told(None), Cell::told(None), Cell::told(None));
        Self { id, deleted: true, product, quantity, price, expires }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.product.is_told() && self.quantity.is_told() && self.price.is_told()
    }

    pub(crate) fn merged(&self, own: Version, other: &Self, others: Version) -> Self {
        Self {
            id: self.id.clone(),
            deleted: self.deleted,
            product: self.product.merged(own, &other.product, others),
            quantity: self.quantity.merged(own, &other.quantity, others),
            price: self.price.merged(own, &other.price, others),
            expires: self.expires,
        }
    }

    pub(crate) fn contradicts(&self, stored: &Self) -> bool {
        self.product.contradicts(&stored.product)
            || self.quantity.contradicts(&stored.quantity)
            || self.price.contradicts(&stored.price)
    }

    /// How many; null is none.
    pub fn quantity(&self) -> i64 {
        self.quantity.value.unwrap_or_default()
    }

    /// Price times quantity.
    pub fn revenue(&self) -> Decimal {
        self.price.value.unwrap_or_default().times(self.quantity()).unwrap_or_default()
    }
}

/// A status is part of a sort key, which takes 1024 bytes; escaping takes up to three for one.
const STATUS_LIMIT: usize = 200;

fn short(column: &str, cell: Cell<CompactString>) -> Result<Cell<CompactString>, String> {
    cell.value.as_deref().map(|text| within(column, text, STATUS_LIMIT)).transpose()?;
    Ok(cell)
}

fn limited(column: &str, cell: Cell<Decimal>, limit: Decimal) -> Result<Cell<Decimal>, String> {
    match cell.value {
        Some(n) if n >= limit || n <= -limit => Err(format!("{column} {n} is not between -{limit} and {limit}")),
        _ => Ok(cell),
    }
}

fn decode(input: &Input<'_>, said: &mut Said) -> Result<Accepted, String> {
    Ok(read(input, |change| decode_row(input, change, said))?.unwrap_or(Accepted::Nothing))
}

fn decode_row(input: &Input<'_>, change: RowChange<'_>, said: &mut Said) -> Result<Accepted, String> {
    let settings = input.settings;
    let RowChange { table, deleted, row, claimed, version, stated_ms } = change;
    let written_ms = stated_ms.unwrap_or_else(|| input.taken_ms());
    let expires = settings.tombstone_expires(written_ms);
    let id = row.id()?;
    let (key, state, claimed) = match (table.as_str(), deleted) {
        ("orders", true) => (key("ORDER", &id), State::Order(Box::new(Order::deleted(id, expires))), None),
        ("order_items", true) => (key("ITEM", &id), State::Item(Box::new(Item::deleted(id, expires))), None),
        ("orders", false) => {
            let made = row.time("created_at")?;
            made.value.map(|ms| input.not_ahead("created_at", ms)).transpose()?;
            let claimed =
                claimed.and_then(|row| Order::read(&row, settings).ok()).map(|order| State::Order(Box::new(order)));
            (key("ORDER", &id), State::Order(Box::new(Order::read(&row, settings)?)), claimed)
        }
        ("order_items", false) => {
            let claimed =
                claimed.and_then(|row| Item::read(&row, settings).ok()).map(|item| State::Item(Box::new(item)));
            (key("ITEM", &id), State::Item(Box::new(Item::read(&row, settings)?)), claimed)
        }
        (other, _) => return Err(format!("table `{other:.64}` is neither orders nor order_items")),
    };
    input.not_ahead("ts_ms", written_ms)?;
    if settings.is_late(written_ms) {
        return Ok(Accepted::Late);
    }
    said.changes.push(Change { key, version, state, claimed: claimed.map(Box::new), told_by: None });
    Ok(Accepted::Counted)
}

fn key(kind: &'static str, id: &str) -> Key {
    Key::of(kind, id, "STATE")
}

fn route(value: &[u8]) -> Route {
    let record = crate::kafka::RawRecord::unplaced();
    let input = Input { record: &record, value: Some(value), settings: &Settings::default(), requested: None };
    let routed = read(&input, |change| {
        let topic = if change.table == "order_items" { "dbserver1.public.order_items" } else { TOPIC };
        // What is no time of any calendar is the decoder's to refuse.
        let made = || change.row.time("created_at").ok()?.value;
        let time_ms = change.stated_ms.or_else(made).filter(|ms| (0..=time::LATEST_MS).contains(ms));
        Ok(Route { topic, key: change.row.id().ok().map(String::from), time_ms })
    });
    routed.ok().flatten().unwrap_or(Route { topic: TOPIC, ..Route::default() })
}

const TOPIC: &str = "dbserver1.public.orders";
