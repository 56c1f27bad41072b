//! API keys on the command line. What a key's holder must know is printed once and is nowhere else.

use std::error::Error;
use std::process::ExitCode;

use api::{SECRET_CHARACTERS, Secret, issue};
use serde::Serialize;
use tidemark_ledger::dynamo::{ApiKey, Apps, DynamoStore, Scope};
use tidemark_ledger::{Call, Ledger};
use tidemark_model::time::{DAY_MS, utc};
use tidemark_runtime::now_ms;

use crate::commands::{CreateKey, Deployment, Keys, KeysAction};
use crate::stack::{API_SECRET, is_loopback};
use crate::{deployment, show};

const HOUR_MS: i64 = 3_600_000;

/// Does what is asked with keys, and prints it.
///
/// # Errors
/// If there is no such key, the secret or a table is not named, or a request fails.
pub async fn run(asked: &Keys) -> Result<ExitCode, Box<dyn Error>> {
    let (ledger, now_ms) = (deployment::ledger(&asked.deployment).await?, now_ms());
    let secret = || secret(&asked.deployment, std::env::var("API_SECRET").ok());
    match &asked.action {
        KeysAction::Create(key) => {
            print(asked.json, &create(&ledger, &secret()?, key, now_ms).await?, show::issued)?;
        }
        KeysAction::List => print(asked.json, &list(&ledger, now_ms).await?, |keys| show::keys(keys))?,
        KeysAction::Revoke { id } => print(asked.json, &revoke(&ledger, id, now_ms).await?, show::revoked)?,
        KeysAction::Rotate { id, overlap_hours } => {
            let issued = rotate(&ledger, &secret()?, id, *overlap_hours, now_ms).await?;
            print(asked.json, &issued, show::issued)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print<T: Serialize>(json: bool, value: &T, shown: impl Fn(&T) -> String) -> Result<(), serde_json::Error> {
    println!("{}", if json { serde_json::to_string(value)? } else { shown(value) });
    Ok(())
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What names it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What its holder may do.
    pub scopes: Vec<String>,
    /// With which apps: `*` for all.
    pub apps: Vec<String>,
    /// Requests a minute, if not as many as the deployment's default.
    #[serde(rename = "perMinute", skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// When it was made.
    pub created: String,
    /// When it ends, or has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whether it is good.
    pub valid: bool,
}

impl Listed {
    fn of(key: &ApiKey, now_ms: i64) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(Scope::to_string).collect(),
            apps: match &key.apps {
                Apps::All => vec!["*".to_owned()],
                Apps::Of(apps) => apps.iter().cloned().collect(),
            },
            per_minute: key.per_minute,
            created: utc(key.created_ms),
            expires: key.expires_ms.map(utc),
            valid: key.is_valid(now_ms),
        }
    }
}

/// A key that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// The key itself, which nobody can tell again.
    pub key: String,
    /// As it will be listed.
    #[serde(flatten)]
    pub listed: Listed,
    /// The key in whose place it comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Listed>,
}

/// Makes a key.
///
/// # Errors
/// If a request fails.
pub async fn create(
    ledger: &Ledger<DynamoStore>,
    secret: &Secret,
    asked: &CreateKey,
    now_ms: i64,
) -> Result<Issued, Box<dyn Error>> {
    let scopes = asked.scope.iter().filter_map(|name| Scope::named(name)).collect();
    let apps = if asked.all_apps { Apps::All } else { Apps::Of(asked.app.iter().cloned().collect()) };
    let (text, key) = issue(secret, &asked.name, scopes, apps, now_ms)?;
    let expires_ms = asked.expires_days.map(|days| now_ms.saturating_add(i64::from(days) * DAY_MS));
    let key = ApiKey { expires_ms, per_minute: asked.per_minute, ..key };
    put(ledger, &key, now_ms).await?;
    Ok(Issued { key: text, listed: Listed::of(&key, now_ms), replaces: None })
}

/// All keys, in the order in which they were made.
///
/// # Errors
/// If a request fails.
pub async fn list(ledger: &Ledger<DynamoStore>, now_ms: i64) -> Result<Vec<Listed>, Box<dyn Error>> {
    let mut keys = ledger.send(|| ledger.store().api_keys(), call(now_ms)).await?.value;
    keys.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
    Ok(keys.iter().map(|key| Listed::of(key, now_ms)).collect())
}

