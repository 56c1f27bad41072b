//! The invocation's raw bytes, past the runtime's own parsing.
//!
//! The stock path would parse the whole payload into a generic type before the handler sees it:
//! several times the cost of our own decoding. So a layer takes the body, hands the runtime a
//! `null` to parse, and lends the bytes to the handler for the time of its future.

use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static BODY: Bytes;
}

/// The bytes of the invocation that this task handles; empty outside of one.
pub(crate) fn body() -> Bytes {
    BODY.try_with(Bytes::clone).unwrap_or_default()
}

/// Puts [`body`] in place of the runtime's parsing.
#[derive(Clone, Copy)]
pub(crate) struct RawBody;

impl<S> Layer<S> for RawBody {
    type Service = WithRawBody<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithRawBody { inner }
    }
}

#[derive(Clone)]
pub(crate) struct WithRawBody<S> {
    inner: S,
}

impl<S> Service<LambdaInvocation> for WithRawBody<S>
where
    S: Service<LambdaInvocation>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Bytes, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let body = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        BODY.scope(body, self.inner.call(invocation))
    }
}
