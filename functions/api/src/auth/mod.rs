//! Authentication: every request of `/analytics` comes with an API key or a token, and counts towards its caller's
//! limit.
//!
//! What is presented is never logged and never part of an answer: only the id of a key, or the subject of a token,
//! names a caller.

mod jwks;
mod jwt;
mod keys;
mod limits;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tidemark_ledger::Call;

use self::jwt::Tokens;
use self::keys::KnownKeys;
use self::limits::Limits;
use crate::{Api, Caller, Options, Problem};

pub use keys::issue;
pub use limits::Lease;

/// Who may come in, and how often.
pub(crate) struct Auth {
    keys: KnownKeys,
    /// Without an issuer, none is taken.
    tokens: Option<Tokens>,
    limits: Limits,
    /// Requests of a caller without a limit of its own.
    per_minute: u32,
}

impl Auth {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            keys: KnownKeys::new(options.keys.clone()),
            tokens: options.tokens.clone().map(Tokens::new),
            limits: Limits::default(),
            per_minute: options.per_minute,
        }
    }

    /// Who asks, and how many requests a minute that caller has.
    async fn caller(&self, api: &Api, headers: &HeaderMap, call: Call) -> Result<(Caller, u32), Problem> {
        match presented(headers) {
            Some(Presented::Key(key)) => {
                let key = self.keys.verify(&api.ledger, key, call).await?;
                let per_minute = key.per_minute.unwrap_or(self.per_minute);
                Ok((Caller::new(format!("key:{}", key.id), key.scopes, key.apps), per_minute))
            }
            Some(Presented::Token(token)) => {
                let tokens = self.tokens.as_ref().ok_or_else(|| {
                    Problem::new(
                        StatusCode::UNAUTHORIZED,
                        "this deployment takes API keys alone, which begin with `tm_`",
                    )
                })?;
                Ok((tokens.verify(token, call.now_ms).await?, self.per_minute))
            }
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "an API key is needed, in `X-Api-Key` or as `Authorization: Bearer`",
            )),
        }
    }
}

/// Finds out who asks, or refuses.
pub(crate) async fn authenticate(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let call = api.call(request.extensions());
    let (caller, per_minute) = api.auth.caller(&api, request.headers(), call).await?;
    let quota = api.auth.limits.admit(&api.ledger, caller.id(), per_minute, call).await?;
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    // What one caller is shown is no answer for another, in any cache.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("authorization, x-api-key"));
    if let Some(quota) = quota {
        response.headers_mut().extend(quota.headers());
    }
    Ok(response)
}

/// What a request carries to say who asks.
enum Presented<'a> {
    Key(&'a str),
    Token(&'a str),
}

/// A header that is no ASCII holds no key that is known.
fn presented(headers: &HeaderMap) -> Option<Presented<'_>> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(Presented::Key(key.to_str().unwrap_or_default()));
    }
    let (scheme, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let bearer = Some(credentials.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    Some(if bearer.starts_with("tm_") { Presented::Key(bearer) } else { Presented::Token(bearer) })
}
