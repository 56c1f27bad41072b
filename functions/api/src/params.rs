//! Query parameters: read one by one, complained about all at once.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use sha2::{Digest, Sha256};
use tidemark_model::time::{self, Zone};

use crate::{Api, Days, FieldError, Problem, Range};

/// Parameters of one request at most.
const MOST: usize = 50;
/// How many a list gives where `limit` is not given.
pub(crate) const LIMIT: usize = 100;
/// How many it gives at most.
pub(crate) const LIMITS: RangeInclusive<usize> = 1..=1_000;
/// Times that can be asked for, in ms since 1970: in keys, those of more than thirteen digits are in another order.
const TIMES: RangeInclusive<i64> = 0..=*time::IN_ORDER_MS.end();
/// Days that a time range has at most.
const RANGE_DAYS: i64 = 366;

/// The query parameters of a request. What was asked for by name is known; [`Params::finish`] refuses what was
/// not, and says all that was wrong.
#[derive(Debug)]
pub struct Params {
    path: String,
    pairs: Vec<(String, String)>,
    asked: Vec<&'static str>,
    errors: Vec<FieldError>,
    now_ms: i64,
}

impl Params {
    /// Reads a query string of a path.
    ///
    /// # Errors
    /// If it has more parameters than any request needs, or one twice.
    pub fn read(path: &str, query: &str, now_ms: i64) -> Result<Self, Problem> {
        let refused = |field: &str, reason: String| Problem::invalid(vec![FieldError::new(field, reason)]);
        if query.split('&').nth(MOST).is_some() {
            return Err(refused("(query)", format!("has more than {MOST} parameters; take fewer")));
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let twice = pairs.iter().enumerate().find(|(at, (name, _))| pairs.iter().take(*at).any(|(n, _)| n == name));
        if let Some((_, (name, _))) = twice {
            return Err(refused(name, "is given more than once".to_owned()));
        }
        Ok(Self { path: path.to_owned(), pairs, asked: Vec::new(), errors: Vec::new(), now_ms })
    }

    /// The value of a parameter, as it came; empty counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A digest of what was asked, but for the page of it.
    pub fn question(&self) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| name != "cursor" && name != "limit").collect();
        pairs.sort_unstable();
        let text = serde_json::to_string(&(&self.path, pairs)).unwrap_or_default();
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Notes what is wrong with a parameter.
    pub fn refuse(&mut self, name: &str, reason: impl Into<String>) {
        self.errors.push(FieldError::new(name, reason));
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        self.get(name).map(str::to_owned)
    }

    /// A text that must be given.
    pub fn required(&mut self, name: &'static str) -> String {
        let text = self.text(name);
        if text.is_none() {
            self.refuse(name, "is required");
        }
        text.unwrap_or_default()
    }

