//! The function under the Lambda runtime.

use futures_util::FutureExt;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use tidemark_archive::{Bucket, ObjectStore, Quarantine};
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Ledger, Store};
use tidemark_runtime::telemetry::{chain, start_logging};
use tidemark_runtime::{Clients, Config, call, now_ms, warm};
use tracing::Instrument;

use crate::raw_body::{RawBody, body};
use crate::{Aggregate, Report};

/// Rejects that the answer lists.
const REJECTS_ANSWERED: usize = 100;

/// Runs the function until the environment is shut down.
///
/// # Errors
/// If the configuration is incomplete or the runtime cannot go on.
pub async fn run() -> Result<(), Error> {
    let config = Config::try_from_env();
    start_logging(std::io::stdout, config.as_ref().map_or("info", |config| config.log_level.as_str()));
    let config = config.inspect_err(|e| tracing::error!(error = %e, "function cannot start"))?;
    let clients = Clients::from_env(&config.ledger.retry);
    let tables = Tables { state: config.state_table, views: config.views_table };
    let bucket = Bucket::new(clients.s3, config.bucket, config.kms_key);
    let quarantine = Quarantine::new(bucket, config.ledger.epoch);
    let ledger = Ledger::new(DynamoStore::new(clients.dynamodb, tables), config.ledger);
    let aggregate = Aggregate::new(ledger, quarantine, config.settings);
    warm(aggregate.prepare(call(0))).await;
    let (aggregate, namespace) = (&aggregate, config.metrics_namespace.as_str());
    // The handler borrows what lives until the process ends.
    let handler = service_fn(move |event: LambdaEvent<Value>| invoke(aggregate, namespace, event));
    Runtime::new(handler).layer(RawBody).run().await
}

async fn invoke<S: Store, O: ObjectStore>(
    aggregate: &Aggregate<S, O>,
    namespace: &str,
    event: LambdaEvent<Value>,
) -> Result<Report, Error> {
    let request_id = event.context.request_id.as_str();
    let span = tracing::info_span!("invocation", request_id);
    let call = call(event.context.deadline);
    // Boxed: unboxed, the runtime's layers around it nest types deeper than the compiler goes.
    let (mut report, outcome) = aggregate.handle(body(), call).instrument(span.clone()).boxed().await;
    println!("{}", report.emf(namespace, request_id, call.now_ms, now_ms()));
    // The answer is for people who invoke by hand, and Lambda takes no more than 6 MB of it.
    report.rejects.truncate(REJECTS_ANSWERED);
    match outcome {
        Ok(()) => Ok(report),
        Err(error) => {
            span.in_scope(|| tracing::error!(error = %chain(&error), "invocation failed; its records will come again"));
            Err(error.into())
        }
    }
}
