//! Keys as operators make, list, end and rotate them.

use clap::Parser;
use http::StatusCode;
use serde_json::Value;
use tidemark_local::cli;
use tidemark_local::commands::{Command, CreateKey, KeysAction};
use tidemark_local::keys::{Issued, create, list, revoke, rotate};
use tidemark_model::time::DAY_MS;
use tidemark_tests::NOW_MS;
use tidemark_tests::api::{Served, ask, get};

const SELLERS: &str = "/analytics/sellers";
const HOUR_MS: i64 = 3_600_000;

fn asked(arguments: &[&str]) -> CreateKey {
    let arguments = ["tidemark", "keys", "create", "--name", "of a test"].iter().chain(arguments);
    match cli::Options::try_parse_from(arguments).unwrap().command {
        Some(Command::Keys(keys)) => match keys.action {
            KeysAction::Create(key) => key,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn made(served: &Served, arguments: &[&str]) -> Issued {
    create(&served.api.ledger, &served.api.keys, &asked(arguments), NOW_MS).await.unwrap()
}

#[tokio::test]
async fn a_key_has_the_rights_it_was_made_with_and_is_shown_once() {
    let served = Served::start().await;
    let all = made(&served, &["--scope", "read", "--all-apps"]).await;
    let bound = made(&served, &["--scope", "read", "--scope", "ingest", "--app", "b", "--app", "a"]).await;
    let blind = made(&served, &["--scope", "admin", "--all-apps"]).await;
    for (key, status) in [(&all, StatusCode::OK), (&bound, StatusCode::FORBIDDEN), (&blind, StatusCode::FORBIDDEN)] {
        assert_eq!(served.get_as(&key.key, SELLERS).await.status, status);
    }
    let listed = list(&served.api.ledger, NOW_MS).await.unwrap();
    let found = listed.iter().find(|key| key.id == bound.listed.id).unwrap();
    assert_eq!(found.scopes, ["read", "ingest"]);
    assert_eq!(found.apps, ["a", "b"]);
    assert_eq!((found.valid, found.expires.as_deref()), (true, None));
    let text = serde_json::to_string(&listed).unwrap();
    for issued in [&all, &bound, &blind] {
        let secret = issued.key.rsplit('_').next().unwrap();
        assert!(!text.contains(secret) && text.contains(&issued.listed.id));
    }
    assert!(!text.contains("hash"));
    let document: Value = serde_json::to_value(&bound).unwrap();
    assert_eq!(document["key"], bound.key.as_str());
    assert_eq!(document["id"], bound.listed.id.as_str());
}

#[tokio::test]
async fn keys_that_say_nothing_of_scopes_or_apps_are_not_made() {
    for arguments in [
        &["--scope", "read"][..],
        &["--all-apps"],
        &["--scope", "write", "--all-apps"],
        &["--scope", "read", "--all-apps", "--app", "a"],
        &["--scope", "read", "--all-apps", "--expires-days", "0"],
    ] {
        let arguments = ["tidemark", "keys", "create", "--name", "n"].iter().chain(arguments);
        assert!(cli::Options::try_parse_from(arguments).is_err());
    }
}

#[tokio::test]
async fn a_key_ends_when_it_expires_or_is_revoked() {
    let served = Served::start().await;
    let key = made(&served, &["--scope", "read", "--all-apps", "--expires-days", "1"]).await;
    let other = made(&served, &["--scope", "read", "--all-apps"]).await;
    assert_eq!(served.get_as(&key.key, SELLERS).await.status, StatusCode::OK);
    let revoked = revoke(&served.api.ledger, &other.listed.id, NOW_MS).await.unwrap();
    assert!(!revoked.valid);
    assert_eq!(served.get_as(&other.key, SELLERS).await.status, StatusCode::UNAUTHORIZED);
    // Revoked again, it ended when it ended.
    let again = revoke(&served.api.ledger, &other.listed.id, NOW_MS + DAY_MS).await.unwrap();
    assert_eq!(again.expires, revoked.expires);
    assert!(rotate(&served.api.ledger, &served.api.keys, &other.listed.id, 1, NOW_MS).await.is_err());
    assert!(revoke(&served.api.ledger, "nobody", NOW_MS).await.is_err());
    served.pass(DAY_MS);
    assert_eq!(served.get_as(&key.key, SELLERS).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_rotated_key_and_its_successor_overlap() {
    let served = Served::start().await;
    let arguments = ["--scope", "read", "--all-apps", "--per-minute", "7", "--expires-days", "90"];
    let old = made(&served, &arguments).await;
    let at_ms = NOW_MS + 30 * DAY_MS;
    let new = rotate(&served.api.ledger, &served.api.keys, &old.listed.id, 24, at_ms).await.unwrap();
    assert_ne!(new.key, old.key);
    assert_eq!((&new.listed.name, &new.listed.scopes), (&old.listed.name, &old.listed.scopes));
    assert_eq!((&new.listed.apps, new.listed.per_minute), (&old.listed.apps, Some(7)));
    let ends = |ms| Some(tidemark_model::time::utc(ms));
    assert_eq!(new.listed.expires, ends(at_ms + 90 * DAY_MS));
    assert_eq!(new.replaces.as_ref().unwrap().expires, ends(at_ms + 24 * HOUR_MS));
    served.pass(30 * DAY_MS);
    let fresh = |key: &str| {
        let (router, request) = (served.beside(&[]), get(key, SELLERS));
        async move { ask(&router, request).await.status }
    };
    assert_eq!((fresh(&old.key).await, fresh(&new.key).await), (StatusCode::OK, StatusCode::OK));
    served.pass(24 * HOUR_MS);
    assert_eq!((fresh(&old.key).await, fresh(&new.key).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
}

#[tokio::test]
async fn a_key_is_good_where_the_secret_is_that_made_it() {
    let served = Served::start().await;
    let other = api::Secret::of_keys("another secret, of another deployment").unwrap();
    let stolen = create(&served.api.ledger, &other, &asked(&["--scope", "read", "--all-apps"]), NOW_MS).await.unwrap();
    assert_eq!(served.get_as(&stolen.key, SELLERS).await.status, StatusCode::UNAUTHORIZED);
}
