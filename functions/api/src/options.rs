//! How the function answers: configuration by environment variables.

use crate::secret::{LEAST, Secret};

/// What a deployment can set for its API. The README's table names each variable.
#[derive(Clone, Debug)]
pub struct Options {
    /// `API_SECRET`: what hashes API keys.
    pub keys: Secret,
    /// `API_SECRET`: what signs cursors.
    pub cursors: Secret,
}

/// A variable that is missing or cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The secret is missing or could be guessed.
    #[error("environment variable API_SECRET takes at least {LEAST} characters that nobody can guess")]
    Secret,
}

impl Options {
    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// Naming the first variable that is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let secret = variable("API_SECRET").unwrap_or_default();
        let derive = |purpose| Secret::derive(&secret, purpose).ok_or(OptionsError::Secret);
        Ok(Self { keys: derive("api keys")?, cursors: derive("cursors")? })
    }
}
