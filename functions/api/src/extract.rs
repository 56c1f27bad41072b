//! What handlers take out of a request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
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