/// Ends a key, now; one that has ended stays as it is.
///
/// # Errors
/// If there is no such key, or a request fails.
pub async fn revoke(ledger: &Ledger<DynamoStore>, id: &str, now_ms: i64) -> Result<Listed, Box<dyn Error>> {
    end(ledger, get(ledger, id, now_ms).await?, now_ms, now_ms).await
}

/// Makes a key with the rights of another, good for as long as that was made for, and ends that one so many hours
/// later.
///
/// # Errors
/// If there is no such key or it has ended, or a request fails.
pub async fn rotate(
    ledger: &Ledger<DynamoStore>,
    secret: &Secret,
    id: &str,
    overlap_hours: u32,
    now_ms: i64,
) -> Result<Issued, Box<dyn Error>> {
    let old = get(ledger, id, now_ms).await?;
    if !old.is_valid(now_ms) {
        return Err(format!("the key {id} has ended; make a new one by `tidemark keys create`").into());
    }
    let (text, key) = issue(secret, &old.name, old.scopes.clone(), old.apps.clone(), now_ms)?;
    let lasts_ms = old.expires_ms.map(|expires_ms| expires_ms.saturating_sub(old.created_ms));
    let expires_ms = lasts_ms.map(|lasts_ms| now_ms.saturating_add(lasts_ms));
    let key = ApiKey { expires_ms, per_minute: old.per_minute, ..key };
    // The new one first: whatever fails, one of them is good.
    put(ledger, &key, now_ms).await?;
    let replaced = end(ledger, old, now_ms.saturating_add(i64::from(overlap_hours) * HOUR_MS), now_ms).await?;
    Ok(Issued { key: text, listed: Listed::of(&key, now_ms), replaces: Some(replaced) })
}

/// The secret that hashes a deployment's keys: the variable's, or that of the local stack where that is meant.
fn secret(asked: &Deployment, given: Option<String>) -> Result<Secret, String> {
    let local = asked.dynamodb_endpoint.as_deref().is_some_and(is_loopback).then(|| API_SECRET.to_owned());
    let secret = given.filter(|secret| !secret.is_empty()).or(local);
    secret.and_then(|secret| Secret::of_keys(&secret)).ok_or_else(|| {
        format!(
            "the variable API_SECRET must be the one of the function `api`, at least {SECRET_CHARACTERS} characters: \
             a key that is made by another is not known there"
        )
    })
}

async fn get(ledger: &Ledger<DynamoStore>, id: &str, now_ms: i64) -> Result<ApiKey, Box<dyn Error>> {
    let key = ledger.send(|| ledger.store().api_key(id), call(now_ms)).await?.value;
    key.ok_or_else(|| "there is no key of this id; `tidemark keys list` shows all".into())
}

async fn end(ledger: &Ledger<DynamoStore>, key: ApiKey, end_ms: i64, now_ms: i64) -> Result<Listed, Box<dyn Error>> {
    let key = ApiKey { expires_ms: Some(key.expires_ms.map_or(end_ms, |expires_ms| expires_ms.min(end_ms))), ..key };
    put(ledger, &key, now_ms).await?;
    Ok(Listed::of(&key, now_ms))
}

async fn put(ledger: &Ledger<DynamoStore>, key: &ApiKey, now_ms: i64) -> Result<(), Box<dyn Error>> {
    ledger.send(|| ledger.store().put_api_key(key), call(now_ms)).await?;
    Ok(())
}

fn call(now_ms: i64) -> Call {
    Call { now_ms, deadline: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(endpoint: Option<&str>) -> Deployment {
        Deployment { dynamodb_endpoint: endpoint.map(str::to_owned), state_table: None, views_table: None }
    }

    #[test]
    fn the_local_secret_is_for_this_machine_alone() {
        let given = || Some("a secret of more than enough characters".to_owned());
        assert!(secret(&deployment(Some("http://127.0.0.1:8100")), None).is_ok());
        assert!(secret(&deployment(Some("https://dynamodb.example")), given()).is_ok());
        for refused in [deployment(None), deployment(Some("https://dynamodb.example"))] {
            assert!(secret(&refused, None).unwrap_err().contains("API_SECRET"));
            let short = secret(&refused, Some("too short".to_owned())).unwrap_err();
            assert!(!short.contains("too short"), "{short}");
        }
    }
}
