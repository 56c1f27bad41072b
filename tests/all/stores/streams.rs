//! Small arbitrary streams of all kinds, about few things, so that everything collides. They play today: what is
//! past its TTL is gone from some stores.

use fastrand::Rng;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use tidemark_local::feed::{Log, logs_of};
use tidemark_model::stream::STREAMS;
use tidemark_tests::arbitrary::{Sent, activity_stream_of, metric_stream_of, order_stream_of};
use tidemark_tests::{SALES, oracle, product};

use super::now_ms;

const DAY_MS: i64 = 86_400_000;

pub(super) struct Streams {
    sent: Vec<Sent>,
    /// Records that cannot be read.
    pub(super) broken: i64,
    /// Whether every point of a metric is an entity, too.
    pub(super) identified: bool,
}

impl Streams {
    /// About so many of each, in which some come twice.
    pub(super) fn random(rng: &mut Rng, number: usize) -> Self {
        let midnight = now_ms().div_euclid(DAY_MS) * DAY_MS;
        let seed: [u8; 32] = std::array::from_fn(|_| rng.u8(..));
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        let most = 2 * number;
        let streams =
            (order_stream_of(midnight, most), activity_stream_of(midnight, most), metric_stream_of(midnight, most));
        let (orders, activity, metrics) = streams.new_tree(&mut runner).unwrap().current();
        let identified = metrics.iter().all(|(_, value)| value.contains("\"eventId\":\""));
        let products: Vec<Sent> = (0..number as i64).map(|at| ("products", catalogue(rng, midnight + at))).collect();
        let again = rng.choose_multiple(products.iter(), number / 8).into_iter().cloned().collect();
        let broken = rng.i64(1..4);
        let unreadable = (0..broken).map(|n| ("products", format!("broken {n}"))).collect();
        let mut sent = [products, again, unreadable, orders, activity, metrics].concat();
        rng.shuffle(&mut sent);
        Self { sent, broken, identified }
    }

    fn values<'a>(&'a self, names: &'a [&'static str]) -> impl Iterator<Item = &'a [u8]> {
        self.sent.iter().filter(|(name, _)| names.contains(name)).map(|(_, value)| value.as_bytes())
    }

    pub(super) fn logs(&self, partitions: i32) -> Vec<Log> {
        STREAMS.iter().flat_map(|stream| logs_of(stream, self.values(&[stream.name]), partitions)).collect()
    }

    /// The names of views, and what they must read.
    pub(super) fn truth(&self) -> [(&'static [&'static str], Value); 4] {
        let of = |names: &'static [&'static str]| self.values(names).filter(|value| !value.starts_with(b"broken"));
        [
            (&["sellers", "categories", "lowStock"], oracle::products(of(&["products"]))),
            (&SALES, oracle::orders(of(&["orders"]))),
            (&["apps", "eventTotals"], oracle::activity(of(&["activity", "user-events"]))),
            (&["metrics", "series"], oracle::metrics(of(&["metrics"]))),
        ]
    }
}

/// The deleted are forgotten some time after their event, which is why it is one of today.
fn catalogue(rng: &mut Rng, at: i64) -> String {
    let mut one_of = |of: &[&'static str]| *rng.choice(of).unwrap();
    let kind = one_of(&["Created", "Updated", "Updated", "Deleted"]);
    let (seller, category) = (one_of(&["s", "t#", "ü%"]), one_of(&["c", "d"]));
    let price = one_of(&["0", "2.50", "33.333333333333", "99999.99"]);
    let quantity = *rng.choice(&[0, 3, 9, 10, 500]).unwrap();
    product(rng.i64(1..7), kind, at, seller, category, price, quantity)
}
