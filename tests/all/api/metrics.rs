//! Metrics over HTTP, against brute force over their points, in an autumn in which clocks change.

use std::collections::BTreeMap;

use clap::Parser;
use fastrand::Rng;
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_ledger::Call;
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_local::cli::Options;
use tidemark_local::stack::Stack;
use tidemark_model::Decimal;
use tidemark_model::time::{DAY_MS, MINUTE_MS, utc};
use tidemark_tests::api::{Served, asked};
use tidemark_tests::invocation;

/// 2024-11-06, after the clocks of Berlin (27 October) and New York (3 November) were changed.
const NOW_MS: i64 = 1_730_851_200_000;
const BERLIN_MS: i64 = 1_729_990_800_000;
const NEW_YORK_MS: i64 = 1_730_613_600_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// What was measured.
#[derive(Clone, Debug)]
struct Point {
    at: i64,
    cents: i64,
    kind: &'static str,
    tags: BTreeMap<&'static str, &'static str>,
}

fn point(rng: &mut Rng) -> Point {
    let mut tags = BTreeMap::new();
    for (name, values) in [("region", ["eu", "us", ""]), ("path", ["/a,b", "/c:d#%", ""]), ("p:d", ["x", "é😀", ""])]
    {
        let value = values[rng.usize(..3)];
        if !value.is_empty() {
            tags.insert(name, value);
        }
    }
    let spread = [10, 1_000, 100_000][rng.usize(..3)];
    Point {
        // Some of them at the very edges of windows.
        at: NOW_MS - rng.i64(1..12 * 96) * 15 * MINUTE_MS + rng.choice([0, 0, 1, -1, 59_999, 777_777]).unwrap(),
        cents: rng.i64(-spread..spread * 5),
        kind: ["timer", "gauge"][rng.usize(..2)],
        tags,
    }
}

async fn served(points: &[Point]) -> Served {
    let stack = Stack::start(&Options::parse_from(["tidemark"])).await.unwrap();
    let value = |point: &Point| {
        let value = Decimal::scaled(point.cents.into(), 2).unwrap().to_string();
        let json = json!({
            "appId": "app", "metricName": "latency", "metricType": point.kind, "value": 0,
            "tags": point.tags, "timestamp": point.at,
        });
        json.to_string().replace("\"value\":0", &format!("\"value\":{value}"))
    };
    let values: Vec<String> = points.iter().map(value).collect();
    let call = Call { now_ms: NOW_MS, deadline: None };
    let payload = invocation("analytics.metrics", 0, 0, &values);
    let (report, outcome) = stack.aggregate.handle(payload, call).await;
    outcome.unwrap();
    assert_eq!((report.rejects.len(), report.late), (0, 0));
    Served::at(stack, NOW_MS).await
}

/// How far a zone's clocks are ahead of UTC.
fn ahead_ms(zone: &str, at: i64) -> i64 {
    match zone {
        "Europe/Berlin" => {
            if at < BERLIN_MS {
                2 * HOUR_MS
            } else {
                HOUR_MS
            }
        }
        "America/New_York" => {
            if at < NEW_YORK_MS {
                -4 * HOUR_MS
            } else {
                -5 * HOUR_MS
            }
        }
        "Asia/Kathmandu" => 5 * HOUR_MS + 45 * MINUTE_MS,
        _ => 0,
    }
}

/// Values in cents, by when their window begins and ends.
type ByWindow = BTreeMap<(i64, i64), Vec<i64>>;

/// What is asked; `None` is not given.
#[derive(Debug)]
struct Asked {
    start: i64,
    end: i64,
    aggregation: &'static str,
    window: Option<&'static str>,
    zone: Option<&'static str>,
    kind: Option<&'static str>,
    tags: Vec<(&'static str, &'static str)>,
    group_by: Vec<&'static str>,
    limit: usize,
}

impl Asked {
    fn any(rng: &mut Rng) -> Self {
        let start = NOW_MS - rng.i64(1..13 * DAY_MS);
        let longest = [20 * MINUTE_MS, 5 * HOUR_MS, 12 * DAY_MS][rng.usize(..3)];
        let window = [None, Some("1m"), Some("15m"), Some("1h"), Some("1d"), Some("1d")][rng.usize(..6)];
        // Windows of a minute are fewer than 11,000.
        let longest = if window == Some("1m") { longest.min(5 * DAY_MS) } else { longest };
        let tags = [("region", "eu"), ("path", "/a,b"), ("path", "/c:d#%"), ("p:d", "é😀")];
        let names = ["region", "path", "p:d", "none"];
        Self {
            start,
            end: start + rng.i64(1..longest),
            aggregation: ["mean", "sum", "count", "min", "max", "median", "p90", "p95", "p99", "rate"][rng.usize(..10)],
            window,
            zone: [None, Some("Europe/Berlin"), Some("America/New_York"), Some("Asia/Kathmandu")][rng.usize(..4)],
            kind: [None, None, Some("timer")][rng.usize(..3)],
            tags: tags.into_iter().filter(|_| rng.u8(..6) == 0).collect(),
            group_by: names.into_iter().filter(|_| rng.u8(..3) == 0).collect(),
            limit: [1, 3, 100][rng.usize(..3)],
        }
    }

