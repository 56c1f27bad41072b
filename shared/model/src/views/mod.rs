//! Views: pure functions from an entity's state to the rows it adds to. One line per view.
//!
//! The effect of a change is `rows(after) - rows(before)`, so a view says nothing of updates,
//! deletes or moves: they need no code of their own.

pub mod category;
pub mod low_stock;
pub mod rejects;
pub mod seller;

use serde_json::value::RawValue;

use crate::rows::{Contribution, Measures};
use crate::{Key, State};

/// Every view there is.
pub const VIEWS: &[View] = &[seller::VIEW, category::VIEW, low_stock::VIEW];

/// The sort key of rows that hold a current total.
pub const CURRENT: &str = "METRICS#CURRENT";

/// One view.
pub struct View {
    /// Its name in documents and archives.
    pub name: &'static str,
    /// The rows a state adds to.
    pub rows: fn(&State, &mut Contribution),
    /// The board that the view keeps, if it lists states.
    pub board: Option<Board>,
    /// The whole view as a JSON document, money as exact decimal numbers.
    pub document: fn(&Tables) -> serde_json::Result<Box<RawValue>>,
}

/// A list of states in a sparse index: the ones that have a rank on it.
#[derive(Clone, Copy)]
pub struct Board {
    /// Its name, attribute `board`.
    pub name: &'static str,
    /// A state's place on it, attribute `rank`; `None` keeps it off.
    pub rank: fn(&State) -> Option<i64>,
}

/// The board that lists a state, and its rank there.
pub fn listed(state: &State) -> Option<(&'static str, i64)> {
    VIEWS.iter().filter_map(|view| view.board).find_map(|board| Some((board.name, (board.rank)(state)?)))
}

/// What the tables hold, as read back: every row, and every listed state in the order of its board.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The rows of all views, in the order of their keys.
    pub rows: Vec<(Key, Measures)>,
    /// The listed states.
    pub listed: Vec<State>,
}
