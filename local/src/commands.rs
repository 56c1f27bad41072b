//! The command line of what is done to a deployment.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidemark_ledger::dynamo::Scope;
use tidemark_model::activity::APP_LIMIT;
use tidemark_model::views::VIEWS;

/// What else can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Recomputes every row of a deployment from its entities, beside running invocations, and says
    /// which have drifted. Ends with status 1 if drift remains or the audit could not be finished.
    Audit(Audit),
    /// Rebuilds views from the entities, beside the live rows and running invocations, and shows by what they
    /// differ; --swap puts the rebuilt numbers in. For a view that is new or counts otherwise than it did.
    Rebuild(Rebuild),
    /// Lists the records that were set aside, shows them, mends them, and counts them after all.
    Quarantine(Quarantine),
    /// Erases a person from a deployment, beside running invocations: what remains of them is pseudonymous, and
    /// no count changes. Ends with status 1 if something still names them.
    Erase(Erase),
    /// Makes API keys, lists them, ends them, and changes them for new ones.
    Keys(Keys),
    /// Puts the tables back as a daily archive has them: exactly as of one cut through all lanes, from which
    /// delivery goes on. The tables must be empty.
    Restore(Restore),
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

/// What is rebuilt, and whether it is put in.
#[derive(Clone, Debug, Args)]
pub struct Rebuild {
    /// Puts the rebuilt numbers in the place of the live ones: to each row the difference, as one more plan.
    #[arg(long)]
    pub swap: bool,

    /// Rebuilds this view alone; may be given several times. Distinct customers and products are in `summary`.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(VIEWS.iter().map(|view| view.name)))]
    pub view: Vec<String>,

    /// Takes windows and deleted products that are missing for new ones, not for forgotten ones: see `audit`.
    #[arg(long)]
    pub nothing_forgotten: bool,

    /// Prints one JSON document on standard output.
    #[arg(long)]
    pub json: bool,

    /// Where the tables are.
    #[command(flatten)]
    pub deployment: Deployment,
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

/// What is done with API keys.
#[derive(Clone, Debug, Args)]
pub struct Keys {
    /// What is done.
    #[command(subcommand)]
    pub action: KeysAction,

    /// Prints one JSON document on standard output.
    #[arg(long, global = true)]
    pub json: bool,

    /// Where the tables are.
    #[command(flatten)]
    pub deployment: Deployment,
}

/// What is done with API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysAction {
    /// Makes a key and prints it, this once: what is stored is a hash of it, by the variable API_SECRET (the
    /// function's; with the URL of a local stack, that one's).
    Create(CreateKey),
    /// Lists the keys, the ended ones included.
    List,
    /// Ends a key. Within 60 seconds nothing takes it any more.
    Revoke {
        /// The key's id, which stands in the middle of its text, and in the list.
        id: String,
    },
    /// Makes a new key with a key's rights, prints it, and ends the old one a while later.
    Rotate {
        /// The old key's id.
        id: String,

        /// How long the old key is still good.
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=8_760))]
        overlap_hours: u32,
    },
}

/// A key to be made.
#[derive(Clone, Debug, Args)]
pub struct CreateKey {
    /// What people call it.
    #[arg(long)]
    pub name: String,

    /// What its holder may do; may be given several times.
    #[arg(long, required = true, value_name = "SCOPE", value_parser = clap::builder::PossibleValuesParser::new(Scope::ALL.map(|(name, _)| name)))]
    pub scope: Vec<String>,

    /// Binds the key to an app; may be given several times.
    #[arg(long, value_name = "APP", value_parser = app, required_unless_present = "all_apps", conflicts_with = "all_apps")]
    pub app: Vec<String>,

    /// Lets the key see all apps, and the shop, which belongs to none.
    #[arg(long)]
    pub all_apps: bool,

    /// Requests a minute [default: the variable RATE_LIMIT_PER_MINUTE of the function]; 0 is no limit.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub per_minute: Option<u32>,

    /// When the key ends [default: never].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub expires_days: Option<u32>,
}

/// Where a deployment's tables are.
#[derive(Clone, Debug, Args)]
pub struct Deployment {
    /// Uses a DynamoDB at this URL instead of AWS by the environment's region and credentials (an
    /// emulator on this machine needs none).
    #[arg(long, global = true, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,

    /// The table of entities [default: the variable STATE_TABLE; with a URL, tidemark-state].
    #[arg(long, global = true, value_name = "NAME")]
    pub state_table: Option<String>,

    /// The table of rows [default: the variable VIEWS_TABLE; with a URL, tidemark-views].
    #[arg(long, global = true, value_name = "NAME")]
    pub views_table: Option<String>,
}

/// Where a deployment's bucket is.
#[derive(Clone, Debug, Args)]
pub struct ArchiveBucket {
    /// Uses an S3 at this URL instead of AWS, likewise.
    #[arg(long, global = true, value_name = "URL")]
    pub s3_endpoint: Option<String>,

    /// The bucket [default: the variable BUCKET; with a URL of S3, tidemark].
    #[arg(long, global = true, value_name = "NAME")]
    pub bucket: Option<String>,
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

    /// Where the tables are.
    #[command(flatten)]
    pub deployment: Deployment,

    /// Where the records are.
    #[command(flatten)]
    pub place: ArchiveBucket,
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

/// What is restored, and where.
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// The run, by its manifest's name, such as daily-20261120_020000 [default: the newest finished one].
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,

    /// Prints one JSON document on standard output.
    #[arg(long)]
    pub json: bool,

    /// Where the tables are.
    #[command(flatten)]
    pub deployment: Deployment,

    /// Where the archive is.
    #[command(flatten)]
    pub place: ArchiveBucket,
}

/// An app's id.
fn app(text: &str) -> Result<String, String> {
    if (1..=APP_LIMIT).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("no app has an id of {} bytes; take 1 to {APP_LIMIT}", text.len()))
}
