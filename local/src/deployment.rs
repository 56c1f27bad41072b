//! A deployment's stores, for who works on them from a terminal.

use std::error::Error;
use std::time::Duration;

use tidemark_archive::Bucket;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Ledger, Options, Retry};
use tidemark_model::Settings;
use tidemark_runtime::{Clients, Config};

use crate::commands::{ArchiveBucket, Deployment};
use crate::stack::{BUCKET, STATE_TABLE, VIEWS_TABLE, sdk_config};

/// A deployment's tables and bucket, and how records are read.
pub struct Opened {
    /// The tables.
    pub ledger: Ledger<DynamoStore>,
    /// The bucket.
    pub bucket: Bucket,
    /// As the environment's variables say.
    pub settings: Settings,
    /// The epoch of the sources.
    pub epoch: u32,
}

/// A ledger on the tables.
///
/// # Errors
/// If they are not named.
pub async fn ledger(asked: &Deployment) -> Result<Ledger<DynamoStore>, Box<dyn Error>> {
    let tables = tables(asked)?;
    let config = sdk_config(asked.dynamodb_endpoint.as_deref(), false).await;
    let clients = Clients::new(&config, &config, &retry());
    Ok(Ledger::new(DynamoStore::new(clients.dynamodb, tables), Options { retry: retry(), ..Options::default() }))
}

/// The tables and the bucket.
///
/// # Errors
/// If they are not named, or a variable cannot be used.
pub async fn open(asked: &Deployment, place: &ArchiveBucket) -> Result<Opened, Box<dyn Error>> {
    let tables = tables(asked)?;
    let local = place.s3_endpoint.is_some().then_some(BUCKET);
    let bucket = named("bucket", &place.bucket, "--bucket", "BUCKET", local)?;
    let config = Config::read(|variable| match variable {
        "STATE_TABLE" => Some(tables.state.clone()),
        "VIEWS_TABLE" => Some(tables.views.clone()),
        "BUCKET" => Some(bucket.clone()),
        _ => std::env::var(variable).ok(),
    })?;
    let dynamodb = sdk_config(asked.dynamodb_endpoint.as_deref(), false).await;
    let s3 = sdk_config(place.s3_endpoint.as_deref(), false).await;
    let clients = Clients::new(&dynamodb, &s3, &retry());
    let epoch = config.ledger.epoch;
    let options = Options { retry: retry(), ..config.ledger };
    Ok(Opened {
        ledger: Ledger::new(DynamoStore::new(clients.dynamodb, tables), options),
        bucket: Bucket::new(clients.s3, config.bucket, config.kms_key),
        settings: config.settings,
        epoch,
    })
}

/// Who asks waits at the terminal: a store that is not there is said soon.
fn retry() -> Retry {
    Retry { initial: Duration::from_millis(200), cap: Duration::from_secs(10), ..Retry::default() }
}

fn tables(asked: &Deployment) -> Result<Tables, String> {
    let local = |name| asked.dynamodb_endpoint.is_some().then_some(name);
    Ok(Tables {
        state: named("table", &asked.state_table, "--state-table", "STATE_TABLE", local(STATE_TABLE))?,
        views: named("table", &asked.views_table, "--views-table", "VIEWS_TABLE", local(VIEWS_TABLE))?,
    })
}

/// A resource's name: the one given, or the environment's, or that of the local stack where that is meant.
fn named(
    what: &str,
    given: &Option<String>,
    option: &str,
    variable: &str,
    local: Option<&str>,
) -> Result<String, String> {
    let named = given.clone().or_else(|| std::env::var(variable).ok()).or_else(|| local.map(str::to_owned));
    named.ok_or_else(|| format!("which {what}? Say it by {option}, or by the variable {variable}"))
}
