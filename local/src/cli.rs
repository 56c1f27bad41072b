//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use tidemark_model::stream::STREAMS;

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

    /// Keeps the stores running after the streams were played, for `cargo lambda` and the AWS CLI,
    /// until Ctrl-C.
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
}

/// What else can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Recomputes every row of a deployment from its entities, beside running invocations, and says
    /// which have drifted. Ends with status 1 if drift remains or the audit could not be finished.
    Audit(Audit),
    /// Lists the records that were set aside, shows them, mends them, and counts them after all.
    Quarantine(Quarantine),
    /// Erases a person from a deployment, beside running invocations: what remains of them is pseudonymous, and
    /// no count changes. Ends with status 1 if something still names them.
    Erase(Erase),
}

/// How an audit is done.
#[derive(Clone, Debug, Args)]
pub struct Audit {
    /// Repairs what has drifted.
    #[arg(long)]
    pub repair: bool,

    /// Parts of each table that are scanned in parallel; of both tables, 32 requests at once at most.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub segments: u32,

    /// Looks at the tables at most, while invocations move rows that differ; repairs take two more.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Prints one JSON document on standard output.
    #[arg(long)]
    pub json: bool,

    /// Where the tables are.
    #[command(flatten)]
    pub deployment: Deployment,

    /// Says that nothing was forgotten before its rows: TOMBSTONE_RETENTION_DAYS is 0 and always was, and no
    /// retention was ever changed. Then sellers' totals, deleted products and windows are compared exactly.
    #[arg(long)]
    pub nothing_forgotten: bool,
}

/// Who is erased, and how.
#[derive(Clone, Debug, Args)]
pub struct Erase {
    /// The app, or the service, whose user is erased.
    #[arg(long)]
    pub app: Option<String>,

    /// Erases a user of the app: their events keep what is counted, and lose all else.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,

    /// Erases a customer of the shop: their orders become those of a pseudonym. Erase them in the shop's
    /// database first, or its next records bring them back.
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,

    /// Says how much names the person, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Prints one JSON document on standard output.
    #[arg(long)]
    pub json: bool,

    /// Where the tables are.
    #[command(flatten)]
    pub deployment: Deployment,
}

/// Where a deployment's tables are.
#[derive(Clone, Debug, Args)]
pub struct Deployment {
    /// Uses a DynamoDB at this URL instead of AWS by the environment's region and credentials (an
    /// emulator on this machine needs none).
    #[arg(long, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,

    /// The table of entities [default: the variable STATE_TABLE; with a URL, tidemark-state].
    #[arg(long, value_name = "NAME")]
    pub state_table: Option<String>,

    /// The table of rows [default: the variable VIEWS_TABLE; with a URL, tidemark-views].
    #[arg(long, value_name = "NAME")]
    pub views_table: Option<String>,
}

/// What is done with records that were set aside, and with which.
#[derive(Clone, Debug, Args)]
pub struct Quarantine {
    /// What is done.
    #[command(subcommand)]
    pub action: Action,

    /// Of this topic.
    #[arg(long, global = true, value_name = "NAME")]
    pub topic: Option<String>,

    /// Of this partition.
    #[arg(long, global = true, value_name = "NUMBER")]
    pub partition: Option<i32>,

    /// At this offset.
    #[arg(long, global = true, value_name = "NUMBER")]
    pub offset: Option<i64>,

    /// Prints one JSON document on standard output.
    #[arg(long, global = true)]
    pub json: bool,

    /// Uses a DynamoDB at this URL instead of AWS by the environment's region and credentials (an
    /// emulator on this machine needs none).
    #[arg(long, global = true, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,

    /// Uses an S3 at this URL, likewise.
    #[arg(long, global = true, value_name = "URL")]
    pub s3_endpoint: Option<String>,

    /// The bucket [default: the variable BUCKET; with a URL of S3, tidemark].
    #[arg(long, global = true, value_name = "NAME")]
    pub bucket: Option<String>,

    /// The table of entities [default: the variable STATE_TABLE; with a URL of DynamoDB, tidemark-state].
    #[arg(long, global = true, value_name = "NAME")]
    pub state_table: Option<String>,

    /// The table of rows [default: the variable VIEWS_TABLE; with a URL of DynamoDB, tidemark-views].
    #[arg(long, global = true, value_name = "NAME")]
    pub views_table: Option<String>,
}

/// What is done with records that were set aside.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Lists them: where from, when, why, and how each stands.
    List,
    /// Shows them whole.
    Show,
    /// Keeps another value beside the one record that is named; the next redrive takes that.
    Fix {
        /// The new value; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        value: PathBuf,
    },
    /// Counts them, mended or by how records are read now (the function's environment variables say how). Each
    /// counts once, however often that is done. Ends with status 1 if any remains set aside.
    Redrive {
        /// All of them, where nothing else says which.
        #[arg(long)]
        all: bool,
    },
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
