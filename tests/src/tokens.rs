//! An issuer of tokens on loopback, with keys of its own.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use axum::routing;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::values::with;

/// Whom its tokens are for.
pub const AUDIENCE: &str = "tidemark-tests";

/// A key that signs.
#[derive(Clone)]
pub struct Signer {
    pub id: String,
    pub algorithm: Algorithm,
    pub key: EncodingKey,
}

impl Signer {
    pub fn new(id: &str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::RS256 => {
                let key: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
                    RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
                // PKCS #8 of so long a key is PKCS #1 behind 26 bytes.
                EncodingKey::from_rsa_der(&key.as_ref()[26..])
            }
            Algorithm::ES256 => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                EncodingKey::from_ec_der(key.as_ref())
            }
            Algorithm::EdDSA => EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref()),
            _ => EncodingKey::from_secret(b"a secret that both sides know, and everybody else"),
        };
        Self { id: id.to_owned(), algorithm, key }
    }

    /// As an issuer publishes it.
    pub fn published(&self) -> Value {
        let key = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        with(&key, json!({"kid": self.id, "use": "sig"}))
    }

    /// A token.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }
}

/// An issuer that publishes keys.
pub struct Issuer {
    pub url: String,
    /// Its first key.
    pub signer: Signer,
    /// How often its keys were asked for.
    pub asked: Arc<AtomicUsize>,
    published: Arc<Mutex<Value>>,
}

impl Issuer {
    pub async fn start() -> Self {
        let signer = Signer::new("first", Algorithm::ES256);
        let published = Arc::new(Mutex::new(json!({"keys": [signer.published()]})));
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::clone(&published), Arc::clone(&asked));
        let keys = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer.lock().unwrap().clone();
            async move { Json(answer) }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/.well-known/jwks.json", routing::get(keys));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, signer, asked, published }
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: &[Value]) {
        *self.published.lock().unwrap() = json!({"keys": keys});
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The variables of a function that takes its tokens.
    pub fn variables(&self) -> [(&str, &str); 2] {
        [("JWT_ISSUER", self.url.as_str()), ("JWT_AUDIENCE", AUDIENCE)]
    }

    /// What a good token claims: these scopes, with spaces between them, and apps.
    pub fn claims(&self, scopes: &str, apps: Value) -> Value {
        let now_s = tidemark_runtime::now_ms() / 1_000;
        json!({"iss": self.url, "aud": AUDIENCE, "sub": "somebody", "exp": now_s + 600, "scope": scopes, "apps": apps})
    }

    /// A good token.
    pub fn token(&self, scopes: &str, apps: Value) -> String {
        self.signer.sign(&self.claims(scopes, apps))
    }
}
