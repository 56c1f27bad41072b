//! Prometheus's text format, version 0.0.4, of numbers that are known already.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, TextEncoder};

/// The content type of [`text`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What tells a family's samples apart: labels and their values.
pub(crate) type Labels<const N: usize> = [(&'static str, String); N];

/// Observations by size.
pub(crate) struct Observed {
    /// Upper bounds, in their order, and how many were above the one before and not above this one.
    pub(crate) classes: Vec<(f64, u64)>,
    /// How many there were, larger ones included.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: f64,
}

/// Numbers that only grow.
pub(crate) fn counter<const N: usize>(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<N>, f64)>,
) -> MetricFamily {
    family(name, help, MetricType::COUNTER, samples, |metric, n| {
        let mut counter = Counter::default();
        counter.set_value(n);
        metric.set_counter(counter);
    })
}

/// Numbers that may go either way.
pub(crate) fn gauge<const N: usize>(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<N>, f64)>,
) -> MetricFamily {
    family(name, help, MetricType::GAUGE, samples, |metric, n| {
        let mut gauge = Gauge::default();
        gauge.set_value(n);
        metric.set_gauge(gauge);
    })
}

/// Histograms.
pub(crate) fn histogram<const N: usize>(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<N>, Observed)>,
) -> MetricFamily {
    family(name, help, MetricType::HISTOGRAM, samples, |metric, observed| {
        let mut below: u64 = 0;
        let bucket = |(bound, count): (f64, u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(observed.classes.into_iter().map(bucket).collect());
        histogram.set_sample_count(observed.count);
        histogram.set_sample_sum(observed.sum);
        metric.set_histogram(histogram);
    })
}

/// Families as text; one without samples is left out.
///
/// # Errors
/// If a family has no name.
pub(crate) fn text(mut families: Vec<MetricFamily>) -> Result<String, Error> {
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&families)
}

fn family<T, const N: usize>(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = (Labels<N>, T)>,
    set: impl Fn(&mut Metric, T),
) -> MetricFamily {
    let label = |(name, value): (&'static str, String)| {
        let mut label = LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value);
        label
    };
    let metric = |(labels, value): (Labels<N>, T)| {
        let mut metric = Metric::default();
        metric.set_label(labels.into_iter().map(label).collect());
        set(&mut metric, value);
        metric
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().map(metric).collect());
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_anything_and_classes_add_up() {
        let observed = Observed { classes: vec![(0.05, 2), (0.1, 1)], count: 4, sum: 1.25 };
        let found = text(vec![
            counter("a_total", "A.", [([("of", "q\"b\\n\nä".to_owned())], 3.0)]),
            gauge::<0>("empty", "E.", []),
            histogram("took_seconds", "T.", [([], observed)]),
        ]);
        let expected = "# HELP a_total A.\n# TYPE a_total counter\na_total{of=\"q\\\"b\\\\n\\nä\"} 3\n\
            # HELP took_seconds T.\n# TYPE took_seconds histogram\ntook_seconds_bucket{le=\"0.05\"} 2\n\
            took_seconds_bucket{le=\"0.1\"} 3\ntook_seconds_bucket{le=\"+Inf\"} 4\ntook_seconds_sum 1.25\n\
            took_seconds_count 4\n";
        assert_eq!(found.unwrap(), expected);
    }
}
