//! Tokens of an identity provider: JSON Web Tokens, signed by one of its keys.
//!
//! The gateway may have checked a token already; it is checked here again, so that the function depends on nobody.

use http::StatusCode;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use tidemark_ledger::dynamo::{Apps, Scope};

use super::jwks::{Jwks, Key};
use crate::options::TokenOptions;
use crate::{Caller, Problem};

/// How far the issuer's clock may be from ours, in s.
const LEEWAY_S: u64 = 60;
/// Characters of a subject at most, as OpenID Connect has it: it is part of an item's key.
const LONGEST_SUBJECT: usize = 255;

/// What takes tokens.
pub(crate) struct Tokens {
    options: TokenOptions,
    keys: Jwks,
}

impl Tokens {
    pub(crate) fn new(options: TokenOptions) -> Self {
        Self { keys: Jwks::new(options.jwks_url.clone()), options }
    }

    /// Whom a token is for.
    ///
    /// # Errors
    /// 401 if it is not good, with what to do; 503 if the issuer's keys cannot be had.
    pub(crate) async fn verify(&self, token: &str, now_ms: i64) -> Result<Caller, Problem> {
        let header = decode_header(token).map_err(|error| refused(reason(error.kind())))?;
        let id = header.kid.ok_or_else(|| refused("it does not say by which key it is signed (`kid`)"))?;
        let Some(Key { algorithm, key }) = self.keys.key(&id, now_ms).await? else {
            return Err(refused("it is signed by a key that is none of the issuer's; get a new one"));
        };
        // The key says how it is used; what the token says of that must be the same.
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_audience(&[&self.options.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_S;
        let claims = decode::<Map<String, Value>>(token, &key, &validation);
        self.caller(claims.map_err(|error| refused(reason(error.kind())))?.claims)
    }

    fn caller(&self, claims: Map<String, Value>) -> Result<Caller, Problem> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if !(1..=LONGEST_SUBJECT).contains(&subject.chars().count()) {
            return Err(refused("its subject (`sub`) is not a text of 1 to 255 characters"));
        }
        let named = ["scope", "scp", "scopes"].iter().filter_map(|name| claims.get(*name)).flat_map(words);
        let scopes = named.filter_map(Scope::named).collect();
        let apps = match claims.get(&self.options.apps_claim) {
            Some(Value::String(all)) if all == "*" => Apps::All,
            Some(Value::Array(apps)) => Apps::Of(apps.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => Apps::Of([].into()),
        };
        Ok(Caller::new(format!("jwt:{}|{subject}", self.options.issuer), scopes, apps))
    }
}

/// Scopes, as issuers differ in writing them: with spaces between them, or as an array.
fn words(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(words) => words.split_ascii_whitespace().collect(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn refused(reason: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, format!("the token is not taken: {reason}"))
}

/// Why, in words that hold nothing of the token.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired; get a new one",
        ErrorKind::ImmatureSignature => "it is not good yet (`nbf`)",
        ErrorKind::InvalidIssuer => "it is of another issuer (`iss`)",
        ErrorKind::InvalidAudience => "it is for another audience (`aud`)",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "it is signed in another way than its key is for; RS256, ES256 and EdDSA are taken"
        }
        ErrorKind::MissingRequiredClaim(_) => "`iss`, `aud`, `exp` and `sub` are needed, and one is missing",
        _ => "it is no JSON Web Token, or what it claims cannot be read",
    }
}
