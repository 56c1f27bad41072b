//! Erasure: nothing that names a person stays in a state, and no count moves. What stands there instead is a
//! digest: whoever knows the person's id can compute it, so what remains is pseudonymous, not anonymous.
//!
//! An erasure is a change like any other, of the state that was looked at. A state that is another one by then
//! has to be looked at again, and one that was forgotten must not come back to be counted twice.

use compact_str::CompactString;

use crate::views::customers;
use crate::{Change, Key, Known, State, Version};

/// Who is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// A user of an app: their events.
    User {
        /// The app, or the service.
        app: CompactString,
        /// The user's id.
        user: CompactString,
    },
    /// A customer of the shop: their orders.
    Customer {
        /// The customer's id.
        id: CompactString,
    },
}

impl Person {
    /// Whether a state names the person. That of another whose digest is the same does not.
    pub fn is_named_in(&self, state: &State) -> bool {
        match (self, state) {
            (Self::User { app, user }, State::Event(event)) => {
                !event.erased && event.app == *app && event.user == *user
            }
            (Self::Customer { id }, State::Order(order)) => order.customer.value.as_ref() == Some(id),
            _ => false,
        }
    }

    /// The row whose key holds the person's id, if there is such a one: it is empty when they are erased.
    pub fn row(&self) -> Option<Key> {
        match self {
            Self::User { .. } => None,
            Self::Customer { id } => Some(customers::row(id)),
        }
    }

    /// The change that takes the person out of a state, if it names them.
    ///
    /// No later telling of an event counts. An order's newer records do: the database still knows whose it is,
    /// and only there can that end.
    pub fn erased(&self, key: &Key, known: &Known) -> Option<Change> {
        if !self.is_named_in(&known.state) {
            return None;
        }
        let (version, state) = match &known.state {
            State::Event(event) => (Version::LAST, State::Event(Box::new(event.erased()))),
            State::Order(order) => (known.version.next(), State::Order(Box::new(order.erased()))),
            _ => return None,
        };
        let told_by = Some(Box::new((key.clone(), known.version)));
        Some(Change { key: key.clone(), version, state, claimed: None, told_by })
    }
}
