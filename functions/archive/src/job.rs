//! What a schedule asks for, as its input.

use serde::Deserialize;
use tidemark_model::time;

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// `{"job": "daily", "time": "2026-11-20T02:00:00Z"}`: the snapshot of a day.
    Daily {
        /// For when it was scheduled, in ms since 1970; `None` if that is not said.
        at_ms: Option<i64>,
    },
    /// `{"job": "report", "time": ...}`: the five reports.
    Report {
        /// For when they were scheduled, likewise.
        at_ms: Option<i64>,
    },
    /// `{"job": "upkeep"}`.
    Upkeep,
    /// `{"job": "audit"}`, which takes `"repair": true` and `"nothingForgotten": true` beside it.
    Audit {
        /// Whether what has drifted is repaired.
        repair: bool,
        /// See [`tidemark_ledger::AuditOptions`].
        nothing_forgotten: bool,
    },
}

/// An input that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It is no object with a job.
    #[error("the input is no job; it takes {{\"job\": \"daily\"}}, or report, upkeep or audit")]
    Unreadable(#[source] serde_json::Error),
    /// There is no such job.
    #[error("there is no job `{0}`; there are daily, report, upkeep and audit")]
    Unknown(String),
    /// Its time is none.
    #[error("{0}: a schedule's input takes \"<aws.scheduler.scheduled-time>\" there, a person's an ISO time, or none")]
    Time(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    job: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    repair: bool,
    #[serde(default)]
    nothing_forgotten: bool,
}

impl Job {
    /// Reads an input.
    ///
    /// # Errors
    /// If it asks for nothing that there is.
    pub fn read(input: serde_json::Value) -> Result<Self, JobError> {
        let input: Input = serde_json::from_value(input).map_err(JobError::Unreadable)?;
        let time = || input.time.as_deref().map(|text| time::iso("time", text)).transpose().map_err(JobError::Time);
        match input.job.as_str() {
            "daily" => Ok(Self::Daily { at_ms: time()? }),
            "report" => Ok(Self::Report { at_ms: time()? }),
            "upkeep" => Ok(Self::Upkeep),
            "audit" => Ok(Self::Audit { repair: input.repair, nothing_forgotten: input.nothing_forgotten }),
            _ => Err(JobError::Unknown(input.job)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_input_asks_for_one_job() {
        let read = |input| Job::read(input).unwrap();
        let at_ms = Some(1_763_600_400_000);
        assert_eq!(read(json!({"job": "daily", "time": "2025-11-20T01:00:00Z"})), Job::Daily { at_ms });
        assert_eq!(read(json!({"job": "report"})), Job::Report { at_ms: None });
        assert_eq!(read(json!({"job": "upkeep", "time": "any"})), Job::Upkeep);
        let audit = |repair, nothing_forgotten| Job::Audit { repair, nothing_forgotten };
        assert_eq!(read(json!({"job": "audit"})), audit(false, false));
        assert_eq!(read(json!({"job": "audit", "repair": true})), audit(true, false));
        assert_eq!(read(json!({"job": "audit", "nothingForgotten": true})), audit(false, true));
    }

    #[test]
    fn what_is_no_job_is_said_to_be_none() {
        let error = |input| Job::read(input).unwrap_err().to_string();
        assert_eq!(
            error(json!({"job": "cleaning"})),
            "there is no job `cleaning`; there are daily, report, upkeep and audit"
        );
        assert!(error(json!({"records": {}})).starts_with("the input is no job"));
        assert!(error(json!(null)).starts_with("the input is no job"));
        let time = error(json!({"job": "daily", "time": "yesterday"}));
        assert!(time.starts_with("time `yesterday` is not a time: a schedule's input takes"), "{time}");
    }
}
