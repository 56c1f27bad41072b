//! The keys of an issuer of tokens, as it publishes them (RFC 7517).

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tidemark_model::time::MINUTE_MS;
use tidemark_runtime::https;
use tokio::sync::Mutex;

use crate::Problem;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long published keys are taken as they were.
const KEPT_MS: i64 = 15 * MINUTE_MS;
/// How long after asking an unknown key is not asked for again: anybody can name one.
const UNKNOWN_PAUSE_MS: i64 = MINUTE_MS;
/// How long after asking an issuer that did not answer is left alone.
const FAILURE_PAUSE_MS: i64 = 5_000;
/// How long an issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer at most: an issuer has a handful of keys.
const LARGEST: usize = 1 << 20;

/// A key, and what it is for.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The keys at a URL.
pub(crate) struct Jwks {
    url: String,
    /// Made with the first token: who sends keys alone does not pay for it.
    connector: OnceLock<Connector>,
    /// One request at a time asks; the others wait for the answer.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Key>,
    /// When they were published like this.
    fetched_ms: Option<i64>,
    /// When they were asked for, answered or not.
    asked_ms: Option<i64>,
}

impl Jwks {
    pub(crate) fn new(url: String) -> Self {
        Self { url, connector: OnceLock::new(), known: Mutex::default() }
    }

    /// The key of an id, if the issuer has it.
    ///
    /// # Errors
    /// 503 if that cannot be found out now.
    pub(crate) async fn key(&self, id: &str, now_ms: i64) -> Result<Option<Key>, Problem> {
        let mut known = self.known.lock().await;
        let within = |since: Option<i64>, ms| since.is_some_and(|since| now_ms.saturating_sub(since) < ms);
        let is_fresh = within(known.fetched_ms, KEPT_MS);
        let key = known.keys.get(id).cloned();
        if is_fresh && (key.is_some() || within(known.asked_ms, UNKNOWN_PAUSE_MS)) {
            return Ok(key);
        }
        if !is_fresh && within(known.asked_ms, FAILURE_PAUSE_MS) {
            return Err(away());
        }
        known.asked_ms = Some(now_ms);
        let fetched = tokio::time::timeout(TIMEOUT, self.fetch()).await.unwrap_or_else(|error| Err(error.into()));
        let keys = fetched.map_err(|error| {
            tracing::error!(url = self.url, %error, "keys of the issuer of tokens cannot be fetched");
            away()
        })?;
        *known = Known { keys, fetched_ms: Some(now_ms), asked_ms: Some(now_ms) };
        Ok(known.keys.get(id).cloned())
    }

    async fn fetch(&self) -> Result<HashMap<String, Key>, BoxError> {
        let response = self.connector.get_or_init(https::connector).call(HttpRequest::get(&self.url)?).await?;
        if !response.status().is_success() {
            return Err(format!("answered with status {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await?.to_bytes();
        let published: Published = serde_json::from_slice(&body)?;
        // A key of a kind that is not known here is another's.
        let keys = published.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(keys.filter_map(|key| usable(&key)).collect())
    }
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// A key's id and the key, if tokens signed by it are taken: each kind of key for one algorithm, and none that is
/// a shared secret.
fn usable(published: &Jwk) -> Option<(String, Key)> {
    let algorithm = match &published.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let meant = published.common.key_algorithm.is_none_or(|meant| meant == KeyAlgorithm::from(algorithm));
    let key = DecodingKey::from_jwk(published).ok().filter(|_| meant)?;
    Some((published.common.key_id.clone()?, Key { algorithm, key }))
}

fn away() -> Problem {
    let detail = "the keys of the tokens' issuer cannot be had now; try again, or use an API key";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5)
}
