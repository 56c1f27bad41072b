//! The first connection, made before the first invocation.
//!
//! Names, TCP, TLS and credentials are a function's dearest request: at 128 MB it was seen to take 0.9 s, and 21 ms
//! with what is here. Lambda's init has a whole CPU whatever the memory, and is waited for rather than run beside
//! the first invocation: that would find no connection and open one more, on its share of a CPU, and an environment
//! that is frozen before its first invocation would wake to half a handshake.

use std::error::Error;
use std::time::Duration;

use crate::telemetry::chain;

/// A store that is away delays the start by no more than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does a cheap request of the first invocation ahead of it. If it fails, that is for the invocation to say.
pub async fn warm<T, E: Error>(request: impl Future<Output = Result<T, E>>) {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(error = %chain(&error), "the first connection could not be made ahead"),
        Err(_) => tracing::debug!("the first connection took too long to be waited for"),
    }
}
