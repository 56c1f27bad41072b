//! Tokens of an identity provider.

use http::StatusCode;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tidemark_tests::api::{Answered, Served, get};
use tidemark_tests::tokens::{Issuer, Signer};
use tidemark_tests::values::{with, without};

const SELLERS: &str = "/analytics/sellers";

async fn asked(served: &Served, token: &str) -> Answered {
    served.ask(get(token, SELLERS)).await
}

async fn refused(served: &Served, token: &str, why: &str) {
    let answered = asked(served, token).await;
    assert_eq!(answered.status, StatusCode::UNAUTHORIZED, "{why}: {}", answered.body);
    let detail = answered.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(why), "{detail} should say {why}");
}

#[tokio::test]
async fn tokens_of_the_issuer_are_taken_by_what_they_claim() {
    let issuer = Issuer::start().await;
    let served = Served::set_up(&issuer.variables()).await;
    let claims = issuer.claims("openid read", json!("*"));
    for (taken, claims) in [
        (true, claims.clone()),
        (true, with(&without(&claims, "scope"), json!({"scp": ["read"]}))),
        (true, with(&without(&claims, "scope"), json!({"scp": "profile read"}))),
        (true, with(&without(&claims, "scope"), json!({"scopes": ["ingest", "read"]}))),
        (true, with(&claims, json!({"aud": ["other", "tidemark-tests"]}))),
        (false, without(&claims, "scope")),
        (false, with(&claims, json!({"scope": "ingest"}))),
        (false, with(&claims, json!({"scope": "reader", "scp": 7}))),
        (false, without(&claims, "apps")),
        (false, with(&claims, json!({"apps": ["*"]}))),
        (false, with(&claims, json!({"apps": {"*": true}}))),
    ] {
        let expected = if taken { StatusCode::OK } else { StatusCode::FORBIDDEN };
        let answered = asked(&served, &issuer.signer.sign(&claims)).await;
        assert_eq!(answered.status, expected, "{claims}: {}", answered.body);
    }
    assert_eq!(issuer.asked(), 1, "keys are kept");
}

#[tokio::test]
async fn what_is_not_of_the_issuer_or_not_for_us_or_not_now_is_refused() {
    let issuer = Issuer::start().await;
    let served = Served::set_up(&issuer.variables()).await;
    let claims = issuer.claims("read", json!("*"));
    let now_s = claims["exp"].as_i64().unwrap() - 600;
    for (changed, why) in [
        (json!({"iss": "https://other.example"}), "`iss`"),
        (json!({"iss": format!("{}/", issuer.url)}), "`iss`"),
        (json!({"aud": "other"}), "`aud`"),
        (json!({"exp": now_s - 120}), "expired"),
        (json!({"nbf": now_s + 120}), "`nbf`"),
        (json!({"sub": ""}), "`sub`"),
        (json!({"sub": "s".repeat(256)}), "`sub`"),
        (json!({"sub": 7}), ""),
        (json!({"exp": "soon"}), ""),
    ] {
        refused(&served, &issuer.signer.sign(&with(&claims, changed)), why).await;
    }
    for missing in ["iss", "aud", "exp", "sub"] {
        refused(&served, &issuer.signer.sign(&without(&claims, missing)), "").await;
    }
    // Clocks differ by a minute.
    for changed in [json!({"exp": now_s - 30}), json!({"nbf": now_s + 30}), json!({"sub": "é".repeat(255)})] {
        let answered = asked(&served, &issuer.signer.sign(&with(&claims, changed))).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
    }
    let token = issuer.token("read", json!("*"));
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let other = issuer.token("read ingest", json!("*"));
    let other = other.split('.').nth(1).unwrap();
    let flipped = format!("{}{}", &signature[1..], &signature[..1]);
    for forged in [
        format!("{header}.{other}.{signature}"),
        format!("{header}.{body}.{flipped}"),
        format!("{header}.{body}."),
        format!("{header}.{body}"),
        "x.y.z".to_owned(),
        "é".to_owned(),
    ] {
        let answered = asked(&served, &forged).await;
        assert_eq!(answered.status, StatusCode::UNAUTHORIZED, "{forged}");
    }
}

