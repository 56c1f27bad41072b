//! Views as tables of rows, for spreadsheets and scripts: where their rows are, and how they are written.

mod sheet;
mod source;

pub(crate) use sheet::{FORMATS, Format, Sheet};
pub(crate) use source::{ROWS, Source};
