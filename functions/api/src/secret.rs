//! The deployment's secret, from which keys of one purpose each are derived.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key of one purpose.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// Characters that a deployment's secret has at least.
pub const LEAST: usize = 32;

impl Secret {
    /// The key that hashes API keys; `None` if the deployment's secret is too short.
    pub fn of_keys(secret: &str) -> Option<Self> {
        Self::derive(secret, "api keys")
    }

    /// The key of a purpose; `None` if the deployment's secret is too short to be one.
    pub fn derive(secret: &str, purpose: &str) -> Option<Self> {
        let derived = Self::of(secret.as_bytes()).filter(|_| secret.len() >= LEAST)?.hash(&[purpose.as_bytes()]);
        Self::of(&derived)
    }

    fn of(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// The keyed hash of parts; where a part ends is part of it.
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether this is the keyed hash of parts, in constant time. A hash may be cut to 16 bytes.
    pub fn is_hash(&self, parts: &[&[u8]], hash: &[u8]) -> bool {
        hash.len() >= 16 && self.mac(parts).verify_truncated_left(hash).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