#[tokio::test]
async fn only_asymmetric_algorithms_are_taken_each_with_keys_of_its_own() {
    let issuer = Issuer::start().await;
    let served = Served::set_up(&issuer.variables()).await;
    let claims = issuer.claims("read", json!("*"));
    let [rsa, ec, ed, shared] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256]
        .map(|algorithm| Signer::new(&format!("{algorithm:?}"), algorithm));
    let keys = [&rsa, &ec, &ed, &shared].map(Signer::published);
    // A key of a kind that nobody knows does not spoil the others.
    let unknown = json!({"kty": "QUANTUM", "kid": "q", "alg": "Q1"});
    issuer.publish(&[&keys[..], &[unknown, json!("no key"), json!({"kty": "RSA", "kid": "r"})]].concat());
    for signer in [&rsa, &ec, &ed] {
        let answered = asked(&served, &signer.sign(&claims)).await;
        assert_eq!(answered.status, StatusCode::OK, "{:?}: {}", signer.algorithm, answered.body);
    }
    // A shared secret is none, were it published.
    refused(&served, &shared.sign(&claims), "none of the issuer's").await;
    // Nor is the public key taken for a secret, nor another key's algorithm.
    let public = keys[1]["x"].as_str().unwrap().as_bytes().to_vec();
    let secret = jsonwebtoken::EncodingKey::from_secret(&public);
    let confused = Signer { id: ec.id.clone(), algorithm: Algorithm::HS256, key: secret };
    refused(&served, &confused.sign(&claims), "another way").await;
    let swapped = Signer { id: rsa.id.clone(), ..ed.clone() };
    refused(&served, &swapped.sign(&claims), "another way").await;
    let nobody = Signer::new(&ec.id, Algorithm::ES256);
    refused(&served, &nobody.sign(&claims), "signature").await;
    let unsigned = |header: Value| {
        let part = |value: &Value| base64_url(value.to_string().as_bytes());
        format!("{}.{}.", part(&header), part(&claims))
    };
    for algorithm in ["none", "None", "HS256", "ES256"] {
        let token = unsigned(json!({"typ": "JWT", "alg": algorithm, "kid": ec.id}));
        assert_eq!(asked(&served, &token).await.status, StatusCode::UNAUTHORIZED, "{algorithm}");
    }
    refused(&served, &unsigned(json!({"typ": "JWT", "alg": "ES256"})), "`kid`").await;
}

fn base64_url(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

#[tokio::test]
async fn keys_are_fetched_again_when_they_are_old_or_one_is_new_but_not_for_every_invention() {
    let issuer = Issuer::start().await;
    let served = Served::set_up(&issuer.variables()).await;
    let claims = issuer.claims("read", json!("*"));
    let first = issuer.signer.sign(&claims);
    assert_eq!(asked(&served, &first).await.status, StatusCode::OK);
    // The issuer changes its key.
    let second = Signer::new("second", Algorithm::EdDSA);
    issuer.publish(&[second.published()]);
    let new = second.sign(&claims);
    assert_eq!(asked(&served, &new).await.status, StatusCode::UNAUTHORIZED, "asked a moment ago");
    served.pass(60_000);
    assert_eq!(asked(&served, &new).await.status, StatusCode::OK);
    refused(&served, &first, "none of the issuer's").await;
    assert_eq!(issuer.asked(), 2);
    for n in 0..50 {
        served.pass(1_000);
        let invented = Signer { id: format!("invented-{n}"), ..second.clone() };
        refused(&served, &invented.sign(&claims), "none of the issuer's").await;
    }
    assert_eq!(issuer.asked(), 2, "one a minute at most");
    served.pass(15 * 60_000);
    assert_eq!(asked(&served, &new).await.status, StatusCode::OK);
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_said_and_left_alone_for_a_while() {
    let issuer = Issuer::start().await;
    // Nobody listens there.
    let away = [&issuer.variables()[..], &[("JWT_JWKS_URL", "http://127.0.0.1:9/keys")]].concat();
    let served = Served::set_up(&away).await;
    let token = issuer.token("read", json!("*"));
    for _ in 0..3 {
        let answered = asked(&served, &token).await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answered.body);
        assert!(answered.headers.contains_key("retry-after"));
    }
    // What answers nonsense is as good as away.
    let elsewhere = format!("{}/elsewhere", issuer.url);
    let served = Served::set_up(&[&issuer.variables()[..], &[("JWT_JWKS_URL", elsewhere.as_str())]].concat()).await;
    assert_eq!(asked(&served, &token).await.status, StatusCode::SERVICE_UNAVAILABLE);
    // Keys are still good.
    assert_eq!(served.get(SELLERS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_an_issuer_no_token_is_taken() {
    let issuer = Issuer::start().await;
    let served = Served::start().await;
    refused(&served, &issuer.token("read", json!("*")), "API keys alone").await;
    assert_eq!(issuer.asked(), 0);
}