    fn path(&self) -> String {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:");
        let tags: Vec<String> = self.tags.iter().map(|(n, v)| format!("{}:{}", escaped(n), escaped(v))).collect();
        let (tags, group_by) = (tags.join(","), self.group_by.join(","));
        let (start, end, limit) = (self.start.to_string(), utc(self.end), self.limit.to_string());
        let mut parameters = vec![("appId", "app"), ("metricName", "latency"), ("aggregation", self.aggregation)];
        parameters.extend([("startTime", &*start), ("endTime", &*end), ("limit", &*limit)]);
        parameters.extend([("tags", &*tags), ("groupBy", &*group_by)]);
        parameters.extend(self.window.map(|window| ("window", window)));
        parameters.extend(self.zone.map(|zone| ("timeZone", zone)));
        parameters.extend(self.kind.map(|kind| ("metricType", kind)));
        asked("/analytics/metrics", &parameters)
    }

    /// When the window of a time begins and ends.
    fn window(&self, at: i64) -> (i64, i64) {
        let width = match self.window {
            Some("15m") => 15 * MINUTE_MS,
            Some("1h") => HOUR_MS,
            Some("1d") => DAY_MS,
            _ => MINUTE_MS,
        };
        if width < DAY_MS {
            return (at.div_euclid(width) * width, at.div_euclid(width) * width + width);
        }
        let zone = self.zone.unwrap_or("UTC");
        let day = (at + ahead_ms(zone, at)).div_euclid(DAY_MS);
        // Neither clock is changed at midnight.
        let begins = |day: i64| {
            [-5, -4, 0, 1, 2]
                .map(|hours| day * DAY_MS - hours * HOUR_MS)
                .into_iter()
                .chain([day * DAY_MS - ahead_ms("Asia/Kathmandu", 0)])
                .find(|ms| ms + ahead_ms(zone, *ms) == day * DAY_MS)
                .unwrap()
        };
        (begins(day), begins(day + 1))
    }

    /// The range that is covered.
    fn covered(&self) -> (i64, i64) {
        (self.window(self.start).0, self.window(self.end - 1).1)
    }

    /// The window whose value a time counts for.
    fn counted_in(&self, at: i64) -> (i64, i64) {
        if self.window.is_none() { self.covered() } else { self.window(at) }
    }

    /// The values, by group and window.
    fn expected(&self, points: &[Point]) -> Vec<(Value, Vec<i64>, ByWindow)> {
        let (from, to) = self.covered();
        let mut groups: BTreeMap<Vec<Option<&str>>, ByWindow> = BTreeMap::new();
        for point in points.iter().filter(|point| (from..to).contains(&point.at)) {
            let is_asked = self.kind.is_none_or(|kind| point.kind == kind)
                && self.tags.iter().all(|(name, value)| point.tags.get(name) == Some(value));
            if is_asked {
                let group = self.group_by.iter().map(|name| point.tags.get(name).copied()).collect();
                groups.entry(group).or_default().entry(self.counted_in(point.at)).or_default().push(point.cents);
            }
        }
        let mut series: Vec<_> = groups
            .into_iter()
            .map(|(group, windows)| {
                let tags: Value = self.group_by.iter().zip(&group).map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
                let all: Vec<i64> = windows.values().flatten().copied().collect();
                (group, tags, all, windows)
            })
            .collect();
        series.sort_by(|(a, _, one, _), (b, _, other, _)| other.len().cmp(&one.len()).then_with(|| a.cmp(b)));
        series.into_iter().map(|(_, tags, all, windows)| (tags, all, windows)).collect()
    }

