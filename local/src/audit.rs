//! The audit on the command line: progress, and the verdict.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidemark_ledger::{AuditOptions, Call, Scanned};
use tidemark_runtime::now_ms;

use crate::commands::Audit;
use crate::{deployment, show};

/// Audits the tables and prints what was found; fails if drift remains or the audit is unfinished.
///
/// # Errors
/// If the tables are not named or a request fails.
pub async fn run(asked: &Audit) -> Result<ExitCode, Box<dyn Error>> {
    let ledger = deployment::ledger(&asked.deployment).await?;
    let options = AuditOptions {
        segments: asked.segments,
        rounds: asked.rounds as usize,
        repair: asked.repair,
        nothing_forgotten: asked.nothing_forgotten,
        scanned: Arc::default(),
    };
    let progress = Progress::start(Arc::clone(&options.scanned))?;
    let audit = ledger.audit(&options, Call { now_ms: now_ms(), deadline: None }).await;
    drop(progress);
    let audit = audit?;
    if asked.json {
        println!("{}", serde_json::to_string(&audit)?);
    } else {
        println!("{}", show::audit(&audit));
    }
    Ok(if audit.remaining() == 0 && !audit.unfinished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far the scans have come, on standard error, until it is dropped.
struct Progress {
    bar: ProgressBar,
    ticker: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn start(scanned: Arc<Scanned>) -> Result<Self, Box<dyn Error>> {
        const EVERY: Duration = Duration::from_millis(200);
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")?);
        let shown = bar.clone();
        let ticker = tokio::spawn(async move {
            loop {
                let (entities, rows) = (&scanned.entities, &scanned.rows);
                shown.set_message(format!(
                    "{} entities and {} rows read",
                    entities.load(Ordering::Relaxed),
                    rows.load(Ordering::Relaxed)
                ));
                shown.tick();
                tokio::time::sleep(EVERY).await;
            }
        });
        Ok(Self { bar, ticker })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ticker.abort();
        self.bar.finish_and_clear();
    }
}
