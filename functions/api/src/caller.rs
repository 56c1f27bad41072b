//! Who asks, and what they may see.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use tidemark_ledger::dynamo::{Apps, Scope};

use crate::Problem;

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    id: String,
    scopes: BTreeSet<Scope>,
    apps: Apps,
}

impl Caller {
    /// A caller by a name that no other has.
    pub fn new(id: String, scopes: BTreeSet<Scope>, apps: Apps) -> Self {
        Self { id, scopes, apps }
    }

    /// Its name: `key:{id}` or `jwt:{subject}`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The apps it is bound to.
    pub fn apps(&self) -> &Apps {
        &self.apps
    }

    /// Refuses an app that the caller is not bound to, whether there is such an app or not.
    ///
    /// # Errors
    /// 403.
    pub fn app(&self, app: &str) -> Result<(), Problem> {
        if self.apps.holds(app) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "this caller is not bound to the app; ask for a key that is"))
    }

    /// Refuses what belongs to no app, such as the shop's totals, unless the caller is bound to all apps.
    ///
    /// # Errors
    /// 403.
    pub fn shop(&self) -> Result<(), Problem> {
        if self.apps == Apps::All {
            return Ok(());
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "this belongs to no app, so only callers of all apps see it"))
    }

    /// Refuses what needs a scope that the caller lacks.
    ///
    /// # Errors
    /// 403.
    pub fn scope(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::FORBIDDEN, format!("this needs the scope `{scope}`, which this caller lacks")))
    }

    fn of_all_apps(self) -> Result<Self, Problem> {
        self.shop()?;
        Ok(self)
    }

    fn with(self, scope: Scope) -> Result<Self, Problem> {
        self.scope(scope)?;
        Ok(self)
    }
}

/// A caller that may read what belongs to its apps.
#[derive(Debug)]
pub struct Reader(pub Caller);

/// A caller that may read what belongs to no app, such as the shop's totals: one that is bound to all apps.
#[derive(Debug)]
pub struct ShopReader(pub Caller);

/// A caller that may send what belongs to its apps.
#[derive(Debug)]
pub struct Ingester(pub Caller);

/// A caller that may see how the deployment does: one with the scope `admin` that is bound to all apps.
#[derive(Debug)]
pub struct Operator(pub Caller);

fn authenticated(parts: &Parts) -> Result<Caller, Problem> {
    let caller = parts.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "an API key or a token is needed"))
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        authenticated(parts)?.with(Scope::Read).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for ShopReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        authenticated(parts)?.with(Scope::Read)?.of_all_apps().map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Ingester {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        authenticated(parts)?.with(Scope::Ingest).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        authenticated(parts)?.with(Scope::Admin)?.of_all_apps().map(Self)
    }
}