    /// Whether a value is the aggregation of these cents over a window of so many seconds.
    fn is_value(&self, value: Decimal, mut cents: Vec<i64>, seconds: i64) -> bool {
        cents.sort_unstable();
        let exact = |cents: i64| Decimal::scaled(cents.into(), 2).unwrap();
        let (sum, count) = (exact(cents.iter().sum()), Decimal::whole(cents.len() as i64));
        let at = |q: f64| {
            let exact = exact(cents[(q * (cents.len() - 1) as f64).floor() as usize]).to_f64();
            (value.to_f64() - exact).abs() <= exact.abs() * 0.0100001 + 1e-9
        };
        match self.aggregation {
            "mean" => value == sum.mean(count).unwrap(),
            "sum" => value == sum,
            "count" => value == count,
            "min" => value == exact(cents[0]),
            "max" => value == exact(cents[cents.len() - 1]),
            "median" => at(0.5),
            "p90" => at(0.9),
            "p95" => at(0.95),
            "p99" => at(0.99),
            _ => value == sum.mean(Decimal::whole(seconds)).unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_aggregation_over_windows_zones_tags_and_groups_is_what_the_points_say() {
    let mut rng = Rng::with_seed(7);
    let points: Vec<Point> = (0..1_500).map(|_| point(&mut rng)).collect();
    let served = served(&points).await;
    let mut values = 0;
    for _ in 0..400 {
        let asked = Asked::any(&mut rng);
        let answer = served.get(&asked.path()).await.exact();
        let (from, to) = asked.covered();
        assert_eq!((&answer["from"], &answer["to"]), (&json!(utc(from)), &json!(utc(to))), "{asked:?}");
        let mut expected = asked.expected(&points);
        assert_eq!(answer["series"], json!(expected.len().to_string()), "{asked:?}");
        expected.truncate(asked.limit);
        let found = answer["items"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{asked:?}");
        for (found, (tags, all, windows)) in found.iter().zip(expected) {
            assert_eq!((&found["tags"], &found["count"]), (&tags, &json!(all.len().to_string())), "{asked:?}");
            let found = found["points"].as_array().unwrap();
            let starts: Vec<&str> = found.iter().map(|point| point["start"].as_str().unwrap()).collect();
            assert_eq!(starts, windows.keys().map(|(start, _)| utc(*start)).collect::<Vec<_>>(), "{asked:?}");
            for (found, ((start, end), cents)) in found.iter().zip(windows) {
                let value: Decimal = found["value"].as_str().unwrap().parse().unwrap();
                assert!(asked.is_value(value, cents.clone(), (end - start) / 1_000), "{value} of {cents:?}: {asked:?}");
                values += 1;
            }
        }
    }
    assert!(values > 4_000, "{values} values show little");
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_what_to_do() {
    let served = served(&[point(&mut Rng::with_seed(1))]).await;
    let good = "appId=app&metricName=latency";
    for (query, field) in [
        ("metricName=latency", "appId"),
        ("appId=app", "metricName"),
        (&*format!("{good}&aggregation=p42"), "aggregation"),
        (&*format!("{good}&window=2h"), "window"),
        (&*format!("{good}&window=1m&startTime=-20d"), "window"),
        (&*format!("{good}&startTime=-1h&endTime=-2h"), "startTime"),
        (&*format!("{good}&startTime=-10000d"), "startTime"),
        (&*format!("{good}&startTime=soon"), "startTime"),
        (&*format!("{good}&timeZone=Mars/Olympus"), "timeZone"),
        (&*format!("{good}&tags=region"), "tags"),
        (&*format!("{good}&groupBy=a,a"), "groupBy"),
        (&*format!("{good}&limit=0"), "limit"),
        (&*format!("{good}&limit=1000000000"), "limit"),
        (&*format!("{good}&cursor=x"), "cursor"),
        (&*format!("{good}&typo=1"), "typo"),
        (&*format!("{good}{}", "&a=1".repeat(2_000)), "(query)"),
        (&*format!("{good}&appId=other"), "appId"),
        (&*format!("appId={}&metricName=m", "x".repeat(129)), "appId"),
    ] {
        let answered = served.get(&format!("/analytics/metrics?{query}")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answered.json()["errors"][0]["field"], json!(field), "{query}");
    }
    let bound = served.key_for(&[Scope::Read], Apps::Of(["other".to_owned()].into())).await;
    let foreign = served.get_as(&bound, &format!("/analytics/metrics?{good}")).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    for (app, status) in
        [("app", StatusCode::OK), ("none", StatusCode::NOT_FOUND), ("a#p😀\u{0}", StatusCode::NOT_FOUND)]
    {
        let path = asked("/analytics/metrics", &[("appId", app), ("metricName", "none")]);
        assert_eq!(served.get(&path).await.status, status, "{app}");
    }
}
