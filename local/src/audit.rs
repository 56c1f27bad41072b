//! The audit on the command line: progress, and the verdict.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidemark_ledger::{Audit, AuditOptions, Call, Scanned};
use tidemark_model::views::VIEWS;
use tidemark_runtime::now_ms;

use crate::commands::{self, Deployment, Rebuild};
use crate::{deployment, show};

/// Audits the tables and prints what was found; fails if drift remains or the audit is unfinished.
///
/// # Errors
/// If the tables are not named or a request fails.
pub async fn run(asked: &commands::Audit) -> Result<ExitCode, Box<dyn Error>> {
    let options = AuditOptions {
        segments: asked.segments,
        rounds: asked.rounds as usize,
        repair: asked.repair,
        nothing_forgotten: asked.nothing_forgotten,
        ..AuditOptions::default()
    };
    look(&asked.deployment, &options, asked.json, show::audit).await
}

/// Rebuilds views and prints by what they differ from the live rows, which an audit compares and its repairs put
/// right; fails if a difference is left that was to be put in, or something could not be looked at.
///
/// # Errors
/// If the tables are not named or a request fails.
pub async fn rebuild(asked: &Rebuild) -> Result<ExitCode, Box<dyn Error>> {
    let is_asked = |name: &&str| asked.view.iter().any(|asked| asked == name);
    let options = AuditOptions {
        repair: asked.swap,
        nothing_forgotten: asked.nothing_forgotten,
        views: VIEWS.iter().map(|view| view.name).filter(is_asked).collect(),
        ..AuditOptions::default()
    };
    let done = look(&asked.deployment, &options, asked.json, show::rebuilt).await?;
    // A difference is what is asked for.
    Ok(if asked.swap { done } else { ExitCode::SUCCESS })
}

async fn look(
    deployment: &Deployment,
    options: &AuditOptions,
    json: bool,
    text: impl Fn(&Audit) -> String,
) -> Result<ExitCode, Box<dyn Error>> {
    let ledger = deployment::ledger(deployment).await?;
    let progress = Progress::start(Arc::clone(&options.scanned))?;
    let audit = ledger.audit(options, Call { now_ms: now_ms(), deadline: None }).await;
    drop(progress);
    let audit = audit?;
    if json {
        println!("{}", serde_json::to_string(&audit)?);
    } else {
        println!("{}", text(&audit));
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
