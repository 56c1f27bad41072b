//! SDK clients, built once at cold start.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use tidemark_ledger::Retry;

use crate::https;

/// One attempt of a request: DynamoDB answers in milliseconds, so this is an outage, not a wait.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Objects are larger than items.
const S3_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The clients of a function.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Without retries of its own: the ledger retries, counts and keeps the deadline.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// With the configured retries.
    pub s3: aws_sdk_s3::Client,
}

impl Clients {
    /// Clients by [`environment`].
    pub async fn from_env(retry: &Retry) -> Self {
        let config = environment().await;
        Self::new(&config, &config, retry)
    }

    /// Clients from a configuration of each service.
    pub fn new(dynamodb: &SdkConfig, s3: &SdkConfig, retry: &Retry) -> Self {
        Self { dynamodb: self::dynamodb(dynamodb), s3: self::s3(s3, retry) }
    }
}

/// The configuration by the standard AWS environment variables, `AWS_ENDPOINT_URL_DYNAMODB` and
/// `AWS_ENDPOINT_URL_S3` included.
pub async fn environment() -> SdkConfig {
    let loader = loader();
    // Lambda gives a function its credentials like this. The chain of all other sources is built only without them.
    let given = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        .iter()
        .all(|name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty()));
    let loader =
        if given { loader.credentials_provider(EnvironmentVariableCredentialsProvider::new()) } else { loader };
    loader.load().await
}

/// What loads the SDK's configuration, with the HTTP client that all its clients share.
pub fn loader() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest()).http_client(https::client())
}

/// A client of DynamoDB. A function that needs no other links no other.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(ATTEMPT_TIMEOUT))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

fn s3(config: &SdkConfig, retry: &Retry) -> aws_sdk_s3::Client {
    let attempts = u32::try_from(retry.max_attempts).unwrap_or(u32::MAX);
    let path_style = config.endpoint_url().is_some() || has_own_endpoint();
    let config = aws_sdk_s3::config::Builder::from(config)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(attempts)
                .with_initial_backoff(retry.initial)
                .with_max_backoff(retry.cap),
        )
        .timeout_config(timeouts(S3_ATTEMPT_TIMEOUT))
        // A bucket's name is a host name only at AWS.
        .force_path_style(path_style)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(https::CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}

fn has_own_endpoint() -> bool {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some())
}
