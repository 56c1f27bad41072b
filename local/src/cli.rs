//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use tidemark_model::stream::STREAMS;

use crate::commands::Command;

/// Runs Tidemark on this machine: embedded DynamoDB and S3, the real functions, and sample
/// streams (or your own) fed to them as Kafka invocations. Nothing to install, no account.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidemark", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Something else than to play streams.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Plays a file instead of the bundled samples; may be given several times. STREAM is products,
    /// orders, activity, user-events or metrics. FILE is newline JSON, one record value a line, `.gz`
    /// accepted. Topic, key and timestamp are taken from the value; offsets are made up in file order.
    #[arg(long, value_name = "STREAM=FILE")]
    pub input: Vec<Input>,

    /// Partitions of each topic; a record's key decides.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,

    /// Records of one invocation at most (Lambda's limit is 10,000, and 6 MB).
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_size: u32,

    /// Invocations in parallel [default: one per partition].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub workers: Option<u32>,

    /// Makes delivery as bad as it gets, by a seed: batches of random size and several partitions,
    /// topics and partitions interleaved at random, every tenth batch delivered twice, some
    /// invocations beside each other, and at the end the whole stream once more.
    #[arg(long, value_name = "SEED")]
    pub chaos: Option<u64>,

    /// Prints nothing on standard output but one JSON document at the end: views, cost, timing,
    /// rejects. Progress and logs go to standard error.
    #[arg(long)]
    pub json: bool,

    /// Where the embedded stores keep their data: `memory`, or a folder, which is made if missing.
    #[arg(long, default_value = "memory", value_name = "memory|PATH")]
    pub store: Place,

    /// Uses another DynamoDB than the embedded one, with the environment's credentials (an emulator
    /// on this machine needs none).
    #[arg(long, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,

    /// Uses another S3 than the embedded one, with the environment's credentials (an emulator on
    /// this machine needs none).
    #[arg(long, value_name = "URL")]
    pub s3_endpoint: Option<String>,

    /// Serves the API after the streams were played, and keeps the stores running for `cargo lambda` and the AWS
    /// CLI, until Ctrl-C.
    #[arg(long)]
    pub serve: bool,

    /// Plays nothing; useful with --serve.
    #[arg(long)]
    pub no_play: bool,

    /// The embedded DynamoDB's port [default: 8100 with --serve, else any].
    #[arg(long, value_name = "PORT")]
    pub dynamodb_port: Option<u16>,

    /// The embedded S3's port [default: 8101 with --serve, else any].
    #[arg(long, value_name = "PORT")]
    pub s3_port: Option<u16>,

    /// The API's port, with --serve.
    #[arg(long, value_name = "PORT", default_value_t = 8102)]
    pub api_port: u16,
}

/// A file to play.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its stream's name.
    pub stream: &'static str,
    /// Where it is.
    pub file: PathBuf,
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = STREAMS.iter().map(|stream| stream.name).collect();
        let (name, file) = text.split_once('=').ok_or("takes STREAM=FILE, such as products=events.ndjson")?;
        let stream = names.iter().find(|known| **known == name);
        let stream = stream.ok_or_else(|| format!("no stream `{name}`; there is {}", names.join(", ")))?;
        Ok(Self { stream, file: PathBuf::from(file) })
    }
}

/// Where the embedded stores keep their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this process, gone with it.
    Memory,
    /// In a folder.
    Folder(PathBuf),
}

impl FromStr for Place {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "memory" { Self::Memory } else { Self::Folder(PathBuf::from(text)) })
    }
}

impl Options {
    /// Invocations in parallel.
    pub fn workers(&self) -> usize {
        self.workers.map_or_else(|| self.partitions.unsigned_abs() as usize, |workers| workers as usize)
    }
}
