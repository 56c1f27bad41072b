//! What the directory lists: current totals of many ids, as their view writes them.

use serde_json::value::RawValue;
use tidemark_model::views::{CURRENT, Tables, View};
use tidemark_model::{Key, Measures};

use crate::{Answer, Api, Caller, Fresh, Page, Params, Problem};
use tidemark_ledger::Call;

/// A page of a view's current totals, in the order of their ids, by the parameters `limit` and `cursor`.
pub(super) async fn page(
    api: &Api,
    view: &'static View,
    caller: &Caller,
    mut params: Params,
    call: Call,
) -> Result<Answer, Problem> {
    let limit = params.limit();
    params.finish()?;
    let after: Option<Key> = api.cursors.open(caller, &params)?;
    let read = || api.ledger.store().directory(view.kind, after.as_ref(), limit);
    let (rows, next) = api.ledger.send(read, call).await?.value;
    let next = next.and_then(|place| api.cursors.seal(caller, &params, &place));
    Answer::json(&Page { items: documents(view, rows)?, next }, Fresh::Live)
}

/// One id's current total.
pub(super) async fn one(
    api: &Api,
    view: &'static View,
    id: &str,
    mut params: Params,
    call: Call,
) -> Result<Answer, Problem> {
    params.finish()?;
    let missing = || Problem::not_found(format!("there is nothing of this id among {}", view.name));
    let key = Key::of(view.kind, id, CURRENT);
    // The store takes no longer key, so that none can be there.
    if key.pk.len() > 2_048 {
        return Err(missing());
    }
    let row = api.ledger.send(|| api.ledger.store().row(&key), call).await?.value.ok_or_else(missing)?;
    let document = documents(view, vec![(key, row)])?.pop().ok_or_else(missing)?;
    Answer::json(&document, Fresh::Live)
}

/// Rows as their view writes them: those that say something.
pub(super) fn documents(view: &View, rows: Vec<(Key, Measures)>) -> Result<Vec<Box<RawValue>>, Problem> {
    let tables = Tables { rows, ..Tables::default() };
    let written = (view.document)(&tables).and_then(|document| serde_json::from_str(document.get()));
    written.map_err(|error| {
        tracing::error!(%error, view = view.name, "view cannot be written");
        Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written; see the logs")
    })
}
