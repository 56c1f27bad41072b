//! What handlers take out of a request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use lambda_http::request::RequestContext;
use tidemark_ledger::Call;

use crate::{Api, FieldError, Problem};

/// When the request happens, and when it must have been answered.
#[derive(Clone, Copy, Debug)]
pub struct Now(pub Call);

impl FromRequestParts<Arc<Api>> for Now {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        Ok(Self(api.call(&parts.extensions)))
    }
}

/// The one variable part of the path.
#[derive(Clone, Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Path(id) = parts
            .extract::<Path<String>>()
            .await
            .map_err(|_| Problem::invalid(vec![FieldError::new("(path)", "is not UTF-8 once decoded")]))?;
        Ok(Self(id))
    }
}

/// The whole body.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 1 MB; send less at a time")
            }
            _ => Problem::invalid(vec![FieldError::new("(body)", "broke off")]),
        })
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The address, as the gateway saw it.
    pub(crate) ip_address: Option<String>,
    /// What sent it.
    pub(crate) user_agent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let ip_address = match parts.extensions.get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
            _ => None,
        };
        Ok(Self { ip_address, user_agent: user_agent.map(str::to_owned) })
    }
}
