//! Columns: what a view's rows say, as archives and exports show them.

use compact_str::CompactString;
use serde_json::{Map, Value};

use super::View;
use crate::rows::{Combine, Measures};
use crate::{Decimal, Key};

/// A column of a view's rows, as archives show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, unlike every other of the view, and no word that Athena reserves.
    pub name: &'static str,
    /// What it shows.
    pub of: Part,
}

/// A part of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A part of the partition key, from 0.
    Pk(usize),
    /// A part of the sort key, from 0; some rows have fewer.
    Sk(usize),
    /// The parts of the sort key from there on, as names and values in turn.
    SkPairs(usize),
    /// A number that is whole; absent means zero.
    Count(&'static str),
    /// A number. Absent means zero if numbers of this name add up, else that there is none.
    Decimal(&'static str),
}

/// What a column shows of a row; `None` where the row does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A text.
    Text(Option<CompactString>),
    /// Names and values, as a JSON object.
    Pairs(Option<String>),
    /// A whole number.
    Whole(Option<i64>),
    /// A number.
    Decimal(Option<Decimal>),
}

impl Column {
    /// A column of a part of the partition key.
    pub const fn pk(name: &'static str, part: usize) -> Self {
        Self { name, of: Part::Pk(part) }
    }

    /// A column of a part of the sort key.
    pub const fn sk(name: &'static str, part: usize) -> Self {
        Self { name, of: Part::Sk(part) }
    }

    /// A column of a whole number.
    pub const fn count(name: &'static str, measure: &'static str) -> Self {
        Self { name, of: Part::Count(measure) }
    }

    /// A column of a number.
    pub const fn decimal(name: &'static str, measure: &'static str) -> Self {
        Self { name, of: Part::Decimal(measure) }
    }
}

/// A row as a view's columns show it, in their order.
pub fn cells(view: &View, key: &Key, measures: &Measures) -> impl Iterator<Item = Cell> {
    let (pk, sk) = (key.pk_parts(), key.sk_parts());
    view.columns.iter().map(move |column| match column.of {
        Part::Pk(at) => Cell::Text(pk.get(at).cloned()),
        Part::Sk(at) => Cell::Text(sk.get(at).cloned()),
        Part::SkPairs(from) => Cell::Pairs(pairs(&sk, from)),
        Part::Count(name) => Cell::Whole(measures.get(name).to_whole()),
        Part::Decimal(name) => Cell::Decimal(shown(measures, name)),
    })
}

/// A number as a column shows it.
fn shown(measures: &Measures, name: &str) -> Option<Decimal> {
    match Combine::of(name) {
        Combine::Sum => Some(measures.get(name)),
        Combine::Least | Combine::Greatest => measures.find(name),
    }
}

/// Names and values in turn, as a JSON object; none if there are none.
fn pairs(parts: &[CompactString], from: usize) -> Option<String> {
    let pairs = parts.get(from..)?.chunks_exact(2);
    let pairs = pairs.filter_map(|pair| Some((pair.first()?.to_string(), Value::from(pair.last()?.as_str()))));
    let object: Map<String, Value> = pairs.collect();
    Some(Value::from(object).to_string())
}
