//! The function under the Lambda runtime.

use std::time::Duration;

use futures_util::FutureExt;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde_json::Value;
use tidemark_archive::{Bucket, ObjectStore, Quarantine};
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Audit, AuditOptions, Call, Ledger, Store};
use tidemark_runtime::telemetry::start_logging;
use tidemark_runtime::{Clients, Config, now_ms};
use tokio::time::Instant;
use tracing::Instrument;

use crate::raw_body::{RawBody, body};
use crate::report::audit_emf;
use crate::upkeep::{Asked, Upkeep};
use crate::{Aggregate, Report, chain};

/// Rejects that the answer lists.
const REJECTS_ANSWERED: usize = 100;
/// Kept back from the invocation's time for its answer.
const MARGIN: Duration = Duration::from_millis(500);
/// Lambda's longest timeout is 900 s; a deadline well beyond is no deadline.
const LONGEST: Duration = Duration::from_secs(1_000);

/// Runs the function until the environment is shut down.
///
/// # Errors
/// If the configuration is incomplete or the runtime cannot go on.
pub async fn run() -> Result<(), Error> {
    let config = Config::try_from_env();
    start_logging(std::io::stdout, config.as_ref().map_or("info", |config| config.log_level.as_str()));
    let config = config.inspect_err(|e| tracing::error!(error = %e, "function cannot start"))?;
    let clients = Clients::from_env(&config.ledger.retry).await;
    let tables = Tables { state: config.state_table, views: config.views_table };
    let bucket = Bucket::new(clients.s3, config.bucket, config.kms_key);
    let quarantine = Quarantine::new(bucket, config.ledger.epoch);
    let ledger = Ledger::new(DynamoStore::new(clients.dynamodb, tables), config.ledger);
    let aggregate = Aggregate::new(ledger, quarantine, config.settings);
    let (aggregate, namespace) = (&aggregate, config.metrics_namespace.as_str());
    // The handler borrows what lives until the process ends.
    let handler = service_fn(move |event: LambdaEvent<Value>| invoke(aggregate, namespace, event));
    Runtime::new(handler).layer(RawBody).run().await
}

async fn invoke<S: Store, O: ObjectStore>(
    aggregate: &Aggregate<S, O>,
    namespace: &str,
    event: LambdaEvent<Value>,
) -> Result<Answer, Error> {
    let request_id = event.context.request_id.as_str();
    let span = tracing::info_span!("invocation", request_id);
    let call = call(event.context.deadline);
    match Asked::read(&body())? {
        Some(Asked::Upkeep) => return Ok(Answer::Upkeep(aggregate.upkeep(call).instrument(span).boxed().await?)),
        Some(Asked::Audit { repair, nothing_forgotten }) => {
            let options = AuditOptions { repair, nothing_forgotten, ..AuditOptions::default() };
            let audit = aggregate.audit(&options, call).instrument(span).boxed().await;
            println!("{}", audit_emf(&audit, namespace, request_id, now_ms()));
            return Ok(Answer::Audit(audit));
        }
        None => {}
    }
    // Boxed: unboxed, the runtime's layers around it nest types deeper than the compiler goes.
    let (mut report, outcome) = aggregate.handle(body(), call).instrument(span.clone()).boxed().await;
    println!("{}", report.emf(namespace, request_id, call.now_ms, now_ms()));
    // The answer is for people who invoke by hand, and Lambda takes no more than 6 MB of it.
    report.rejects.truncate(REJECTS_ANSWERED);
    match outcome {
        Ok(()) => Ok(Answer::Batch(report)),
        Err(error) => {
            span.in_scope(|| tracing::error!(error = %chain(&error), "invocation failed; its records will come again"));
            Err(error.into())
        }
    }
}

/// What the invocation's caller is told.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Batch(Report),
    Upkeep(Upkeep),
    Audit(Audit),
}

/// When the invocation happens. A deadline that has passed or is impossibly far (emulators send
/// such) is taken as unknown.
fn call(deadline_ms: u64) -> Call {
    let now_ms = now_ms();
    let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms.unsigned_abs()));
    let known = !left.is_zero() && left <= LONGEST;
    Call { now_ms, deadline: known.then(|| Instant::now() + left.saturating_sub(MARGIN)) }
}
