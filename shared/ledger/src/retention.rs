//! How records are decoded right now: apps may have retentions of their own, which the store says.

use std::sync::{Mutex, PoisonError};

use tidemark_model::Settings;

use crate::{AppRetention, Call, Ledger, LedgerError, Metered, Store, Units};

/// How long retention settings are relied on, in ms.
const READ_EVERY_MS: i64 = 60_000;

/// Retention settings of apps, as last read.
#[derive(Debug, Default)]
pub struct Retentions(Mutex<Option<(i64, AppRetention)>>);

impl Retentions {
    /// The settings of a call: a deployment's, with the retentions of apps, which are read again every minute.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn settings<S: Store>(
        &self,
        ledger: &Ledger<S>,
        deployment: &Settings,
        call: Call,
    ) -> Result<Metered<Settings>, LedgerError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = known.filter(|(read_ms, _)| call.now_ms - read_ms < READ_EVERY_MS);
        let (apps, units) = match known {
            Some((_, apps)) => (apps, Units::default()),
            None => {
                let Metered { value, units } = ledger.send(|| ledger.store().read_retention(), call).await?;
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((call.now_ms, value.clone()));
                (value, units)
            }
        };
        Ok(Metered { value: apps.applied_to(deployment, call.now_ms), units })
    }
}
