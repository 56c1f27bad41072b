//! The running stack: stores, and the functions on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregate::Aggregate;
use api::{Api, Clock};
use archive::Archive;
use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use tempfile::TempDir;
use tidemark_archive::{Bucket, Quarantine};
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Ledger, Options as LedgerOptions, Retry};
use tidemark_model::Settings;
use tidemark_runtime::Clients;

use crate::cli::{Options, Place};
use crate::{embedded, tables};

/// The names that the local stack gives its resources.
pub const STATE_TABLE: &str = "tidemark-state";
/// See [`STATE_TABLE`].
pub const VIEWS_TABLE: &str = "tidemark-views";
/// See [`STATE_TABLE`].
pub const BUCKET: &str = "tidemark";
/// The region that signs local requests.
pub const REGION: &str = "us-east-1";

/// The function as the local stack runs it.
pub type LocalAggregate = Aggregate<DynamoStore, Bucket>;

/// The scheduled function as the local stack runs it.
pub type LocalArchive = Archive<DynamoStore, Bucket>;

/// What hashes API keys and signs cursors here.
pub(crate) const API_SECRET: &str = "for the local stack alone, and no secret";

/// What runs.
pub struct Stack {
    /// The function that counts.
    pub aggregate: Arc<LocalAggregate>,
    /// The function that archives.
    pub archive: Arc<LocalArchive>,
    /// The clients of its stores.
    pub clients: Clients,
    /// DynamoDB's URL.
    pub dynamodb_url: String,
    /// S3's URL.
    pub s3_url: String,
    /// Where the bucket's objects lie as files, if they stay.
    pub folder: Option<PathBuf>,
    /// Keeps S3's data while the stack runs.
    _objects: Option<TempDir>,
}

/// A stack that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// An embedded store.
    #[error("embedded {store} cannot start")]
    Embedded {
        /// Which.
        store: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A table.
    #[error("table {table} cannot be created at {url}")]
    Table {
        /// Which.
        table: &'static str,
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bucket.
    #[error("bucket {BUCKET} cannot be created at {url}")]
    Bucket {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Stack {
    /// Starts the stores and creates what the template defines.
    ///
    /// # Errors
    /// Naming what cannot start.
    pub async fn start(options: &Options) -> Result<Self, StackError> {
        let port = |given: Option<u16>, serving| given.unwrap_or(if options.serve { serving } else { 0 });
        let dynamodb_url = match &options.dynamodb_endpoint {
            Some(url) => url.clone(),
            None => embedded::start_dynamodb(&options.store, port(options.dynamodb_port, 8100))
                .await
                .map_err(|source| StackError::Embedded { store: "DynamoDB", source })?,
        };
        let (s3_url, objects) = match &options.s3_endpoint {
            Some(url) => (url.clone(), None),
            None => embedded::start_s3(&options.store, port(options.s3_port, 8101), BUCKET)
                .await
                .map_err(|source| StackError::Embedded { store: "S3", source })?,
        };
        let retry = Retry::default();
        let dynamodb = sdk_config(Some(&dynamodb_url), options.dynamodb_endpoint.is_none()).await;
        let s3 = sdk_config(Some(&s3_url), options.s3_endpoint.is_none()).await;
        let clients = Clients::new(&dynamodb, &s3, &retry);
        for (resource, table) in [("StateTable", STATE_TABLE), ("ViewsTable", VIEWS_TABLE)] {
            tables::create(&clients.dynamodb, resource, table).await.map_err(|source| StackError::Table {
                table,
                url: dynamodb_url.clone(),
                source,
            })?;
        }
        if options.s3_endpoint.is_some() {
            create_bucket(&clients.s3).await.map_err(|source| StackError::Bucket { url: s3_url.clone(), source })?;
        }
        // Plan ids must be fresh: only a store that begins empty may repeat a seed's.
        let begins_empty = options.store == Place::Memory && options.dynamodb_endpoint.is_none();
        let seed = options.chaos.filter(|_| begins_empty);
        let ledger = || {
            let options = LedgerOptions { retry, seed, ..LedgerOptions::default() };
            Ledger::new(DynamoStore::new(clients.dynamodb.clone(), table_names()), options)
        };
        let bucket = || Bucket::new(clients.s3.clone(), BUCKET.to_owned(), None);
        let aggregate = Arc::new(Aggregate::new(ledger(), Quarantine::new(bucket(), 0), Settings::default()));
        let archive = Arc::new(Archive { ledger: ledger(), objects: bucket(), options: archive::Options::default() });
        let folder = match &options.store {
            Place::Folder(folder) if options.s3_endpoint.is_none() => Some(folder.join("s3").join(BUCKET)),
            _ => None,
        };
        Ok(Self { aggregate, archive, clients, dynamodb_url, s3_url, folder, _objects: objects })
    }
}

impl Stack {
    /// The function that answers over HTTP, at a time that a clock tells: without rate limits, unless the environment
    /// says so.
    ///
    /// # Errors
    /// If its options cannot be used.
    pub fn api(&self, clock: Clock) -> Result<Arc<Api>, api::OptionsError> {
        self.api_with(|name| std::env::var(name).ok(), clock)
    }

    /// The same, set up by variables from anywhere.
    ///
    /// # Errors
    /// If its options cannot be used.
    pub fn api_with(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        clock: Clock,
    ) -> Result<Arc<Api>, api::OptionsError> {
        let options = api::Options::read(|name| match name {
            "API_SECRET" => Some(API_SECRET.to_owned()),
            "RATE_LIMIT_PER_MINUTE" => variable(name).or_else(|| Some("0".to_owned())),
            _ => variable(name),
        })?;
        let retry = Retry { initial: Duration::from_millis(50), cap: Duration::from_secs(1), ..Retry::default() };
        let store = self.aggregate.ledger.store().clone();
        let ledger = Ledger::new(store, LedgerOptions { retry, ..LedgerOptions::default() });
        Ok(Arc::new(Api::new(ledger, self.aggregate.settings.clone(), options, clock)))
    }
}

fn table_names() -> Tables {
    Tables { state: STATE_TABLE.to_owned(), views: VIEWS_TABLE.to_owned() }
}

/// What clients of an endpoint are made of: an embedded one's, or AWS's own if none is given. The
/// environment says the rest, but for the credentials of what takes any.
pub async fn sdk_config(url: Option<&str>, embedded: bool) -> SdkConfig {
    let defaults = tidemark_runtime::clients::loader();
    let Some(url) = url else { return defaults.load().await };
    let defaults = defaults.endpoint_url(url);
    let takes_any_credentials = embedded || (is_loopback(url) && lacks_credentials());
    if !takes_any_credentials {
        return defaults.load().await;
    }
    let credentials = Credentials::new(embedded::ACCESS_KEY, embedded::SECRET_KEY, None, None, "local");
    defaults
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await
}

/// Whether a URL is on this machine, where an emulator takes any credentials.
pub(crate) fn is_loopback(url: &str) -> bool {
    ["://127.", "://localhost", "://[::1]"].iter().any(|host| url.contains(host))
}

fn lacks_credentials() -> bool {
    ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"].iter().all(|name| std::env::var_os(name).is_none())
}

async fn create_bucket(client: &aws_sdk_s3::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
    // Who starts the stack waits at the terminal: a store that is not there is said at once.
    let at_once = aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled());
    match client.create_bucket().bucket(BUCKET).customize().config_override(at_once).send().await {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) => Ok(()),
        Err(e) => Err(DisplayErrorContext(e).to_string().into()),
    }
}
