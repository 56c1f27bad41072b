//! SDK clients, built once at cold start.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use tidemark_ledger::Retry;

/// One attempt of a request: DynamoDB answers in milliseconds, so this is an outage, not a wait.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
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
    /// Clients from the standard AWS environment variables, `AWS_ENDPOINT_URL_DYNAMODB` and
    /// `AWS_ENDPOINT_URL_S3` included.
    pub async fn from_env(retry: &Retry) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
        Self::new(&config, &config, retry)
    }

    /// Clients from a configuration of each service.
    pub fn new(dynamodb: &SdkConfig, s3: &SdkConfig, retry: &Retry) -> Self {
        let timeouts = |attempt| {
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
        };
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(dynamodb)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(ATTEMPT_TIMEOUT))
            .build();
        let attempts = u32::try_from(retry.max_attempts).unwrap_or(u32::MAX);
        let path_style = s3.endpoint_url().is_some() || has_own_endpoint();
        let s3 = aws_sdk_s3::config::Builder::from(s3)
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
        Self { dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb), s3: aws_sdk_s3::Client::from_conf(s3) }
    }
}

fn has_own_endpoint() -> bool {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some())
}
