//! A deployment's tables, for who works on them from a terminal.

use std::error::Error;
use std::time::Duration;

use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Ledger, Options, Retry};
use tidemark_runtime::Clients;

use crate::cli::Deployment;
use crate::stack::{STATE_TABLE, VIEWS_TABLE, sdk_config};

/// A ledger on the tables.
///
/// # Errors
/// If they are not named.
pub async fn ledger(asked: &Deployment) -> Result<Ledger<DynamoStore>, Box<dyn Error>> {
    let local = |name: &str| asked.dynamodb_endpoint.is_some().then(|| name.to_owned());
    let named = |given: &Option<String>, variable: &str, option: &str, default: &str| {
        let named = given.clone().or_else(|| std::env::var(variable).ok()).or_else(|| local(default));
        named.ok_or_else(|| format!("which table? Say it by {option}, or by the variable {variable}"))
    };
    let tables = Tables {
        state: named(&asked.state_table, "STATE_TABLE", "--state-table", STATE_TABLE)?,
        views: named(&asked.views_table, "VIEWS_TABLE", "--views-table", VIEWS_TABLE)?,
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
