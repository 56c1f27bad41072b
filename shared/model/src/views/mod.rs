//! Views: pure functions from an entity's state to the rows it adds to. One line per view.
//!
//! The effect of a change is `rows(after) - rows(before)`, so a view says nothing of updates,
//! deletes or moves: they need no code of their own.

pub mod activity;
pub mod category;
pub mod customers;
pub mod daily_sales;
pub mod event_totals;
pub mod low_stock;
pub mod metrics;
pub mod order_status;
pub mod product_sales;
pub mod rejects;
pub mod seller;
pub mod series;
pub mod summary;

use serde_json::value::RawValue;

use crate::rows::{Contribution, Measures};
use crate::{Decimal, Key, State};

/// Every view there is.
pub const VIEWS: &[View] = &[
    seller::VIEW,
    category::VIEW,
    low_stock::VIEW,
    daily_sales::VIEW,
    product_sales::VIEW,
    customers::VIEW,
    order_status::VIEW,
    summary::VIEW,
    activity::VIEW,
    event_totals::VIEW,
    metrics::VIEW,
    series::VIEW,
    rejects::VIEW,
];

/// The sort key of rows that hold a current total.
pub const CURRENT: &str = "METRICS#CURRENT";

const ONE: Decimal = Decimal::whole(1);

/// One view.
pub struct View {
    /// Its name in documents and archives.
    pub name: &'static str,
    /// The kind of its rows: the first part of their partition keys.
    pub kind: &'static str,
    /// The rows a state adds to.
    pub rows: fn(&State, &mut Contribution),
    /// What its rows can be recomputed from.
    pub source: Source,
    /// The board that the view keeps, if it lists states.
    pub board: Option<Board>,
    /// How the view's rows compete, if they do.
    pub ranking: Option<Ranking>,
    /// What its rows say, as columns of a table for analysts.
    pub columns: &'static [Column],
    /// The whole view as a JSON document, money as exact decimal numbers.
    pub document: fn(&Tables) -> serde_json::Result<Box<RawValue>>,
}

/// What a view's rows can be recomputed from, when they are audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Entities that stay, or stay as long as their window's row.
    Entities,
    /// The same; but these numbers count tombstones, which may be forgotten before the row.
    Tombstones(&'static [&'static str]),
    /// Entities that are forgotten before the row: those that are left add up to less.
    Forgotten,
    /// The stream alone: points are in the rows, too, and leave nothing else behind.
    Points,
}

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

/// A list of states in a sparse index: the ones that have a rank on it.
#[derive(Clone, Copy)]
pub struct Board {
    /// Its name, attribute `board`.
    pub name: &'static str,
    /// A state's place on it, attribute `rank`; `None` keeps it off.
    pub rank: fn(&State) -> Option<i64>,
}

/// A competition of rows in a sparse index: those that can reach the top have a rank in it. And a
/// count of all rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// Its name, attribute `board`.
    pub board: &'static str,
    /// The rows that compete: those of current totals under this kind.
    pub kind: &'static str,
    /// The number that ranks them, attribute `rank`.
    pub by: &'static str,
    /// A row is there while this number is above zero.
    pub present: &'static str,
    /// The kind of the current total, and the number in it, that counts the rows that are there.
    pub tally: (&'static str, &'static str),
}

impl Ranking {
    /// The row that counts the rows that are there.
    pub fn tally_row(&self) -> Key {
        Key::fixed(self.tally.0, CURRENT)
    }

    /// Whether a row with these numbers is there at all.
    pub fn is_present(&self, row: &Measures) -> bool {
        row.get(self.present) > Decimal::ZERO
    }
}

/// The board that lists a state, and its rank there.
pub fn listed(state: &State) -> Option<(&'static str, i64)> {
    VIEWS.iter().filter_map(|view| view.board).find_map(|board| Some((board.name, (board.rank)(state)?)))
}

/// Every ranking there is.
pub fn rankings() -> impl Iterator<Item = &'static Ranking> {
    VIEWS.iter().filter_map(|view| view.ranking.as_ref())
}

/// The view that a row belongs to; `None` for one of a view that this release does not have.
pub fn view_of(row: &Key) -> Option<&'static View> {
    VIEWS.iter().find(|view| row.is_of(view.kind))
}

/// The ranking that a row competes in.
pub fn ranking_of(row: &Key) -> Option<&'static Ranking> {
    rankings().find(|ranking| row.is_of(ranking.kind) && row.sk == CURRENT)
}

/// The directory that lists a row: its kind, if it is one of many current totals.
pub fn directory_of(row: &Key) -> Option<&str> {
    row.pk.split_once('#').map(|(kind, _)| kind).filter(|_| row.sk == CURRENT)
}

/// What the tables hold, as read back: every row, and every listed state in the order of its board.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The rows of all views, in the order of their keys.
    pub rows: Vec<(Key, Measures)>,
    /// The listed states.
    pub listed: Vec<State>,
}

impl Tables {
    /// The rows of a kind.
    pub fn of(&self, kind: &'static str) -> impl Iterator<Item = &(Key, Measures)> {
        self.rows.iter().filter(move |(key, _)| key.is_of(kind))
    }
}
