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
    pub rows: fn(&State, &mut Contribution<'_>),
    /// The board that lists a state, and its rank there, if the view keeps a list of states.
    pub listed: Option<fn(&State) -> Option<Listed>>,
    /// The whole view as a JSON document, money as exact decimal numbers.
    pub document: fn(&Tables) -> serde_json::Result<Box<RawValue>>,
}

/// A place on a board: the sparse index that lists states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The board's name, attribute `board`.
    pub board: &'static str,
    /// The order on it, attribute `rank`.
    pub rank: i64,
}

/// Where a state is listed.
pub fn listed(state: &State) -> Option<Listed> {
    VIEWS.iter().find_map(|view| view.listed?(state))
}

/// What the tables hold, as read back: every row, and every listed state in the order of its board.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The rows of all views, in the order of their keys.
    pub rows: Vec<(Key, Measures)>,
    /// The listed states.
    pub listed: Vec<State>,
}
