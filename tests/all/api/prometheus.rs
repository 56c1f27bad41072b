//! The metrics under a real Prometheus.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemark_tests::api::Served;
use tidemark_tests::program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_the_metrics_and_its_linter_likes_them() {
    let (Some(prometheus), Some(promtool)) = (program(".tools", "prometheus"), program(".tools", "promtool")) else {
        return;
    };
    let served = Served::on_samples().await;
    let text = served.get("/metrics").await.body;
    let mut linter = Command::new(promtool);
    let mut linter = linter.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    linter.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let linted = linter.wait_with_output().unwrap();
    assert!(linted.status.success(), "{}\n{text}", String::from_utf8_lossy(&linted.stderr));

    let (folder, target) = (tempfile::tempdir().unwrap(), served.listen().await);
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: tidemark\n  \
         authorization: {{credentials: {}}}\n  static_configs: [{{targets: ['{}']}}]\n",
        served.key,
        target.trim_start_matches("http://")
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut running = Command::new(prometheus);
    running.arg(format!("--config.file={}", file.display()));
    running.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    running.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(log);
    let _running = Process(running.spawn().unwrap());

    let give_up = Instant::now() + Duration::from_secs(60);
    while value(&address, "up").await != Some(1.0) {
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(Instant::now() < give_up, "{}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let sample = |name: &str| -> f64 {
        text.lines()
            .filter(|line| line.starts_with(name))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    };
    for name in [
        "events_stored_total",
        "events_processed_total",
        "processing_errors_total",
        "event_processing_duration_seconds_count",
        "kafka_consumer_offset",
        "kafka_consumer_lag",
        "commit_plans_total",
        "consumed_write_units_total",
    ] {
        let (expected, found) = (sample(name), value(&address, &format!("sum({name})")).await.unwrap());
        // The samples' clock stands at the first record: none is older than its commit.
        assert!(expected > 0.0 || name == "kafka_consumer_lag", "{name}");
        assert!((expected - found).abs() <= expected * 1e-9, "{name}: {found}, not {expected}");
    }
    let quantile = "histogram_quantile(0.5,sum(event_processing_duration_seconds_bucket)by(le))";
    assert!(value(&address, quantile).await.unwrap() > 0.0);
}

/// What an instant query of one number gives, if it gives any.
async fn value(address: &str, query: &str) -> Option<f64> {
    let mut connection = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    body["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}
