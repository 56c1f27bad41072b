//! The function under the Lambda runtime.

use std::sync::Arc;

use lambda_http::{Error, Request, RequestExt};
use tidemark_ledger::Ledger;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_runtime::clients::{dynamodb, environment};
use tidemark_runtime::telemetry::start_logging;
use tidemark_runtime::{Config, call, now_ms, warm};
use tower::ServiceBuilder;

use crate::{Api, Options, router};

/// Runs the function until the environment is shut down.
///
/// # Errors
/// If the configuration is incomplete or the runtime cannot go on.
pub async fn run() -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok();
    // The function has no bucket.
    let config = Config::read(|name| variable(name).or_else(|| (name == "BUCKET").then(|| "none".to_owned())));
    start_logging(std::io::stdout, config.as_ref().map_or("info", |config| config.log_level.as_str()));
    let config = config.inspect_err(|e| tracing::error!(error = %e, "function cannot start"))?;
    let options = Options::read(variable).inspect_err(|e| tracing::error!(error = %e, "function cannot start"))?;
    let dynamodb = dynamodb(&environment());
    let tables = Tables { state: config.state_table, views: config.views_table };
    let ledger = Ledger::new(DynamoStore::new(dynamodb, tables), config.ledger);
    let api = Arc::new(Api::new(ledger, config.settings, options, Box::new(now_ms)));
    warm(api.prepare(call(0))).await;
    let router = router(api);
    let with_deadline = |mut request: Request| {
        let deadline_ms = request.lambda_context_ref().map(|context| context.deadline);
        request.extensions_mut().insert(call(deadline_ms.unwrap_or_default()));
        request
    };
    lambda_http::run(ServiceBuilder::new().map_request(with_deadline).service(router)).await
}
