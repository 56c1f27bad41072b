//! `--serve`: the API on a loopback port, with a key of everything.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use api::{Api, issue, router};
use tidemark_ledger::dynamo::{ApiKey, Apps, Scope};
use tokio::net::TcpListener;

use crate::stack::Stack;

/// The key of the sample requests in `events/`. Everybody knows it: it is good where the local stack's secret is.
pub const EVENTS_KEY: &str = "tm_local_of-the-events-in-this-repository";

/// What is served: where, and with which key.
#[derive(Clone, Debug)]
pub struct Served {
    /// The API's URL.
    pub url: String,
    /// A key of all scopes and apps.
    pub key: String,
}

/// Serves the API of a stack, whose time goes on from the given one.
///
/// # Errors
/// If the port is taken, or the key cannot be stored.
pub async fn serve(stack: &Stack, port: u16, from_ms: i64) -> Result<Served, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let passed = move || i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let api = stack.api(Box::new(move || from_ms.saturating_add(passed())))?;
    let key = key_of_everything(&api, from_ms).await?;
    put_events_key(&api, from_ms).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|e| format!("port {port} cannot be used ({e}); choose another by --api-port"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = axum::serve(listener, router(Arc::clone(&api)));
    tokio::spawn(async move { serving.await });
    Ok(Served { url, key })
}

async fn key_of_everything(api: &Api, now_ms: i64) -> Result<String, Box<dyn std::error::Error>> {
    let (text, key) = issue(&api.keys, "local", all_scopes(), Apps::All, now_ms)?;
    api.ledger.store().put_api_key(&key).await?;
    Ok(text)
}

/// Lets the sample requests in, and whoever else shows [`EVENTS_KEY`].
///
/// # Errors
/// If the key cannot be stored.
pub async fn put_events_key(api: &Api, now_ms: i64) -> Result<(), Box<dyn std::error::Error>> {
    let (id, secret) = ApiKey::split(EVENTS_KEY).ok_or("the events' key is none")?;
    let key = ApiKey {
        id: id.to_owned(),
        hash: api.keys.hash(&[id.as_bytes(), secret.as_bytes()]).to_vec(),
        name: "events".to_owned(),
        scopes: all_scopes(),
        apps: Apps::All,
        created_ms: now_ms,
        expires_ms: None,
        per_minute: None,
    };
    api.ledger.store().put_api_key(&key).await?;
    Ok(())
}

fn all_scopes() -> BTreeSet<Scope> {
    Scope::ALL.iter().map(|(_, scope)| *scope).collect()
}
