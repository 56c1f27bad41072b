//! Where a suite runs: the embedded service, and what else speaks its protocol.

use aws_config::SdkConfig;
use tidemark_local::stack;

/// Something that speaks a service's protocol.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// The embedded one.
    Embedded,
    /// One at a URL, under the name by which its known faults are found.
    Named { name: String, url: String },
    /// AWS itself, by the environment's configuration.
    Aws,
}

impl Endpoint {
    /// The embedded one, and those that a variable names: `URL`, `name=URL` or `aws`, with commas between them.
    pub(crate) fn all(variable: &str) -> Vec<Self> {
        let named = std::env::var(variable).unwrap_or_default();
        let named = named.split(',').map(str::trim).filter(|named| !named.is_empty()).map(Self::of);
        std::iter::once(Self::Embedded).chain(named).collect()
    }

    fn of(named: &str) -> Self {
        match named.split_once('=') {
            _ if named == "aws" => Self::Aws,
            Some((name, url)) => Self::Named { name: name.to_owned(), url: url.to_owned() },
            None => Self::Named { name: named.to_owned(), url: named.to_owned() },
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Embedded => "embedded",
            Self::Named { name, .. } => name,
            Self::Aws => "aws",
        }
    }

    /// What its clients are made of; the embedded one is started for its URL.
    pub(crate) async fn config(&self, start: impl AsyncFnOnce() -> String) -> SdkConfig {
        match self {
            Self::Embedded => stack::sdk_config(Some(&start().await), true).await,
            Self::Named { url, .. } => stack::sdk_config(Some(url), false).await,
            Self::Aws => stack::sdk_config(None, false).await,
        }
    }
}
