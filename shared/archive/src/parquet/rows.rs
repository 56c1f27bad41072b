//! A view's rows as a table: the columns that the view declares, and beside them all that it takes to put the
//! row back as it was.
//!
//! | column | type | |
//! |---|---|---|
//! | `pk`, `sk` | text | the row's key |
//! | the view's own | text, whole number or DECIMAL(38, 12) | as the view says |
//! | `expires` | timestamp in ms, UTC | when the row may be forgotten, if ever |
//! | `others` | map to DECIMAL(38, 12) | numbers without a column, such as the buckets of a sketch |
//! | `marks` | map to whole numbers | by lane, the seq of the last plan that is in the row |

use std::fmt::Write;

use compact_str::CompactString;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use parquet::record::Field;
use tidemark_model::rows::TTL;
use tidemark_model::views::{Cell, Column, Part, View, cells};
use tidemark_model::{Decimal, Key, Measures};

use super::columns::{Columns, Kind};
use super::read::{Records, decimal, map, text, whole};
use super::{DECIMAL_DIGITS, TableWriter};

/// A row, as it was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRow {
    /// Its key.
    pub key: Key,
    /// Its numbers.
    pub measures: Measures,
    /// By lane, the seq of the last plan that is in it.
    pub marks: Vec<(CompactString, u64)>,
}

/// What a view's columns are, in their order: name and SQL type.
pub fn row_columns(view: &View) -> Vec<(&'static str, String)> {
    let decimal = || format!("decimal({DECIMAL_DIGITS}, {})", tidemark_model::decimal::FRACTION_DIGITS);
    let own = view.columns.iter().map(|column| match column.of {
        Part::Pk(_) | Part::Sk(_) | Part::SkPairs(_) => (column.name, "string".to_owned()),
        Part::Count(_) => (column.name, "bigint".to_owned()),
        Part::Decimal(_) => (column.name, decimal()),
    });
    let before = [("pk", "string".to_owned()), ("sk", "string".to_owned())];
    let after = [
        ("expires", "timestamp".to_owned()),
        ("others", format!("map<string, {}>", decimal())),
        ("marks", "map<string, bigint>".to_owned()),
    ];
    before.into_iter().chain(own).chain(after).collect()
}

/// An empty table of a view's rows.
///
/// # Errors
/// If the view's columns make no schema.
pub fn row_table(view: &View) -> Result<TableWriter, ParquetError> {
    let kinds = [Kind::Text, Kind::Text].into_iter().chain(view.columns.iter().map(|column| kind(*column)));
    let kinds = kinds.chain([Kind::Whole, Kind::Text, Kind::Decimal, Kind::Text, Kind::Whole]);
    TableWriter::new(&schema(view), Columns::new(kinds))
}

/// Adds a row to its view's table.
pub fn push_row<'a>(
    table: &mut TableWriter,
    view: &View,
    key: &Key,
    measures: &Measures,
    marks: impl Iterator<Item = (&'a str, u64)> + Clone,
) {
    let row = table.row();
    row.text(&key.pk).text(&key.sk);
    for cell in cells(view, key, measures) {
        match cell {
            Cell::Text(text) => row.optional_text(text.as_deref()),
            Cell::Pairs(pairs) => row.optional_text(pairs.as_deref()),
            Cell::Whole(n) => row.optional_whole(n),
            Cell::Decimal(n) => row.optional_decimal(n),
        };
    }
    let has_column = |name: &str, n: Decimal| {
        view.columns.iter().any(|column| match column.of {
            Part::Count(shown) => shown == name && n.to_whole().is_some(),
            Part::Decimal(shown) => shown == name,
            Part::Pk(_) | Part::Sk(_) | Part::SkPairs(_) => false,
        })
    };
    let others: Vec<(&str, Decimal)> =
        measures.iter().filter(|(name, n)| *name != TTL && !has_column(name, *n)).collect();
    row.optional_whole(measures.expires_ms());
    row.decimals(others.into_iter());
    row.wholes(marks.map(|(lane, seq)| (lane, i64::try_from(seq).unwrap_or(i64::MAX))));
}

/// A view's rows, being read.
pub struct RowReader {
    view: &'static View,
    records: Records,
}

impl RowReader {
    /// The rows of a view in a file.
    ///
    /// # Errors
    /// If it is no Parquet file.
    pub fn new(view: &'static View, file: impl ChunkReader + 'static) -> Result<Self, ParquetError> {
        Ok(Self { view, records: Records::new(file)? })
    }

    fn row(&self, record: &parquet::record::Row) -> Result<ArchivedRow, ParquetError> {
        let mut row = ArchivedRow {
            key: Key { pk: CompactString::default(), sk: CompactString::default() },
            measures: Measures::default(),
            marks: Vec::new(),
        };
        for (name, field) in record.get_column_iter() {
            match (name.as_str(), field) {
                ("pk", field) => row.key.pk = text(name, field)?.into(),
                ("sk", field) => row.key.sk = text(name, field)?.into(),
                ("expires", Field::Null) => {}
                ("expires", field) => row.measures.add(TTL, Decimal::whole(whole(name, field)? / 1_000)),
                ("others", field) => {
                    for (measure, n) in map(name, field)? {
                        row.measures.add(text(name, measure)?, decimal(name, n)?);
                    }
                }
                ("marks", field) => {
                    for (lane, seq) in map(name, field)? {
                        row.marks.push((text(name, lane)?.into(), whole(name, seq)?.unsigned_abs()));
                    }
                }
                (_, Field::Null) => {}
                (_, field) => match self.view.columns.iter().find(|column| column.name == name).map(|column| column.of)
                {
                    Some(Part::Count(measure)) => row.measures.add(measure, Decimal::whole(whole(name, field)?)),
                    Some(Part::Decimal(measure)) => row.measures.add(measure, decimal(name, field)?),
                    _ => {}
                },
            }
        }
        Ok(row)
    }
}

impl Iterator for RowReader {
    type Item = Result<ArchivedRow, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        Some(record.and_then(|record| self.row(&record)))
    }
}

fn kind(column: Column) -> Kind {
    match column.of {
        Part::Pk(_) | Part::Sk(_) | Part::SkPairs(_) => Kind::Text,
        Part::Count(_) => Kind::Whole,
        Part::Decimal(_) => Kind::Decimal,
    }
}

fn schema(view: &View) -> String {
    let decimal = format!(
        "fixed_len_byte_array(16) {{}} (DECIMAL({DECIMAL_DIGITS},{}))",
        tidemark_model::decimal::FRACTION_DIGITS
    );
    let decimal = |name: &str| decimal.replace("{}", name);
    let mut schema = String::from("message row { required binary pk (STRING); required binary sk (STRING);");
    for column in view.columns {
        let name = column.name;
        // Writing to a string cannot fail.
        let _ = match kind(*column) {
            Kind::Text => write!(schema, " optional binary {name} (STRING);"),
            Kind::Whole => write!(schema, " optional int64 {name};"),
            Kind::Decimal => write!(schema, " optional {};", decimal(name)),
        };
    }
    let map = |name: &str, value: &str| {
        format!(
            " required group {name} (MAP) {{ repeated group key_value {{ required binary key (STRING); required {value}; }} }}"
        )
    };
    schema
        + " optional int64 expires (TIMESTAMP(MILLIS,true));"
        + &map("others", &decimal("value"))
        + &map("marks", "int64 value")
        + " }"
}
