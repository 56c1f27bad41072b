//! Keys of the API's callers: small items of the state table, one partition of them.

use std::collections::BTreeSet;
use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use tidemark_model::Key;

use super::DynamoStore;
use super::error::store_error;
use super::item::{Item, Reading, key_item, number, read_units, string};
use crate::{Answer, Metered, StoreError, Units};

const PARTITION: &str = "APIKEYS";
const PREFIX: &str = "tm_";
/// What `apps` says of a key of all apps.
const ALL_APPS: &str = "*";

/// What a key's holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read dashboards, lists and exports.
    Read,
    /// Send events and metrics.
    Ingest,
    /// See how the deployment does.
    Admin,
}

impl Scope {
    /// All of them, by their names.
    pub const ALL: [(&str, Self); 3] = [("read", Self::Read), ("ingest", Self::Ingest), ("admin", Self::Admin)];

    /// The scope of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Admin => "admin",
        })
    }
}

/// The apps that a caller is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apps {
    /// All, and what belongs to none.
    All,
    /// These.
    Of(BTreeSet<String>),
}

impl Apps {
    /// Whether an app is among them.
    pub fn holds(&self, app: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(apps) => apps.contains(app),
        }
    }
}

/// A key, as it is stored: its secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What names it, in lists and logs.
    pub id: String,
    /// The keyed hash of its id and secret.
    pub hash: Vec<u8>,
    /// What people call it.
    pub name: String,
    /// What its holder may do.
    pub scopes: BTreeSet<Scope>,
    /// With which apps.
    pub apps: Apps,
    /// When it was made, in ms since 1970.
    pub created_ms: i64,
    /// When it ends, or has ended, in ms since 1970.
    pub expires_ms: Option<i64>,
    /// Requests a minute, if not as many as the deployment's default.
    pub per_minute: Option<u32>,
}

impl ApiKey {
    /// The id and the secret of a key as its holder has it: `tm_{id}_{secret}`.
    pub fn split(text: &str) -> Option<(&str, &str)> {
        text.strip_prefix(PREFIX)?.split_once('_')
    }

    /// A key as its holder has it.
    pub fn text(id: &str, secret: &str) -> String {
        format!("{PREFIX}{id}_{secret}")
    }

    /// Whether it is good at a time in ms since 1970.
    pub fn is_valid(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

fn place(id: &str) -> Key {
    Key { pk: PARTITION.into(), sk: id.into() }
}

impl DynamoStore {
    /// A key by its id.
    ///
    /// # Errors
    /// If the request fails or the item cannot be read.
    pub async fn api_key(&self, id: &str) -> Answer<Option<ApiKey>> {
        // No item has an empty sort key or one beyond the store's limit, and asking for one is an error.
        if id.is_empty() || id.len() > 64 {
            return Ok(Metered { value: None, units: Units::default() });
        }
        let Metered { value, units } = self.get_state_item(&place(id)).await?;
        let value = value.map(|item| self.read_key(&item)).transpose()?;
        Ok(Metered { value, units })
    }

    /// All keys, the ended ones included, in the order of their ids.
    ///
    /// # Errors
    /// If a request fails or an item cannot be read.
    pub async fn api_keys(&self) -> Answer<Vec<ApiKey>> {
        let table = self.tables.state.as_str();
        let mut pages = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", "PK")
            .expression_attribute_values(":pk", string(PARTITION))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .into_paginator()
            .send();
        let (mut keys, mut units) = (Vec::new(), Units::default());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| store_error("Query", table, e))?;
            units += read_units(page.consumed_capacity());
            for item in page.items() {
                keys.push(self.read_key(item)?);
            }
        }
        Ok(Metered { value: keys, units })
    }

    /// Writes a key, in the place of one of its id.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn put_api_key(&self, key: &ApiKey) -> Answer<()> {
        let mut item = key_item(&place(&key.id));
        let scopes = key.scopes.iter().map(|scope| string(scope.to_string())).collect();
        item.insert("hash".to_owned(), AttributeValue::B(Blob::new(key.hash.clone())));
        item.insert("name".to_owned(), string(&key.name));
        item.insert("scopes".to_owned(), AttributeValue::L(scopes));
        item.insert("created".to_owned(), number(key.created_ms));
        let apps = match &key.apps {
            Apps::All => string(ALL_APPS),
            Apps::Of(apps) => AttributeValue::L(apps.iter().map(string).collect()),
        };
        item.insert("apps".to_owned(), apps);
        item.extend(key.expires_ms.map(|ms| ("expires".to_owned(), number(ms))));
        item.extend(key.per_minute.map(|most| ("per_minute".to_owned(), number(most))));
        self.put_state_item(item).await
    }

    fn read_key(&self, item: &Item) -> Result<ApiKey, StoreError> {
        let reading = Reading { table: self.tables.state.as_str(), item };
        let hash = match item.get("hash") {
            Some(AttributeValue::B(hash)) => hash.as_ref().to_vec(),
            _ => return Err(reading.unreadable("hash")),
        };
        let scopes = texts(&reading, "scopes")?;
        let scopes = scopes.iter().map(|name| Scope::named(name)).collect::<Option<_>>();
        Ok(ApiKey {
            id: reading.text("SK")?.to_owned(),
            hash,
            name: reading.text("name")?.to_owned(),
            scopes: scopes.ok_or_else(|| reading.unreadable("scopes"))?,
            apps: match item.get("apps") {
                Some(AttributeValue::S(all)) if all == ALL_APPS => Apps::All,
                _ => Apps::Of(texts(&reading, "apps")?.into_iter().collect()),
            },
            created_ms: reading.parsed("created")?,
            expires_ms: reading.optional("expires")?,
            per_minute: reading.optional("per_minute")?,
        })
    }
}

/// A list of texts.
fn texts(reading: &Reading<'_>, attribute: &'static str) -> Result<Vec<String>, StoreError> {
    let text = |value: &AttributeValue| value.as_s().ok().cloned();
    let values = reading.item.get(attribute).and_then(|value| value.as_l().ok());
    let texts = values.and_then(|values| values.iter().map(text).collect());
    texts.ok_or_else(|| reading.unreadable(attribute))
}
