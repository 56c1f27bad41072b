//! Rows as CSV (RFC 4180) or JSON lines.

use csv::{Terminator, Writer, WriterBuilder};
use http::StatusCode;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tidemark_model::number::Number;
use tidemark_model::views::{Cell, View, cells};
use tidemark_model::{Key, Measures};

use crate::Problem;

/// A page is full with so many bytes,
const FULL: usize = 3_000_000;
/// or with so many as a string of JSON, which an invocation's answer is: Lambda takes 6 MB (AWS Lambda developer guide,
/// "Lambda quotas").
const FULL_AS_JSON: usize = 5_000_000;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Json,
}

/// The formats by their names.
pub(crate) const FORMATS: [(&str, Format); 2] = [("csv", Format::Csv), ("json", Format::Json)];

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/x-ndjson",
        }
    }
}

/// A page of rows.
pub(crate) struct Sheet {
    view: &'static View,
    rows: usize,
    body: Body,
    /// Bytes of the body that were weighed, and what they come to as a string of JSON.
    weighed: (usize, usize),
}

enum Body {
    Csv(Box<Writer<Vec<u8>>>),
    Json(Vec<u8>),
}

impl Sheet {
    /// An empty page; in CSV it names its columns.
    pub(crate) fn new(view: &'static View, format: Format) -> Result<Self, Problem> {
        let body = match format {
            Format::Csv => {
                let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
                writer.write_record(view.columns.iter().map(|column| column.name)).map_err(|e| unwritten(&e))?;
                Body::Csv(Box::new(writer))
            }
            Format::Json => Body::Json(Vec::new()),
        };
        Ok(Self { view, rows: 0, body, weighed: (0, 0) })
    }

    /// The view of its rows.
    pub(crate) fn view(&self) -> &'static View {
        self.view
    }

    /// How many rows are on it.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether no other row is to be put on it.
    pub(crate) fn is_full(&self) -> bool {
        self.weighed.0 >= FULL || self.weighed.1 >= FULL_AS_JSON
    }

    fn weigh(&mut self) {
        let written = match &self.body {
            Body::Csv(writer) => writer.get_ref(),
            Body::Json(body) => body,
        };
        let in_json = |byte: &u8| match byte {
            0x00..0x20 => r"\u0000".len(),
            b'"' | b'\\' => 2,
            _ => 1,
        };
        let new: usize = written.iter().skip(self.weighed.0).map(in_json).sum();
        self.weighed = (written.len(), self.weighed.1 + new);
    }

    /// Puts a row on it.
    pub(crate) fn push(&mut self, key: &Key, measures: &Measures) -> Result<(), Problem> {
        let cells = cells(self.view, key, measures);
        match &mut self.body {
            Body::Csv(writer) => writer.write_record(cells.map(text)).map_err(|e| unwritten(&e))?,
            Body::Json(body) => {
                let line = Line { view: self.view, cells: cells.collect() };
                serde_json::to_writer(&mut *body, &line).map_err(|e| unwritten(&e))?;
                body.push(b'\n');
            }
        }
        self.rows += 1;
        self.weigh();
        Ok(())
    }

    pub(crate) fn into_body(self) -> Result<Vec<u8>, Problem> {
        match self.body {
            Body::Csv(writer) => writer.into_inner().map_err(|e| unwritten(e.error())),
            Body::Json(body) => Ok(body),
        }
    }
}

fn unwritten(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "export cannot be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the export cannot be written; see the logs")
}

/// A cell of CSV. A text that a spreadsheet would take for a formula is quoted for it, and a text that looks so quoted
/// is, too: whoever takes one `'` off has what was there.
fn text(cell: Cell) -> String {
    match cell {
        Cell::Text(Some(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']) => format!("'{text}"),
        Cell::Text(text) => text.map(Into::into).unwrap_or_default(),
        Cell::Pairs(pairs) => pairs.unwrap_or_default(),
        Cell::Whole(n) => n.map(|n| n.to_string()).unwrap_or_default(),
        Cell::Decimal(n) => n.map(|n| n.to_string()).unwrap_or_default(),
    }
}

/// A line of JSON.
struct Line {
    view: &'static View,
    cells: Vec<Cell>,
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.cells.len()))?;
        for (column, cell) in self.view.columns.iter().zip(&self.cells) {
            match cell {
                Cell::Text(text) => object.serialize_entry(column.name, text)?,
                Cell::Pairs(pairs) => {
                    let pairs = pairs.clone().map(RawValue::from_string).transpose();
                    object.serialize_entry(column.name, &pairs.map_err(serde::ser::Error::custom)?)?;
                }
                Cell::Whole(n) => object.serialize_entry(column.name, n)?,
                Cell::Decimal(n) => object.serialize_entry(column.name, &n.map(Number))?,
            }
        }
        object.end()
    }
}
