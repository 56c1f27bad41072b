//! CPU work off the async thread.

/// Runs CPU work where it holds nothing up; a panic goes on in the caller. `None` if the runtime is
/// shutting down and the work may not have been done.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_shutting_down) => None,
        },
    }
}
