//! Entities as a table, which restores them as they were.
//!
//! | column | type | |
//! |---|---|---|
//! | `pk`, `sk` | text | the entity's key |
//! | `kind` | text | what it is: `Product`, `Order`, ... |
//! | `counter` | whole number | how often it has been changed |
//! | `version` | text | the version of its state |
//! | `expires` | timestamp in ms, UTC | when it may be forgotten, if ever |
//! | `state` | text | its state, as JSON |

use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use tidemark_model::{Key, Known, State};

use super::TableWriter;
use super::columns::{Columns, Kind};
use super::read::{Records, text, whole};

const SCHEMA: &str = "message entity {
    required binary pk (STRING); required binary sk (STRING); required binary kind (STRING);
    required int64 counter; required binary version (STRING);
    optional int64 expires (TIMESTAMP(MILLIS,true)); required binary state (STRING);
}";

/// What the columns of entities are, in their order: name and SQL type.
pub const STATE_COLUMNS: [(&str, &str); 7] = [
    ("pk", "string"),
    ("sk", "string"),
    ("kind", "string"),
    ("counter", "bigint"),
    ("version", "string"),
    ("expires", "timestamp"),
    ("state", "string"),
];

/// An empty table of entities.
///
/// # Errors
/// Never, but for a fault in the schema.
pub fn state_table() -> Result<TableWriter, ParquetError> {
    let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Whole, Kind::Text, Kind::Whole, Kind::Text];
    TableWriter::new(SCHEMA, Columns::new(kinds))
}

/// Adds an entity to the table.
///
/// # Errors
/// If its state makes no JSON.
pub fn push_state(table: &mut TableWriter, key: &Key, known: &Known) -> serde_json::Result<()> {
    let state = serde_json::to_string(&known.state)?;
    // An enum's JSON begins with its variant's name.
    let kind = state.split('"').nth(1).unwrap_or_default();
    let row = table.row();
    row.text(&key.pk).text(&key.sk).text(kind);
    row.whole(i64::try_from(known.counter).unwrap_or(i64::MAX)).text(&known.version.to_string());
    row.optional_whole(known.state.expires()).text(&state);
    Ok(())
}

/// Entities, being read.
pub struct StateReader(Records);

impl StateReader {
    /// The entities in a file.
    ///
    /// # Errors
    /// If it is no Parquet file.
    pub fn new(file: impl ChunkReader + 'static) -> Result<Self, ParquetError> {
        Ok(Self(Records::new(file)?))
    }
}

impl Iterator for StateReader {
    type Item = Result<(Key, Known), ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.and_then(|record| entity(&record)))
    }
}

fn entity(record: &parquet::record::Row) -> Result<(Key, Known), ParquetError> {
    let field = |wanted: &'static str| {
        let found = record.get_column_iter().find(|(name, _)| *name == wanted).map(|(_, field)| field);
        found.ok_or_else(|| ParquetError::General(format!("there is no column {wanted}")))
    };
    let text = |name| text(name, field(name)?);
    let key = Key { pk: text("pk")?.into(), sk: text("sk")?.into() };
    let unreadable = |error: &dyn std::error::Error| {
        ParquetError::General(format!("entity {} {} cannot be read: {error}", key.pk, key.sk))
    };
    let known = Known {
        counter: whole("counter", field("counter")?)?.unsigned_abs(),
        version: text("version")?.parse().map_err(|error| unreadable(&error))?,
        state: serde_json::from_str::<State>(text("state")?).map_err(|error| unreadable(&error))?,
    };
    Ok((key, known))
}
