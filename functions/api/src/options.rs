//! How the function answers: configuration by environment variables.

use std::net::IpAddr;

use http::{HeaderValue, Uri};
use tidemark_runtime::ConfigError;

use crate::producer::KafkaConfig;
use crate::secret::{LEAST, Secret};

/// What a deployment can set for its API. The README's table names each variable.
#[derive(Clone, Debug)]
pub struct Options {
    /// `API_SECRET`: what hashes API keys.
    pub keys: Secret,
    /// `API_SECRET`: what signs cursors.
    pub cursors: Secret,
    /// `KAFKA_*`, `EVENTS_TOPIC`, `METRICS_TOPIC`: where requests go that say `async`, if anywhere.
    pub kafka: Option<KafkaConfig>,
    /// `RATE_LIMIT_PER_MINUTE`: requests of a caller, unless its key says otherwise; 0 for no limit.
    pub per_minute: u32,
    /// `ALLOWED_ORIGINS`: whose pages may ask from a browser.
    pub origins: Vec<HeaderValue>,
    /// `JWT_ISSUER`, without which no tokens are taken, and the other `JWT_*`.
    pub tokens: Option<TokenOptions>,
}

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// `JWT_ISSUER`: who makes them, as they say it.
    pub issuer: String,
    /// `JWT_AUDIENCE`: whom they are for.
    pub audience: String,
    /// `JWT_APPS_CLAIM`: where they say the apps that a caller is bound to.
    pub apps_claim: String,
    /// `JWT_JWKS_URL`: where the issuer publishes its keys.
    pub jwks_url: String,
}

/// A variable that is missing or cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The secret is missing or could be guessed.
    #[error("environment variable API_SECRET takes at least {LEAST} characters that nobody can guess")]
    Secret,
    /// Another.
    #[error(transparent)]
    Variable(#[from] ConfigError),
}

impl Options {
    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// Naming the first variable that is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let secret = variable("API_SECRET").unwrap_or_default();
        Ok(Self {
            keys: Secret::of_keys(&secret).ok_or(OptionsError::Secret)?,
            cursors: Secret::derive(&secret, "cursors").ok_or(OptionsError::Secret)?,
            per_minute: variable("RATE_LIMIT_PER_MINUTE").map_or(Ok(600), |value| {
                let invalid = |value| invalid("RATE_LIMIT_PER_MINUTE", value, "a number from 0 to 1000000");
                value.parse().ok().filter(|requests| *requests <= 1_000_000).ok_or_else(|| invalid(value))
            })?,
            origins: variable("ALLOWED_ORIGINS")
                .iter()
                .flat_map(|origins| origins.split(','))
                .map(|text| origin(text.trim()))
                .collect::<Result<_, _>>()?,
            kafka: KafkaConfig::read(variable)?,
            tokens: variable("JWT_ISSUER").map(|issuer| tokens(issuer, variable)).transpose()?,
        })
    }
}

fn tokens(issuer: String, variable: impl Fn(&str) -> Option<String>) -> Result<TokenOptions, ConfigError> {
    let published = || format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'));
    let jwks_url = variable("JWT_JWKS_URL").unwrap_or_else(published);
    if !is_confidential(&jwks_url) {
        return Err(invalid("JWT_JWKS_URL", jwks_url, "a URL of https (or of http on this machine)"));
    }
    Ok(TokenOptions {
        audience: variable("JWT_AUDIENCE").ok_or(ConfigError::Missing("JWT_AUDIENCE"))?,
        apps_claim: variable("JWT_APPS_CLAIM").unwrap_or_else(|| "apps".to_owned()),
        issuer,
        jwks_url,
    })
}

/// Whether nobody can change what comes from a URL: by https, or without leaving this machine.
fn is_confidential(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = || host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match url.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback(),
        _ => false,
    }
}

/// An origin as browsers send it: scheme, host and port.
fn origin(text: &str) -> Result<HeaderValue, ConfigError> {
    let takes = "origins such as https://app.example.com with commas between them, and no `*`";
    let is_origin = text.parse::<Uri>().is_ok_and(|url| {
        let scheme = url.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        scheme.zip(url.authority()).is_some_and(|(scheme, host)| text == format!("{scheme}://{host}"))
    });
    let value = HeaderValue::from_str(text).ok().filter(|_| is_origin && !text.contains('*'));
    value.ok_or_else(|| invalid("ALLOWED_ORIGINS", text.to_owned(), takes))
}

fn invalid(name: &'static str, value: String, takes: &'static str) -> ConfigError {
    ConfigError::Invalid { name, value, takes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Options, OptionsError> {
        let secret = "a secret of more than enough characters";
        Options::read(|name| {
            let found = set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "API_SECRET").then(|| secret.to_owned()))
        })
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let options = read(&[]).unwrap();
        assert_eq!((options.per_minute, options.origins.len(), options.tokens), (600, 0, None));
        let tokens = read(&[("JWT_ISSUER", "https://id.example/"), ("JWT_AUDIENCE", "tidemark")]).unwrap().tokens;
        let tokens = tokens.unwrap();
        assert_eq!((tokens.apps_claim.as_str(), tokens.issuer.as_str()), ("apps", "https://id.example/"));
        assert_eq!(tokens.jwks_url, "https://id.example/.well-known/jwks.json");
    }

    #[test]
    fn what_would_not_be_safe_is_refused_at_the_start() {
        let issuer = [("JWT_ISSUER", "https://id.example"), ("JWT_AUDIENCE", "tidemark")];
        assert_eq!(read(&[("API_SECRET", "short")]).unwrap_err(), OptionsError::Secret);
        assert_eq!(read(&issuer[..1]).unwrap_err(), OptionsError::from(ConfigError::Missing("JWT_AUDIENCE")));
        for url in ["http://127.0.0.1:8/jwks", "http://[::1]/", "http://localhost/", "https://id.example/keys?a=b"] {
            assert!(read(&[&issuer[..], &[("JWT_JWKS_URL", url)]].concat()).is_ok(), "{url}");
        }
        for url in ["http://id.example/", "http://127.0.0.1.id.example/", "file:///keys", "keys", "https://"] {
            assert!(read(&[&issuer[..], &[("JWT_JWKS_URL", url)]].concat()).is_err(), "{url}");
        }
        assert!(read(&[("ALLOWED_ORIGINS", "https://a.example, http://localhost:3000")]).is_ok());
        for origin in ["*", "https://*.example", "https://a.example/", "null", "a.example", "https://a.example,,"] {
            assert!(read(&[("ALLOWED_ORIGINS", origin)]).is_err(), "{origin}");
        }
        for number in ["-1", "1000001", "many"] {
            assert!(read(&[("RATE_LIMIT_PER_MINUTE", number)]).is_err(), "{number}");
        }
    }
}
