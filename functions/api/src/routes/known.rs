//! Whether an app has ever sent anything.

use tidemark_ledger::Call;
use tidemark_ledger::dynamo::Span;
use tidemark_model::activity::APP_LIMIT;
use tidemark_model::views::{event_totals, series};

use crate::{Api, Problem};

/// Refuses an app of which there is no event and no metric: where an answer would be empty, that may be a typing
/// error.
pub(super) async fn known(api: &Api, app: &str, call: Call) -> Result<(), Problem> {
    if app.len() <= APP_LIMIT {
        let always = ("0000-00-00", "9999-99-99");
        for keys in [event_totals::rows_of(Some(app)), series::rows_between(app, always.0, always.1)] {
            let span = Span::between(keys, 1);
            let (rows, _) = api.ledger.send(|| api.ledger.store().page(&span, None), call).await?.value;
            if !rows.is_empty() {
                return Ok(());
            }
        }
    }
    Err(Problem::not_found("this app has sent nothing; check its id, or see /analytics/apps"))
}
