//! A deployment's tables, for who works on them from a terminal.

use std::error::Error;
use std::time::Duration;

use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Ledger, Options, Retry};
use tidemark_runtime::Clients;

use crate::cli::Deployment;
use crate::stack::{STATE_TABLE, VIEWS_TABLE, named, sdk_config};

/// A ledger on the tables.
///
/// # Errors
/// If they are not named.
pub async fn ledger(asked: &Deployment) -> Result<Ledger<DynamoStore>, Box<dyn Error>> {
    let local = |name| asked.dynamodb_endpoint.is_some().then_some(name);
    let tables = Tables {
        state: named("table", &asked.state_table, "--state-table", "STATE_TABLE", local(STATE_TABLE))?,
        views: named("table", &asked.views_table, "--views-table", "VIEWS_TABLE", local(VIEWS_TABLE))?,
    };
    // Who asks waits at the terminal: a store that is not there is said soon.
    let retry = Retry { initial: Duration::from_millis(200), cap: Duration::from_secs(10), ..Retry::default() };
    let clients = match &asked.dynamodb_endpoint {
        Some(url) => {
            let config = sdk_config(Some(url), false).await;
            Clients::new(&config, &config, &retry)
        }
        None => Clients::from_env(&retry).await,
    };
    Ok(Ledger::new(DynamoStore::new(clients.dynamodb, tables), Options { retry, ..Options::default() }))
}
