//! API keys: made here, and known again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use tidemark_ledger::dynamo::{ApiKey, Apps, DynamoStore, Scope};
use tidemark_ledger::{Call, Ledger, LedgerError};

use crate::{Problem, Secret};

/// How long a key is taken as it was read, in ms. So long may live what was revoked.
const KEPT_MS: i64 = 60_000;
/// Keys that an instance remembers.
const MOST: usize = 10_000;

/// Makes a key; what its holder must know, which is nowhere else, and what is stored.
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn issue(
    keys: &Secret,
    name: &str,
    scopes: BTreeSet<Scope>,
    apps: Apps,
    now_ms: i64,
) -> Result<(String, ApiKey), getrandom::Error> {
    let (id, secret) = (random::<6>()?, random::<24>()?);
    let hash = keys.hash(&[id.as_bytes(), secret.as_bytes()]).to_vec();
    let text = ApiKey::text(&id, &secret);
    let (name, created_ms) = (name.to_owned(), now_ms);
    Ok((text, ApiKey { id, hash, name, scopes, apps, created_ms, expires_ms: None, per_minute: None }))
}

/// So many random bytes, in hexadecimal.
fn random<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The keys of those who have asked: each is read at most once a minute. What is no key is not remembered, so that
/// nobody fills the memory with inventions, and a new key is good at once.
pub(crate) struct KnownKeys {
    secret: Secret,
    /// By id; when each was read.
    read: Mutex<HashMap<String, (i64, ApiKey)>>,
}

impl KnownKeys {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { secret, read: Mutex::default() }
    }

    /// The stored key of which this is the text.
    ///
    /// # Errors
    /// 401 if there is none, or it has ended; 503 if the store does not answer.
    pub(crate) async fn verify(&self, ledger: &Ledger<DynamoStore>, text: &str, call: Call) -> Result<ApiKey, Problem> {
        let unknown =
            || Problem::new(StatusCode::UNAUTHORIZED, "the API key is not known; check it, or ask for a new one");
        let (id, secret) = ApiKey::split(text).ok_or_else(unknown)?;
        let key = match self.remembered(id, call.now_ms) {
            Some(key) => Some(key),
            None => self.read(ledger, id, call).await?,
        };
        let key = key.filter(|key| self.secret.is_hash(&[id.as_bytes(), secret.as_bytes()], &key.hash));
        key.filter(|key| key.is_valid(call.now_ms)).ok_or_else(unknown)
    }

    async fn read(&self, ledger: &Ledger<DynamoStore>, id: &str, call: Call) -> Result<Option<ApiKey>, LedgerError> {
        let key = ledger.send(|| ledger.store().api_key(id), call).await?.value;
        if let Some(key) = &key {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.len() >= MOST {
                read.clear();
            }
            read.insert(id.to_owned(), (call.now_ms, key.clone()));
        }
        Ok(key)
    }

    fn remembered(&self, id: &str, now_ms: i64) -> Option<ApiKey> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_ms, key) = read.get(id)?;
        (0..KEPT_MS).contains(&now_ms.saturating_sub(*read_ms)).then(|| key.clone())
    }
}
