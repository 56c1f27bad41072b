//! Configuration by environment variables, read once at cold start.

use std::str::FromStr;
use std::time::Duration;

use tidemark_ledger::{Options, Retry};
use tidemark_model::Settings;
use tidemark_model::stream::Retention;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Everything a deployment can set. The README's table names each variable.
#[derive(Clone, Debug)]
pub struct Config {
    /// `STATE_TABLE`: entities, lanes and plans.
    pub state_table: String,
    /// `VIEWS_TABLE`: rows.
    pub views_table: String,
    /// `BUCKET`: archive and quarantine.
    pub bucket: String,
    /// `KMS_KEY_ARN`: the key that encrypts objects; without one, S3's own.
    pub kms_key: Option<String>,
    /// How records are read: `TOPICS`, `TIME_ZONE`, `CLOCK_SKEW_HOURS`, `LOW_STOCK_THRESHOLD`,
    /// `DECIMAL_SCALE`, `MAX_TAG_SETS`, `STORE_*`, and `*_RETENTION_DAYS` (0 keeps for ever where it may be 0).
    pub settings: Settings,
    /// `ARCHIVE_ENTITIES`: whether entities are archived, too.
    pub archive_entities: bool,
    /// `ARCHIVE_SEGMENTS`: parts of a table that an archive scans beside each other.
    pub archive_segments: u32,
    /// `ARCHIVE_READ_UNITS`: read units a second that its scans may consume.
    pub archive_read_units: u32,
    /// `METRICS_NAMESPACE`: the CloudWatch namespace.
    pub metrics_namespace: String,
    /// `LOG_LEVEL`: from which level on logs are written.
    pub log_level: String,
    /// `SOURCE_EPOCH`, `CONCURRENCY`, `HTTP_LANES`, `TOP_N`, `PLAN_RETENTION_DAYS` and `RETRY_*`.
    pub ledger: Options,
}

/// A variable that is missing or cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not set and has no default.
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    /// It is set to something else than it takes.
    #[error("environment variable {name} is `{value}`, but takes {takes}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Naming the first variable that is missing or invalid.
    pub fn try_from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// Naming the first variable that is missing or invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let source = Source(&variable);
        let tombstone_days = source.within("TOMBSTONE_RETENTION_DAYS", 0, 0, 36_500, "a number of days up to 36500")?;
        let sales_days = source.within("SALES_RETENTION_DAYS", 0, 0, 36_500, "a number of days up to 36500")?;
        Ok(Self {
            state_table: source.required("STATE_TABLE")?,
            views_table: source.required("VIEWS_TABLE")?,
            bucket: source.required("BUCKET")?,
            kms_key: variable("KMS_KEY_ARN").filter(|key| !key.is_empty()),
            settings: Settings {
                routes: source.parsed("TOPICS", "topic=stream pairs with commas between them")?,
                now_ms: 0,
                zone: source.parsed("TIME_ZONE", "a time zone of the IANA database, such as Europe/Berlin")?,
                clock_skew_ms: HOUR_MS * source.within("CLOCK_SKEW_HOURS", 24, 1, 8_760, "hours from 1 to 8760")?,
                decimal_scale: source.within("DECIMAL_SCALE", 2, 0, 12, "a number of digits up to 12")?,
                sales_retention_ms: (sales_days > 0).then_some(sales_days * DAY_MS),
                activity_retention: Retention::days(source.within(
                    "ACTIVITY_RETENTION_DAYS",
                    30,
                    1,
                    36_500,
                    "a number of days from 1 to 36500",
                )?),
                metrics_retention: Retention::days(source.within(
                    "METRICS_RETENTION_DAYS",
                    30,
                    1,
                    36_500,
                    "a number of days from 1 to 36500",
                )?),
                store_ip_address: source.parsed("STORE_IP_ADDRESS", "true or false")?,
                store_user_agent: source.parsed("STORE_USER_AGENT", "true or false")?,
                max_tag_sets: source.within("MAX_TAG_SETS", 1_000, 1, 10_000, "a number from 1 to 10000")?,
                low_stock_threshold: source.within(
                    "LOW_STOCK_THRESHOLD",
                    10,
                    0,
                    1_000_000_000,
                    "a quantity up to 10^9",
                )?,
                tombstone_retention_ms: (tombstone_days > 0).then_some(tombstone_days * DAY_MS),
                quarantine_retention_ms: DAY_MS
                    * source.within("QUARANTINE_RETENTION_DAYS", 90, 1, 3_650, "a number of days from 1 to 3650")?,
            },
            archive_entities: source.flag("ARCHIVE_ENTITIES", true)?,
            archive_segments: source.within("ARCHIVE_SEGMENTS", 4, 1, 64, "a number of segments from 1 to 64")?,
            archive_read_units: source.within(
                "ARCHIVE_READ_UNITS",
                3_000,
                1,
                1_000_000,
                "a number of read units a second from 1 to 10^6",
            )?,
            log_level: variable("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()),
            metrics_namespace: variable("METRICS_NAMESPACE").unwrap_or_else(|| "Tidemark".to_owned()),
            ledger: Options {
                epoch: source.within("SOURCE_EPOCH", 0, 0, u32::MAX, "a whole number from 0")?,
                concurrency: source.within("CONCURRENCY", 32, 1, 500, "a number of requests from 1 to 500")?,
                http_lanes: source.within("HTTP_LANES", 8, 1, 64, "a number of lanes from 1 to 64")?,
                top: source.within("TOP_N", 100, 1, 1_000, "a number from 1 to 1000")?,
                plan_retention_s: 86_400
                    * source.within("PLAN_RETENTION_DAYS", 14, 1, 3_650, "a number of days from 1 to 3650")?,
                retry: Retry {
                    max_attempts: source.within(
                        "RETRY_MAX_ATTEMPTS",
                        10,
                        1,
                        100,
                        "a number of attempts from 1 to 100",
                    )?,
                    initial: source.millis("RETRY_INITIAL_MS", 2_000)?,
                    factor: source.within("RETRY_FACTOR", 2.0, 1.0, 100.0, "a factor from 1 to 100")?,
                    cap: source.millis("RETRY_CAP_MS", 60_000)?,
                },
                ..Options::default()
            },
        })
    }
}

