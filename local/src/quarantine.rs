//! The quarantine on the command line: what was set aside, how it stands, mending and redriving.

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use tidemark_archive::{Quarantine, Quarantined, Wanted};
use tidemark_ledger::{Call, Redriven, Store};
use tidemark_model::kafka::RawRecord;
use tidemark_model::time::utc;
use tidemark_model::{Origin, SetAside};
use tidemark_runtime::now_ms;

use crate::commands::{self, Action};
use crate::deployment::{self, Opened};
use crate::show;

/// How a record in the quarantine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It counts nowhere, and can be redriven.
    SetAside,
    /// The same, and it was mended.
    Fixed,
    /// It counts by now, once.
    Redriven,
    /// The tables do not know it: its batch was not committed with it set aside, or they have forgotten it.
    NotCommitted,
}

/// A record in the quarantine, for people and scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Kafka's time of it, in ISO 8601, where it has one.
    pub when: Option<String>,
    /// Why it was set aside.
    pub reason: String,
    /// How it stands.
    pub state: Standing,
}

/// A record in the quarantine, whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// What a list says of it.
    #[serde(flatten)]
    pub listed: Listed,
    /// Its key, where that is a text.
    pub key: Option<String>,
    /// Its value.
    pub value: Content,
    /// The value that it was mended to.
    pub fixed: Option<Content>,
    /// The record as it arrived.
    pub record: String,
}

/// A value, as far as it can be read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// It is UTF-8.
    Text(String),
    /// It is not: in base64.
    Base64(String),
    /// There is none, or it cannot be read: why.
    None(&'static str),
}

/// What became of a record that was to be redriven.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What became of it, in words.
    pub outcome: String,
    /// Whether it is still set aside.
    pub remains: bool,
}

/// Does what is asked for; fails if something that was to be redriven remains set aside.
///
/// # Errors
/// If the stores are not named, a request fails, or it is not clear which record is meant.
pub async fn run(asked: &commands::Quarantine) -> Result<ExitCode, Box<dyn Error>> {
    let Opened { ledger, bucket, settings, epoch } = deployment::open(&asked.deployment, &asked.place).await?;
    let quarantine = Quarantine::new(bucket, epoch);
    let wanted = Wanted { topic: asked.topic.clone(), partition: asked.partition, offset: asked.offset };
    let says_which = wanted.topic.is_some() || wanted.partition.is_some() || wanted.offset.is_some();
    if matches!(asked.action, Action::Redrive { all: false }) && !says_which {
        return Err("which records? Say it by --topic, --partition and --offset, or --all".into());
    }
    let records = quarantine.records(&wanted).await?;
    let call = || Call { now_ms: now_ms(), deadline: None };
    match &asked.action {
        Action::List => {
            let known = ledger.set_aside(&origins(&records), call()).await?;
            let listed: Vec<Listed> =
                records.iter().zip(&known).map(|(of, known)| listed(of, known.as_ref())).collect();
            print(asked.json, &listed, show::quarantine)?;
        }
        Action::Show => {
            let known = ledger.set_aside(&origins(&records), call()).await?;
            let shown: Vec<Shown> = records.iter().zip(&known).map(|(of, known)| shown(of, known.as_ref())).collect();
            print(asked.json, &shown, show::set_aside)?;
        }
        Action::Fix { value } => {
            let [record] = records.as_slice() else {
                return Err(
                    format!("{} records fit; name one by --topic, --partition and --offset", records.len()).into()
                );
            };
            let fixed = RawRecord::parse(&record.record)?.with_value(&read(value)?).to_json();
            println!("{}", quarantine.fix(&record.origin, fixed).await?);
        }
        Action::Redrive { .. } => {
            let retention = ledger.send(|| ledger.store().read_retention(), call()).await?.value;
            let settings = retention.applied_to(&settings, now_ms());
            let mut outcomes = Vec::new();
            for Quarantined { origin, record, fixed, .. } in records {
                let record = fixed.unwrap_or(record);
                let redriven = ledger.redrive(&origin, record, &settings, call()).await?;
                let outcome = outcome(origin, redriven);
                if !asked.json {
                    println!("{}", show::redriven(&outcome));
                }
                outcomes.push(outcome);
            }
            let remain = outcomes.iter().filter(|outcome| outcome.remains).count();
            if asked.json {
                println!("{}", serde_json::to_string(&outcomes)?);
            } else {
                println!("{} records: {} count, {remain} remain set aside.", outcomes.len(), outcomes.len() - remain);
            }
            return Ok(if remain == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print<T: Serialize>(json: bool, what: &[T], text: impl Fn(&[T]) -> String) -> serde_json::Result<()> {
    println!("{}", if json { serde_json::to_string(what)? } else { text(what) });
    Ok(())
}

fn origins(records: &[Quarantined]) -> Vec<Origin> {
    records.iter().map(|record| record.origin.clone()).collect()
}

fn listed(record: &Quarantined, known: Option<&SetAside>) -> Listed {
    let when = RawRecord::parse(&record.record).ok().and_then(|record| record.timestamp_ms());
    Listed {
        origin: record.origin.clone(),
        when: when.map(utc),
        reason: record.reason.clone(),
        state: match known {
            None => Standing::NotCommitted,
            Some(SetAside { redriven: true, .. }) => Standing::Redriven,
            Some(_) if record.fixed.is_some() => Standing::Fixed,
            Some(_) => Standing::SetAside,
        },
    }
}

fn shown(record: &Quarantined, known: Option<&SetAside>) -> Shown {
    Shown {
        listed: listed(record, known),
        key: RawRecord::parse(&record.record).ok().and_then(|record| record.key()),
        value: content(&record.record),
        fixed: record.fixed.as_deref().map(content),
        record: record.record.clone(),
    }
}

fn content(record: &str) -> Content {
    let mut value = Vec::new();
    match RawRecord::parse(record).map(|record| record.append_value(&mut value)) {
        Ok(Ok(true)) => match String::from_utf8(value) {
            Ok(text) => Content::Text(text),
            Err(other) => Content::Base64(base64_simd::STANDARD.encode_to_string(other.as_bytes())),
        },
        Ok(Ok(false)) => Content::None("there is none"),
        Ok(Err(reason)) => Content::None(reason),
        Err(_) => Content::None("it is no record of Kafka's"),
    }
}

fn outcome(origin: Origin, redriven: Redriven) -> Outcome {
    let (outcome, remains) = match redriven {
        Redriven::Counted => ("counts now".to_owned(), false),
        Redriven::Before => ("counted already".to_owned(), false),
        Redriven::Empty => ("says nothing, and is settled".to_owned(), false),
        Redriven::Unknown => ("is refused: it was not committed as set aside, or that was forgotten".to_owned(), true),
        Redriven::Late => ("is refused: it is older than what is kept".to_owned(), true),
        Redriven::Rejected(reason) => (format!("still cannot be counted: {reason}"), true),
    };
    Outcome { origin, outcome, remains }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut value = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut value)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut value))
    };
    read.map(|_| value).map_err(|e| format!("{}: {e}", file.display()))
}
