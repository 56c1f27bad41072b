//! `cargo run`: the whole system on this machine.

use std::error::Error;
use std::process::ExitCode;

use archive::Caller;
use clap::Parser;
use tidemark_ledger::Call;
use tidemark_local::cli::Options;
use tidemark_local::commands::Command;
use tidemark_local::document::Document;
use tidemark_local::stack::Stack;
use tidemark_local::{audit, delivery, erase, feed, keys, play, quarantine, restore, serve, show};
use tidemark_runtime::telemetry::start_logging;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    start_logging(std::io::stderr, "error");
    let done = match &options.command {
        Some(Command::Audit(options)) => audit::run(options).await,
        Some(Command::Rebuild(options)) => audit::rebuild(options).await,
        Some(Command::Quarantine(options)) => quarantine::run(options).await,
        Some(Command::Erase(options)) => erase::run(options).await,
        Some(Command::Keys(options)) => keys::run(options).await,
        Some(Command::Restore(options)) => restore::run(options).await,
        None => run(&options).await.map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidemark: {}", tidemark_runtime::telemetry::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut logs = if options.no_play { Vec::new() } else { feed::logs(&options.input, options.partitions)? };
    let stack = Stack::start(options).await?;
    feed::append_to(stack.aggregate.ledger.store(), &mut logs).await?;
    let played = play::play(&stack.aggregate, &logs, delivery::waves(&logs, options)).await?;
    let now_ms = feed::clock_ms(&logs);
    let tables = stack.aggregate.ledger.store().read_tables(now_ms).await?;
    let document = Document::new(&tables, &played)?;
    if options.json {
        println!("{}", serde_json::to_string(&document)?);
    } else if !options.no_play {
        println!("{}\n{}", show::views(&document), show::cost(&played));
        let daily = stack.archive.daily(now_ms, Caller("tidemark"), Call { now_ms, deadline: None }).await?;
        println!("{}", show::snapshot(&daily, &stack));
    }
    if options.serve {
        let served = serve::serve(&stack, options.api_port, feed::newest_ms(&logs)).await?;
        eprint!("{}", show::serving(&stack, &served));
        tokio::signal::ctrl_c().await?;
    } else if !options.json {
        println!("{}", show::GO_ON);
    }
    Ok(())
}
