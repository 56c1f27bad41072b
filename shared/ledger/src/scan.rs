//! Scanning the tables for archives: pages of rows and of entities, each request repeated until it is answered.

use tidemark_model::Key;

use crate::{Call, Ledger, LedgerError, Metered, RowPage, Segment, StatePage, Store};

impl<S: Store> Ledger<S> {
    /// A page of a segment's rows after a key.
    ///
    /// # Errors
    /// If the request fails for good, or an item has no key.
    pub async fn scan_rows(
        &self,
        segment: Segment,
        after: Option<&Key>,
        call: Call,
    ) -> Result<Metered<RowPage>, LedgerError> {
        let requests = self.requests(call);
        let value = requests.send(|| self.store.rows(segment, after)).await?;
        Ok(Metered { value, units: requests.spent().units })
    }

    /// A page of a segment's entities after a key; it may be empty though more follow.
    ///
    /// # Errors
    /// If the request fails for good, or an entity cannot be read.
    pub async fn scan_states(
        &self,
        segment: Segment,
        after: Option<&Key>,
        call: Call,
    ) -> Result<Metered<StatePage>, LedgerError> {
        let requests = self.requests(call);
        let value = requests.send(|| self.store.states(segment, after)).await?;
        Ok(Metered { value, units: requests.spent().units })
    }
}
