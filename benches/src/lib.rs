//! What the benchmarks share: a full invocation, CPU time as criterion's measure, and a table of
//! the results as ratios of one run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use cpu_time::{ProcessTime, ThreadTime};
use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use serde_json::Value;

/// Records of a full invocation: at 400 bytes each, 6.27 MB of the 6 MiB that Lambda allows.
pub const RECORDS: usize = 8_900;
/// Bytes of a record's value.
pub const VALUE_BYTES: usize = 400;
/// Products that the records are about.
pub const PRODUCTS: usize = 5_000;

/// The values of a full invocation: updates in the documented form.
pub fn values(at: i64) -> Vec<String> {
    (0..RECORDS).map(|n| value(n, at)).collect()
}

fn value(n: usize, at: i64) -> String {
    let product = n % PRODUCTS;
    let mixed = (product * 7919 + n * 31) % 100_000;
    let timestamp = at + n as i64;
    let event = |description: &str| {
        format!(
            r#"{{"eventId":"seller-{s}-{product}-ProductUpdated-{timestamp}","eventType":"ProductUpdated","timestamp":{timestamp},"data":{{"productId":{product},"sellerId":"seller-{s}","name":"Product {product}","description":"{description}","price":{}.{:02},"quantity":{},"category":"Category {}","createdAt":"2025-01-01T00:00:00.021Z","updatedAt":"2025-01-01T00:00:00.038Z"}}}}"#,
            mixed % 900 + 1,
            mixed % 100,
            if product.is_multiple_of(33) { mixed % 10 } else { 10 + mixed % 490 },
            product % 20,
            s = product % 100,
        )
    };
    event(&"d".repeat(VALUE_BYTES.saturating_sub(event("").len())))
}

/// The values as an event-source mapping delivers them, in one partition.
pub fn invocation(values: &[String]) -> Bytes {
    let mut json = String::from(
        r#"{"eventSource":"aws:kafka","eventSourceArn":"arn:aws:kafka:us-east-1:123456789012:cluster/c/1","bootstrapServers":"b-1:9092","records":{"product.updated-0":["#,
    );
    for (offset, value) in values.iter().enumerate() {
        let comma = if offset > 0 { "," } else { "" };
        let value = base64_simd::STANDARD.encode_to_string(value);
        write!(
            json,
            r#"{comma}{{"topic":"product.updated","partition":0,"offset":{offset},"timestamp":{},"timestampType":"CREATE_TIME","key":"c2VsbGVyLTIy","value":"{value}","headers":[]}}"#,
            1_735_689_600_000_i64 + offset as i64,
        )
        .unwrap();
    }
    json.push_str("]}}");
    json.into()
}

/// A clock of CPU time.
pub trait Clock: Copy {
    fn start() -> Self;
    fn spent(self) -> Duration;
}

impl Clock for ProcessTime {
    fn start() -> Self {
        Self::now()
    }
    fn spent(self) -> Duration {
        self.elapsed()
    }
}

impl Clock for ThreadTime {
    fn start() -> Self {
        Self::now()
    }
    fn spent(self) -> Duration {
        self.elapsed()
    }
}

/// CPU time as criterion's measure: of the process, or of the measuring thread alone.
pub struct Cpu<C>(PhantomData<C>);

impl<C> Default for Cpu<C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<C: Clock> Measurement for Cpu<C> {
    type Intermediate = C;
    type Value = Duration;

    fn start(&self) -> C {
        C::start()
    }
    fn end(&self, started: C) -> Duration {
        started.spent()
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The median of a benchmark that has just run, in ns of CPU per iteration.
pub fn median_ns(group: &str, name: &str) -> f64 {
    let target =
        std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into());
    let estimates = format!("{target}/criterion/{group}/{name}/new/estimates.json");
    let text = std::fs::read_to_string(&estimates).unwrap_or_else(|e| panic!("{estimates}: {e}"));
    serde_json::from_str::<Value>(&text).unwrap()["median"]["point_estimate"].as_f64().unwrap()
}

/// Elements per iteration for criterion's rate.
pub fn records() -> Throughput {
    Throughput::Elements(RECORDS as u64)
}