    /// An id that must be given, of so many bytes at most: none is longer.
    pub fn id(&mut self, name: &'static str, most: usize) -> String {
        let id = self.required(name);
        if id.len() > most {
            self.refuse(name, format!("is longer than {most} bytes, and so is no id"));
        }
        id
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &'static str, bounds: RangeInclusive<usize>) -> Option<usize> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.refuse(name, format!("takes a whole number from {} to {}", bounds.start(), bounds.end()));
        }
        number
    }

    /// How many a page shows: the parameter `limit`.
    pub fn limit(&mut self) -> usize {
        self.page(LIMITS).unwrap_or(LIMIT)
    }

    /// How many a page shows, of a route that takes `limit` and `cursor`.
    pub fn page(&mut self, bounds: RangeInclusive<usize>) -> Option<usize> {
        self.asked.push("cursor");
        self.number("limit", bounds)
    }

    /// One of some words.
    pub fn one_of<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(name, format!("takes one of {}", words.join(", ")));
        }
        found
    }

    /// A time zone of the IANA database.
    pub fn zone(&mut self, name: &'static str) -> Option<Zone> {
        let zone = self.text(name)?.parse();
        zone.map_err(|reason: String| self.refuse(name, reason)).ok()
    }

    /// A time: ISO 8601, ms since 1970, or relative to now, such as `-24h`, `-90m`, `-7d`, `now`.
    pub fn time(&mut self, name: &'static str) -> Option<i64> {
        let ms = self.any_time(name)?;
        if TIMES.contains(&ms) {
            return Some(ms);
        }
        self.refuse(name, "is not between 1970 and 2286");
        None
    }

    fn any_time(&mut self, name: &'static str) -> Option<i64> {
        let text = self.text(name)?;
        let time = relative(&text, self.now_ms).or_else(|| text.parse().ok()).map_or_else(
            || time::iso(name, &text).map_err(|_| "takes ISO 8601, ms since 1970, or a relative time such as `-24h`"),
            Ok,
        );
        time.map_err(|reason| self.refuse(name, reason)).ok()
    }

    /// The range from `startTime` to `endTime`: up to now, and so many ms back, where they are not given. The end
    /// itself is not in it.
    pub fn range(&mut self, back_ms: i64) -> Range {
        let end_ms = self.time("endTime").unwrap_or(self.now_ms);
        let start_ms = self.time("startTime").unwrap_or(end_ms.saturating_sub(back_ms));
        if start_ms >= end_ms {
            self.refuse("startTime", "is not before endTime");
        } else if end_ms.saturating_sub(start_ms) > RANGE_DAYS * time::DAY_MS {
            self.refuse("startTime", format!("is more than {RANGE_DAYS} days before endTime; ask for less at once"));
        }
        Range { start_ms, end_ms }
    }

    /// The range from `startTime` to `endTime`, open where they are not given.
    pub fn open_range(&mut self) -> Range {
        let end_ms = self.time("endTime").unwrap_or(time::LATEST_MS);
        let start_ms = self.time("startTime").unwrap_or(0);
        if start_ms >= end_ms {
            self.refuse("startTime", "is not before endTime");
        }
        Range { start_ms, end_ms }
    }

    /// A date, as ISO 8601 writes it; in days since 1970.
    pub fn date(&mut self, name: &'static str) -> Option<i64> {
        let text = self.text(name)?;
        let day = day_of(&text);
        if day.is_none() {
            self.refuse(name, "takes a date such as `2025-01-31`");
        }
        day
    }

    /// The days from `from` to `to`, both in it: up to today, which a zone tells, and so many, where they are not
    /// given.
    pub fn days(&mut self, count: i64, zone: &Zone) -> Days {
        let today = day_of(&zone.day(self.now_ms).date).unwrap_or_default();
        let last = self.date("to").unwrap_or(today);
        let days = Days { first: self.date("from").unwrap_or(last - count + 1), last };
        if days.first > days.last {
            self.refuse("from", "is after to");
        } else if days.count() > RANGE_DAYS {
            self.refuse("from", format!("makes it more than {RANGE_DAYS} days; ask for less at once"));
        }
        days
    }

    /// The query of the same question on another page.
    pub fn turned(&self, cursor: &str) -> String {
        let pairs = self.pairs.iter().filter(|(name, _)| name != "cursor");
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).append_pair("cursor", cursor).finish()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400, with all that was wrong, and with parameters that nobody asked for.
    pub fn finish(&mut self) -> Result<(), Problem> {
        let mut errors = std::mem::take(&mut self.errors);
        let unknown = self.pairs.iter().filter(|(name, _)| !self.asked.contains(&name.as_str()));
        errors.extend(unknown.map(|(name, _)| FieldError::new(name.as_str(), "is no parameter of this route")));
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }
}

/// The day of a date, in days since 1970.
fn day_of(date: &str) -> Option<i64> {
    let ms = time::iso("date", date).ok()?;
    (Zone::default().day(ms).date == date).then(|| ms.div_euclid(time::DAY_MS))
}

/// A time before now, as `-{number}{s|m|h|d}`; or `now`.
fn relative(text: &str, now_ms: i64) -> Option<i64> {
    if text == "now" {
        return Some(now_ms);
    }
    let text = text.strip_prefix('-')?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => time::MINUTE_MS,
        "h" => 60 * time::MINUTE_MS,
        "d" => time::DAY_MS,
        _ => return None,
    };
    let number: i64 = number.parse().ok().filter(|number| *number >= 0)?;
    now_ms.checked_sub(number.checked_mul(unit_ms)?)
}

impl FromRequestParts<Arc<Api>> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let now_ms = api.call(&parts.extensions).now_ms;
        Self::read(parts.uri.path(), parts.uri.query().unwrap_or_default(), now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000 * time::DAY_MS;

    fn time_of(text: &str) -> Option<i64> {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("t", text).finish();
        Params::read("/", &query, NOW).unwrap().time("t")
    }

    #[test]
    fn a_time_is_iso_or_ms_or_relative() {
        for (text, expected) in [
            ("now", Some(NOW)),
            ("-24h", Some(NOW - time::DAY_MS)),
            ("-90m", Some(NOW - 90 * time::MINUTE_MS)),
            ("-0s", Some(NOW)),
            ("1972-09-27T00:00:00Z", Some(NOW)),
            ("1972-09-27T02:00:00+02:00", Some(NOW)),
            ("86400000000", Some(86_400_000_000)),
            ("24h", None),
            ("-h", None),
            ("--1h", None),
            ("-99999999999999999999h", None),
            ("-9223372036854775807d", None),
            ("yesterday", None),
        ] {
            assert_eq!(time_of(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut params = Params::read("/", "limit=0&startTime=x&typo=1", NOW).unwrap();
        let _ = (params.limit(), params.range(1), params.required("appId"));
        let problem = serde_json::to_value(params.finish().unwrap_err()).unwrap();
        let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
        assert_eq!(fields, ["limit", "startTime", "appId", "typo"]);
    }

    #[test]
    fn more_parameters_than_any_request_needs_are_not_read() {
        assert!(Params::read("/", &"a=1&".repeat(2_000), NOW).is_err());
        assert!(Params::read("/", "a=1&a=2", NOW).is_err());
    }
}
