//! What the directory lists: current totals of many ids, as their view writes them.

use serde_json::value::RawValue;
use tidemark_model::views::{CURRENT, Ranking, Tables, View};
use tidemark_model::{Key, Measures};

use crate::{Answer, Api, Caller, Fresh, Page, Params, Problem};
use tidemark_ledger::Call;

/// Places of a ranking that are shown where `top` is not given.
const TOP: usize = 10;

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
    Answer::json(&Page { items: documents(view, rows, call)?, next }, Fresh::Live)
}

/// The first of a ranking, as many as the parameter `top` says.
pub(super) async fn top(
    api: &Api,
    view: &'static View,
    ranking: &'static Ranking,
    mut params: Params,
    call: Call,
) -> Result<Answer, Problem> {
    let most = api.ledger.options().top;
    let top = params.number("top", 1..=most).unwrap_or(TOP.min(most));
    params.finish()?;
    let rows = api.ledger.send(|| api.ledger.store().top(ranking, top), call).await?.value;
    Answer::json(&Page { items: documents(view, rows, call)?, next: None }, Fresh::Live)
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
    if key.pk.len() > Key::PK_BYTES {
        return Err(missing());
    }
    let row = api.ledger.send(|| api.ledger.store().row(&key), call).await?.value.ok_or_else(missing)?;
    let document = documents(view, vec![(key, row)], call)?.pop().ok_or_else(missing)?;
    Answer::json(&document, Fresh::Live)
}

/// Rows as members of the list that their view writes: those that say something.
pub(super) fn documents(view: &View, rows: Vec<(Key, Measures)>, call: Call) -> Result<Vec<Box<RawValue>>, Problem> {
    let document = document(view, rows, call)?;
    serde_json::from_str(document.get()).map_err(|error| unwritten(view, &error))
}

/// Rows as their view writes them, without those that are past their TTL.
pub(super) fn document(view: &View, mut rows: Vec<(Key, Measures)>, call: Call) -> Result<Box<RawValue>, Problem> {
    rows.retain(|(_, row)| row.is_kept(call.now_ms));
    (view.document)(&Tables { rows, ..Tables::default() }).map_err(|error| unwritten(view, &error))
}

fn unwritten(view: &View, error: &serde_json::Error) -> Problem {
    tracing::error!(%error, view = view.name, "view cannot be written");
    Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written; see the logs")
}
