//! Where Kafka is and how it is spoken to, by environment variables.

use std::fmt;

use krafka::auth::{AuthConfig, AwsMskIamCredentials, TlsConfig};
use tidemark_runtime::ConfigError;
use tidemark_runtime::config::Source;

/// Kafka's own default of `max.message.bytes`.
const MAX_MESSAGE_BYTES: usize = 1_048_588;

/// The brokers and the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `KAFKA_BOOTSTRAP_SERVERS`: `host:port` pairs with commas between them.
    pub bootstrap_servers: String,
    /// `KAFKA_AUTH`: `none` (default), `iam` or `scram`.
    pub auth: Auth,
    /// `KAFKA_TLS`: by default where there is something to authenticate with; always with `iam`. Certificates are
    /// checked against the public authorities.
    pub tls: bool,
    /// `KAFKA_MAX_MESSAGE_BYTES`: the largest batch, in bytes; no more than either topic's `max.message.bytes`, since
    /// what a broker finds too large is sent again in halves, of which one may fail.
    pub max_message_bytes: usize,
    /// `EVENTS_TOPIC`: where events go.
    pub events_topic: String,
    /// `METRICS_TOPIC`: where metrics go.
    pub metrics_topic: String,
}

/// Who the function is to the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody in particular.
    None,
    /// Its role, as Lambda's environment has it (Amazon MSK).
    Iam,
    /// A user, by SCRAM-SHA-512.
    Scram {
        /// `KAFKA_USERNAME`.
        username: String,
        /// `KAFKA_PASSWORD`.
        password: Password,
    },
}

/// A password, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl KafkaConfig {
    /// Reads variables from anywhere; `None` without `KAFKA_BOOTSTRAP_SERVERS`: a deployment needs no Kafka.
    ///
    /// # Errors
    /// Naming the first variable that is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let source = Source(&variable);
        let named = |name, default: &str| {
            variable(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let bootstrap_servers = named("KAFKA_BOOTSTRAP_SERVERS", "");
        if bootstrap_servers.is_empty() {
            return Ok(None);
        }
        if !bootstrap_servers.split(',').all(is_server) {
            return Err(ConfigError::Invalid {
                name: "KAFKA_BOOTSTRAP_SERVERS",
                value: bootstrap_servers,
                takes: "host:port pairs with commas between them",
            });
        }
        let auth = match named("KAFKA_AUTH", "none").as_str() {
            "none" => Auth::None,
            "iam" => Auth::Iam,
            "scram" => Auth::Scram {
                username: source.required("KAFKA_USERNAME")?,
                password: Password(source.required("KAFKA_PASSWORD")?),
            },
            other => {
                return Err(ConfigError::Invalid {
                    name: "KAFKA_AUTH",
                    value: other.to_owned(),
                    takes: "none, iam or scram",
                });
            }
        };
        let tls = source.flag("KAFKA_TLS", auth != Auth::None)?;
        if auth == Auth::Iam && !tls {
            return Err(ConfigError::Invalid {
                name: "KAFKA_TLS",
                value: tls.to_string(),
                takes: "true where KAFKA_AUTH is iam",
            });
        }
        Ok(Some(Self {
            bootstrap_servers,
            auth,
            tls,
            max_message_bytes: source.within(
                "KAFKA_MAX_MESSAGE_BYTES",
                MAX_MESSAGE_BYTES,
                1_024,
                8 << 20,
                "bytes from 1024 to 8388608",
            )?,
            events_topic: named("EVENTS_TOPIC", "analytics.events"),
            metrics_topic: named("METRICS_TOPIC", "analytics.metrics"),
        }))
    }

    /// As the client takes it. A role's credentials are read with each new connection.
    pub(super) fn security(&self) -> AuthConfig {
        let auth = match &self.auth {
            Auth::None => AuthConfig::plaintext(),
            Auth::Iam => AuthConfig::aws_msk_iam_provider(|| async { AwsMskIamCredentials::from_env() }),
            Auth::Scram { username, password } => AuthConfig::sasl_scram_sha512(username, &password.0),
        };
        if self.tls { auth.with_tls(TlsConfig::new()) } else { auth }
    }
}

fn is_server(pair: &str) -> bool {
    pair.trim().rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
