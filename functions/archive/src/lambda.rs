//! The function under the Lambda runtime.

use futures_util::FutureExt;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde_json::Value;
use tidemark_archive::Bucket;
use tidemark_archive::manifest::Manifest;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Audit, AuditOptions, Call, Ledger, Store};
use tidemark_runtime::telemetry::{chain, start_logging};
use tidemark_runtime::{Clients, Config, call, now_ms, warm};
use tracing::Instrument;

use crate::emf::Stamp;
use crate::run::name;
use crate::{Archive, ArchiveFault, Caller, Daily, Job, Options, Upkeep, audit, upkeep};

/// The function, as it is deployed.
type Deployed = Archive<DynamoStore, Bucket>;

/// What the invocation's caller is told.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Daily(Daily),
    Report(Manifest),
    Upkeep(Upkeep),
    Audit(Audit),
}

/// Runs the function until the environment is shut down.
///
/// # Errors
/// If the configuration is incomplete or the runtime cannot go on.
pub async fn run() -> Result<(), Error> {
    let config = Config::try_from_env();
    start_logging(std::io::stdout, config.as_ref().map_or("info", |config| config.log_level.as_str()));
    let config = config.inspect_err(|e| tracing::error!(error = %e, "function cannot start"))?;
    let clients = Clients::from_env(&config.ledger.retry);
    let options = Options {
        zone: config.settings.zone,
        entities: config.archive_entities,
        segments: config.archive_segments,
        read_units: f64::from(config.archive_read_units),
        top: config.ledger.top,
        history_ms: config.history_retention_ms,
    };
    let tables = Tables { state: config.state_table, views: config.views_table };
    let archive = Archive {
        ledger: Ledger::new(DynamoStore::new(clients.dynamodb, tables), config.ledger),
        objects: Bucket::new(clients.s3, config.bucket, config.kms_key),
        options,
    };
    warm(archive.ledger.store().read_retention()).await;
    let (archive, namespace) = (&archive, config.metrics_namespace.as_str());
    // The handler borrows what lives until the process ends.
    let handler = service_fn(move |event: LambdaEvent<Value>| invoke(archive, namespace, event));
    Runtime::new(handler).run().await
}

async fn invoke(archive: &Deployed, namespace: &str, event: LambdaEvent<Value>) -> Result<Answer, Error> {
    let request_id = event.context.request_id.as_str();
    let span = tracing::info_span!("invocation", request_id);
    let call = call(event.context.deadline);
    // Boxed: unboxed, the runtime's layers around it nest types deeper than the compiler goes.
    let outcome = handle(archive, namespace, request_id, event.payload, call).instrument(span.clone()).boxed().await;
    outcome.inspect_err(|error| span.in_scope(|| tracing::error!(error = %chain(error.as_ref()), "job failed")))
}

async fn handle(
    archive: &Deployed,
    namespace: &str,
    request_id: &str,
    payload: Value,
    call: Call,
) -> Result<Answer, Error> {
    let stamp = || Stamp { namespace, request_id, started_ms: call.now_ms, ended_ms: now_ms() };
    let daily = |daily: &Daily| {
        if let Daily::Done(manifest) = daily {
            println!("{}", stamp().daily(manifest));
        }
    };
    let answer = match Job::read(payload)? {
        Job::Daily { at_ms } => {
            // Without a time, a run that is not finished is meant: also by a repetition of this very invocation.
            let unfinished = if at_ms.is_none() { archive.resume(Caller(request_id), call).await? } else { None };
            let done = match unfinished {
                Some(done) => done,
                None => archive.daily(at_ms.unwrap_or(call.now_ms), Caller(request_id), call).await?,
            };
            daily(&done);
            return match (done, at_ms) {
                // A day that is scheduled is not to be left out: the schedule tries again, and then says so.
                (Daily::Busy { run, .. }, Some(at_ms)) if run != name(at_ms) => Err(ArchiveFault::Busy { run }.into()),
                (done, _) => Ok(Answer::Daily(done)),
            };
        }
        Job::Audit { repair, nothing_forgotten } => {
            let options = AuditOptions { repair, nothing_forgotten, ..AuditOptions::default() };
            let audit = audit(&archive.ledger, &options, call).await;
            println!("{}", stamp().audit(&audit));
            return Ok(Answer::Audit(audit));
        }
        Job::Report { at_ms } => {
            let manifest = archive.report(at_ms.unwrap_or(call.now_ms), call).await?;
            println!("{}", stamp().report(&manifest));
            Answer::Report(manifest)
        }
        Job::Upkeep => {
            let done = upkeep(&archive.ledger, call).await?;
            println!("{}", stamp().upkeep(&done));
            Answer::Upkeep(done)
        }
    };
    // A daily run whose time was up goes on with whatever comes next. If it cannot, this job is done all the same.
    match archive.resume(Caller(request_id), call).await {
        Ok(done) => done.iter().for_each(daily),
        Err(error) => tracing::error!(error = %chain(&error), "daily run could not go on"),
    }
    Ok(answer)
}
