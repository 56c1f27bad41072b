//! Erasing a person, by ordinary commits on lanes of its own. Dying half-way is harmless: a repetition goes on.

use std::sync::Arc;

use serde::Serialize;
use tidemark_model::activity::timeline;
use tidemark_model::erasure::Person;
use tidemark_model::views::ranking_of;
use tidemark_model::{Batch, Change, Key};
use tokio::time::sleep;

use crate::requests::Requests;
use crate::{Call, Ledger, LedgerError, Segment, StatePage, Store};

/// What an erasure did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// Events or orders that named the person at the first look.
    pub found: usize,
    /// Events or orders from which the person was taken.
    pub erased: usize,
    /// Those that still named the person at the last look.
    pub left: usize,
    /// Looks at the table.
    pub looks: usize,
}

/// Looks at the table at most, while invocations change what names the person.
const MOST_LOOKS: usize = 10;
/// Changes of one commit at most.
const MOST_CHANGES: usize = 1_000;

impl<S: Store> Ledger<S> {
    /// Takes a person out of every state that names them, until a look finds none; a dry run looks once. What
    /// records say of the person from then on counts as of anybody else.
    ///
    /// # Errors
    /// If a request fails, or the deadline comes: what was erased by then stays so.
    pub async fn erase(&self, person: &Person, dry_run: bool, call: Call) -> Result<Erased, LedgerError> {
        let requests = self.requests(call);
        let mut outcome = Erased::default();
        loop {
            if !dry_run {
                // What a pending plan says of the person would come after the last look.
                self.sweep(i64::MAX, call).await?;
            }
            let erased_before = outcome.erased;
            outcome.left = self.erase_once(person, dry_run, call, &requests, &mut outcome.erased).await?;
            outcome.looks += 1;
            if outcome.looks == 1 {
                outcome.found = outcome.left;
            }
            if !dry_run && outcome.left == 0 {
                self.expire_row_of(person, call, &requests).await?;
            }
            if dry_run || outcome.left == 0 || outcome.looks == MOST_LOOKS {
                tracing::info!(
                    found = outcome.found,
                    erased = outcome.erased,
                    left = outcome.left,
                    "person was erased"
                );
                return Ok(outcome);
            }
            if outcome.erased == erased_before {
                // What changed since the look may not be seen by the first read of a commit.
                sleep(self.options.retry.initial).await;
            }
        }
    }

    /// One look, and the commits that it comes to; how many states named the person.
    async fn erase_once(
        &self,
        person: &Person,
        dry_run: bool,
        call: Call,
        requests: &Requests,
        erased: &mut usize,
    ) -> Result<usize, LedgerError> {
        let (mut found, mut changes, mut after) = (0, Vec::new(), None);
        loop {
            let (page, next) = self.traces(person, after.as_ref(), requests).await?;
            let named = changes.len();
            changes.extend(page.iter().filter_map(|(key, known)| person.erased(key, known)));
            found += changes.len() - named;
            after = next;
            if dry_run {
                changes.clear();
            }
            while changes.len() >= MOST_CHANGES || (after.is_none() && !changes.is_empty()) {
                let rest = changes.split_off(changes.len().min(MOST_CHANGES));
                let batch = Arc::new(batch(person, std::mem::replace(&mut changes, rest)));
                let (receipt, committed) = self.commit(&batch, call).await;
                *erased += receipt.entities;
                committed?;
            }
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Lets a row that has the person's id in its key be forgotten, as late as a plan written now.
    async fn expire_row_of(&self, person: &Person, call: Call, requests: &Requests) -> Result<(), LedgerError> {
        let Some((row, ranking)) = person.row().and_then(|row| ranking_of(&row).map(|ranking| (row, ranking))) else {
            return Ok(());
        };
        let expires_s = self.options.plan_expires_s(call.now_ms);
        requests.send(|| self.store.expire_row(&row, ranking, expires_s)).await.map(|_| ())
    }

    /// Some of the entities that may name the person, strongly consistent, and the key to go on after. A user's
    /// events are one partition; a customer's orders can be anywhere.
    async fn traces(
        &self,
        person: &Person,
        after: Option<&Key>,
        requests: &Requests,
    ) -> Result<StatePage, LedgerError> {
        if let Person::User { app, user } = person {
            let timeline = timeline(app, user);
            return requests.send(|| self.store.timeline(&timeline, after)).await;
        }
        requests.send(|| self.store.states(Segment::WHOLE, after)).await
    }
}

/// Changes as a batch of a lane that has no records.
fn batch(person: &Person, changes: Vec<Change>) -> Batch {
    let topic = match person {
        Person::User { .. } => "users",
        Person::Customer { .. } => "customers",
    };
    Batch::of_changes("erasure", topic, changes)
}
