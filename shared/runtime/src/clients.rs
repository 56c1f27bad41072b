//! SDK clients, built once at cold start.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
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
    pub fn from_env(retry: &Retry) -> Self {
        let config = environment();
        Self::new(&config, &config, retry)
    }

    /// Clients from a configuration of each service.
    pub fn new(dynamodb: &SdkConfig, s3: &SdkConfig, retry: &Retry) -> Self {
        Self { dynamodb: self::dynamodb(dynamodb), s3: self::s3(s3, retry) }
    }
}

/// The configuration by the environment variables that Lambda sets, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_DYNAMODB`,
/// `AWS_ENDPOINT_URL_S3`, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`, `AWS_REQUEST_CHECKSUM_CALCULATION` and
/// `AWS_RESPONSE_CHECKSUM_VALIDATION`.
///
/// Profiles and the chain of all other sources of credentials are not linked: no function has them.
pub fn environment() -> SdkConfig {
    let is_true = |name| variable(name).map(|value| value.trim().eq_ignore_ascii_case("true"));
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    if region.is_none() {
        tracing::error!(
            "AWS_REGION is not set: no request can be signed; Lambda sets it, and so does events/local.env"
        );
    }
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(https::client())
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .region(region.map(Region::new))
        .service_config(OfService);
    config.set_request_checksum_calculation(
        variable("AWS_REQUEST_CHECKSUM_CALCULATION").and_then(|text| text.parse().ok()),
    );
    config.set_response_checksum_validation(
        variable("AWS_RESPONSE_CHECKSUM_VALIDATION").and_then(|text| text.parse().ok()),
    );
    config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    config.build()
}

/// What variables say of one service, or else of all.
#[derive(Debug)]
struct OfService;

impl LoadServiceConfig for OfService {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        variable(&format!("{}_{service}", key.env())).or_else(|| variable(key.env()))
    }
}

/// A variable of the environment; one that is empty is not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
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
        // An attempt has its time; watching the bytes of each answer is for large ones.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
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
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().any(|name| variable(name).is_some())
}