/// Where variables are read from, by name.
pub struct Source<'a, F>(pub &'a F);

impl<F: Fn(&str) -> Option<String>> Source<'_, F> {
    /// What must be set.
    ///
    /// # Errors
    /// Where it is missing or empty.
    pub fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        (self.0)(name).filter(|value| !value.is_empty()).ok_or(ConfigError::Missing(name))
    }

    /// What has a default and bounds, both of which it takes.
    ///
    /// # Errors
    /// Where it is no such value or beyond them.
    pub fn within<T>(
        &self,
        name: &'static str,
        default: T,
        least: T,
        most: T,
        takes: &'static str,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd,
    {
        let Some(value) = (self.0)(name) else { return Ok(default) };
        match value.parse() {
            Ok(n) if least <= n && n <= most => Ok(n),
            _ => Err(ConfigError::Invalid { name, value, takes }),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        match (self.0)(name) {
            Some(_) => self.parsed(name, "true or false"),
            None => Ok(default),
        }
    }

    fn parsed<T: FromStr + Default>(&self, name: &'static str, takes: &'static str) -> Result<T, ConfigError> {
        let Some(value) = (self.0)(name) else { return Ok(T::default()) };
        value.parse().map_err(|_| ConfigError::Invalid { name, value, takes })
    }

    fn millis(&self, name: &'static str, default: u64) -> Result<Duration, ConfigError> {
        self.within(name, default, 0, 900_000, "milliseconds up to 900000").map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let required = [("STATE_TABLE", "s"), ("VIEWS_TABLE", "v"), ("BUCKET", "b")];
        let all: Vec<_> = set.iter().chain(&required).collect();
        Config::read(|name| all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[]).unwrap();
        assert_eq!(config.settings.low_stock_threshold, 10);
        assert_eq!(config.settings.tombstone_retention_ms, None);
        assert_eq!(config.settings.quarantine_retention_ms, 90 * DAY_MS);
        assert_eq!(config.ledger.retry.max_attempts, 10);
        assert_eq!(config.ledger.retry.initial, Duration::from_secs(2));
        assert_eq!(config.ledger.retry.cap, Duration::from_secs(60));
    }

    #[test]
    fn a_missing_or_odd_variable_is_named() {
        assert_eq!(read(&[("BUCKET", "")]).unwrap_err(), ConfigError::Missing("BUCKET"));
        for (name, value) in [
            ("SOURCE_EPOCH", "-1"),
            ("RETRY_FACTOR", "NaN"),
            ("CONCURRENCY", "0"),
            ("HTTP_LANES", "65"),
            ("RETRY_CAP_MS", "1s"),
            ("TOPICS", "product.created=cats"),
            ("TIME_ZONE", "Mars/Olympus"),
            ("STORE_IP_ADDRESS", "yes"),
            ("MAX_TAG_SETS", "0"),
            ("QUARANTINE_RETENTION_DAYS", "0"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(value), "{message}");
        }
    }
}
