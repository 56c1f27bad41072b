//! Authentication: every request of `/analytics` comes with an API key.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::{ApiKey, Apps, Scope};

use crate::{Api, Caller, Problem, Secret};

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

/// Finds out who asks, or refuses.
pub(crate) async fn authenticate(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let call = api.call(request.extensions());
    let caller = caller(&api, request.headers(), call).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn caller(api: &Api, headers: &HeaderMap, call: Call) -> Result<Caller, Problem> {
    let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "the API key is not known; check it, or ask for a new one");
    let presented = presented(headers).ok_or_else(|| {
        Problem::new(StatusCode::UNAUTHORIZED, "an API key is needed, in `X-Api-Key` or as `Authorization: Bearer`")
    })?;
    let (id, secret) = ApiKey::split(presented).ok_or_else(unknown)?;
    let key = api.ledger.send(|| api.ledger.store().api_key(id), call).await?.value;
    let key = key.filter(|key| api.keys.is_hash(&[id.as_bytes(), secret.as_bytes()], &key.hash));
    let key = key.filter(|key| key.is_valid(call.now_ms)).ok_or_else(unknown)?;
    Ok(Caller::new(format!("key:{}", key.id), key.scopes, key.apps))
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    headers.get("x-api-key").and_then(|key| key.to_str().ok()).or_else(bearer)
}
