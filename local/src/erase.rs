//! Erasing a person on the command line.

use std::error::Error;
use std::process::ExitCode;

use tidemark_ledger::Call;
use tidemark_model::erasure::Person;
use tidemark_runtime::now_ms;

use crate::commands::Erase;
use crate::{deployment, show};

/// Erases the person and prints what was done; fails if something still names them.
///
/// # Errors
/// If nobody or no table is named, or a request fails.
pub async fn run(asked: &Erase) -> Result<ExitCode, Box<dyn Error>> {
    let person = match (&asked.app, &asked.user, &asked.customer) {
        (Some(app), Some(user), None) => Person::User { app: app.into(), user: user.into() },
        (None, None, Some(id)) => Person::Customer { id: id.into() },
        _ => return Err("who? Say it by --app and --user, or by --customer".into()),
    };
    let ledger = deployment::ledger(&asked.deployment).await?;
    let erased = ledger.erase(&person, asked.dry_run, Call { now_ms: now_ms(), deadline: None }).await?;
    if asked.json {
        println!("{}", serde_json::to_string(&erased)?);
    } else {
        println!("{}", show::erased(&erased, asked.dry_run));
    }
    Ok(if asked.dry_run || erased.left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
