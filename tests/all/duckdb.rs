//! What analysts read: `docs/duckdb.sql` and the tables and queries of `docs/athena.sql`, run by DuckDB over the bucket
//! of a local stack, say what the truth files say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use archive::{Caller, Daily};
use clap::Parser;
use serde_json::{Deserializer, Value};
use tempfile::TempDir;
use tidemark_archive::manifest::Manifest;
use tidemark_ledger::Call;
use tidemark_local::cli::Options;
use tidemark_local::stack::Stack;
use tidemark_local::{delivery, feed, play};
use tidemark_model::views::{Tables, VIEWS};
use tidemark_tests::{documents, fixture_path, program, root};

use crate::athena;
use crate::streams_truth::{cents, truth};

/// Every stream, and some records that are set aside.
const STREAMS: [(&str, &str); 5] = [
    ("products", "products_producer.ndjson.gz"),
    ("orders", "cdc_envelope.ndjson.gz"),
    ("activity", "track.ndjson.gz"),
    ("user-events", "user.ndjson.gz"),
    ("metrics", "../../local/samples/metrics.ndjson"),
];
const BROKEN: &str = "{\"eventType\":\"ProductCreated\"}\n{\"eventType\":\"ProductCreated\"}\nno JSON\n";

/// Numbers by an id; money in cents.
type Figures = BTreeMap<String, Vec<i64>>;

/// The archive of a day in a folder, and what it is of.
struct Archived {
    folder: TempDir,
    duckdb: PathBuf,
    manifest: Manifest,
    tables: Tables,
    rejects: BTreeMap<(String, String), i64>,
}

impl Archived {
    /// Plays all streams, and archives their day. `None` without DuckDB.
    async fn make() -> Option<Self> {
        let duckdb = program(".venv-duckdb", "duckdb")?;
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("data").display().to_string();
        let broken = folder.path().join("broken.ndjson");
        std::fs::write(&broken, BROKEN).unwrap();
        let mut inputs: Vec<_> = STREAMS.map(|(stream, file)| (stream, fixture_path(file))).into();
        inputs.push(("products", broken));
        let input = inputs.iter().map(|(stream, file)| format!("--input={stream}={}", file.display()));
        let arguments = ["tidemark".to_owned(), format!("--store={store}")].into_iter().chain(input);
        let options = Options::parse_from(arguments);

        let logs = feed::logs(&options.input, options.partitions).unwrap();
        let stack = Stack::start(&options).await.unwrap();
        let played = play::play(&stack.aggregate, &logs, delivery::waves(&logs, &options)).await.unwrap();
        let now_ms = feed::clock_ms(&logs);
        let tables = stack.aggregate.ledger.store().read_tables(now_ms).await.unwrap();
        let daily = stack.archive.daily(now_ms, Caller("test"), Call { now_ms, deadline: None }).await.unwrap();
        let Daily::Done(manifest) = daily else { panic!("{daily:?}") };
        let mut rejects = BTreeMap::new();
        for reject in played.rejects {
            *rejects.entry((reject.topic.to_string(), reject.reason.to_string())).or_default() += 1;
        }
        Some(Self { folder, duckdb, manifest: *manifest, tables, rejects })
    }

    /// The rows of each query among statements. Decimals are text there, so that nothing passes through a float.
    fn ask(&self, statements: &str) -> Vec<Vec<Value>> {
        let mut duckdb = Command::new(&self.duckdb);
        // Nobody's own settings are read.
        duckdb.current_dir(self.folder.path()).env("HOME", self.folder.path());
        let output = duckdb.args(["-json", "-bail", "-c", statements]).output().unwrap();
        assert!(output.status.success(), "{}\n{statements}", String::from_utf8_lossy(&output.stderr));
        Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect()
    }
}

fn recipe() -> String {
    std::fs::read_to_string(root().join("docs/duckdb.sql")).unwrap()
}

/// The answer with these columns.
fn answer<'a>(answers: &'a [Vec<Value>], columns: &[&str]) -> &'a [Value] {
    let has = |row: &Value| row.as_object().unwrap().keys().eq(columns);
    let found = answers.iter().find(|rows| rows.first().is_some_and(has));
    found.unwrap_or_else(|| panic!("no answer has the columns {columns:?}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn row(row: &Value, fields: &[&str]) -> Vec<i64> {
    fields.iter().map(|field| row[*field].as_i64().unwrap_or_else(|| cents(&row[*field]))).collect()
}

/// The answer with an id and such fields.
fn figures(answers: &[Vec<Value>], id: &str, fields: &[&str]) -> Figures {
    let rows = answer(answers, &[&[id], fields].concat()).iter();
    rows.map(|found| (text(&found[id]), row(found, fields))).collect()
}

/// What a truth file says of these fields.
fn expected(truth: &Value, fields: &[&str]) -> Figures {
    truth.as_object().unwrap().iter().map(|(id, found)| (id.clone(), row(found, fields))).collect()
}

/// The ids with the most of the last of their figures.
fn top(figures: Figures, most: usize) -> Figures {
    let mut sorted: Vec<_> = figures.into_iter().collect();
    sorted.sort_by_key(|(id, figures)| (std::cmp::Reverse(figures.last().copied()), id.clone()));
    sorted.into_iter().take(most).collect()
}

fn decimal(value: &Value) -> rust_decimal::Decimal {
    text(value).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipe_of_duckdb_reads_the_truth() {
    let Some(archived) = Archived::make().await else { return };
    let answers = archived.ask(&recipe());
    let (products, orders) = (truth("products_truth.json"), truth("cdc_views_truth.json"));

    let sellers = expected(&products["seller"], &["activeProducts", "totalValue"]);
    assert_eq!(figures(&answers, "sellerId", &["activeProducts", "totalValue"]), sellers, "of the snapshot");
    assert_eq!(figures(&answers, "seller_id", &["active_products", "total_value"]), top(sellers, 10));
    let stock = answer(&answers, &["category", "total_products", "total_value", "average_price"]);
    let stock: Figures =
        stock.iter().map(|found| (text(&found["category"]), row(found, &["total_products", "total_value"]))).collect();
    assert_eq!(stock, expected(&products["category"], &["totalProducts", "totalValue"]));
    let low = products["lowStock"].as_object().unwrap().iter();
    let low: Figures = low.map(|(id, quantity)| (id.clone(), vec![quantity.as_i64().unwrap()])).collect();
    assert_eq!(figures(&answers, "productId", &["quantity"]), low);

    let sales = expected(&orders["daily_sales"], &["order_count", "total_amount"]);
    assert_eq!(figures(&answers, "sales_date", &["order_count", "total_amount"]), sales);
    assert_eq!(figures(&answers, "date", &["order_count", "total_amount"]), sales, "of the report");
    let summary = answer(&answers, &["generated_at", "total_orders", "total_revenue"]);
    let all: Vec<i64> = [0, 1].map(|at| sales.values().map(|day| day[at]).sum()).into();
    assert_eq!(row(&summary[0], &["total_orders", "total_revenue"]), all, "of the report");
    let sold = expected(&orders["products"], &["quantity_sold", "total_revenue"]);
    assert_eq!(figures(&answers, "product_id", &["quantity_sold", "total_revenue"]), top(sold, 10));

    let tracked = truth("track_truth.json");
    let days = answer(&answers, &["app_id", "date", "events", "active_users", "sessions"]).iter();
    let mut days: BTreeMap<_, _> = days
        .map(|found| ((text(&found["app_id"]), text(&found["date"])), row(found, &["events", "active_users"])))
        .collect();
    for (app, of_app) in tracked.as_object().unwrap() {
        for (date, figures) in expected(of_app, &["events", "activeUsers"]) {
            assert_eq!(days.remove(&(app.clone(), date)), Some(figures), "{app}");
        }
        assert!(days.keys().all(|(other, _)| other != app), "{app} has days that it should not: {days:?}");
    }
    assert!(!days.is_empty(), "services have days, too");

    let hours = answer(&answers, &["app_id", "metric_name", "hour", "points", "total", "least", "greatest"]);
    let series = documents(&archived.tables)["metrics"].as_array().unwrap().clone();
    for (column, field) in [("points", "count"), ("total", "sum")] {
        let found: rust_decimal::Decimal = hours.iter().map(|hour| decimal(&hour[column])).sum();
        assert_eq!(found, series.iter().map(|series| decimal(&series[field])).sum(), "{column}");
    }
    let aside = answer(&answers, &["topic", "reason", "records"]).iter();
    let aside: BTreeMap<_, _> =
        aside.map(|found| ((text(&found["topic"]), text(&found["reason"])), row(found, &["records"])[0])).collect();
    assert_eq!(aside, archived.rejects);
    assert_eq!(aside.values().sum::<i64>(), 3);
    let mut by_topic = Figures::new();
    for ((topic, _), records) in aside {
        by_topic.entry(topic).or_insert_with(|| vec![0, 0])[0] += records;
    }
    assert_eq!(figures(&answers, "topic", &["records", "redriven"]), by_topic, "none is redriven");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_every_view_is_in_its_files_under_the_columns_and_types_that_athena_declares() {
    let Some(archived) = Archived::make().await else { return };
    let (products, orders) = (truth("products_truth.json"), truth("cdc_views_truth.json"));
    let tables = athena::tables();
    let mut setup = "CREATE SCHEMA tidemark; CREATE MACRO from_unixtime(s) AS to_timestamp(s);\n".to_owned();
    for table in &tables {
        let files = format!("data/s3/tidemark/{}*.parquet", table.folder.replace("${dt}", "*"));
        setup.push_str(&format!(
            "CREATE VIEW tidemark.{} AS FROM read_parquet('{files}', hive_types = {{'dt': VARCHAR}});\n",
            table.name
        ));
    }
    setup.push_str(
        "CREATE VIEW tidemark.quarantine AS SELECT * RENAME (partition AS kafka_partition, \"offset\" AS kafka_offset)
         FROM read_json('data/s3/tidemark/quarantine/**/*.jsonl');\n",
    );

    let of_views = |row: &(_, _)| tidemark_model::views::view_of(&row.0).map(|view| view.name);
    for (table, view) in tables.iter().zip(VIEWS.iter().map(Some).chain([None])) {
        let name = &table.name;
        let answers =
            archived.ask(&format!("{setup}DESCRIBE tidemark.{name}; SELECT count(*) AS n FROM tidemark.{name};"));
        let [columns, rows] = answers.as_slice() else { panic!("{answers:?}") };
        let columns: Vec<_> = columns.iter().map(|c| (text(&c["column_name"]), text(&c["column_type"]))).collect();
        let declared = table.columns.iter().map(|(name, kind)| ((*name).to_owned(), in_duckdb(kind)));
        assert_eq!(columns, declared.chain([("dt".to_owned(), in_duckdb("string"))]).collect::<Vec<_>>(), "{name}");
        let expected = match view {
            Some(view) => archived.tables.rows.iter().filter(|row| of_views(row) == Some(view.name)).count() as u64,
            None => archived.manifest.entities,
        };
        assert_eq!(rows[0]["n"].as_u64(), Some(expected), "{name}");
        assert_ne!(expected, 0, "{name}");
    }

    let totals = archived.ask(&format!(
        "{setup}
        SELECT seller_id, total_products, active_products, deleted_products, total_value FROM tidemark.sellers;
        SELECT customer_id, order_count, total_spent FROM tidemark.customers WHERE order_count > 0;
        SELECT product_id, quantity_sold, total_revenue FROM tidemark.product_sales WHERE item_count > 0;
        SELECT status, order_count FROM tidemark.order_status WHERE order_count > 0;"
    ));
    let fields = ["totalProducts", "activeProducts", "deletedProducts", "totalValue"];
    let columns = ["total_products", "active_products", "deleted_products", "total_value"];
    assert_eq!(figures(&totals, "seller_id", &columns), expected(&products["seller"], &fields));
    for (id, fields, of) in [
        ("customer_id", ["order_count", "total_spent"], "customers"),
        ("product_id", ["quantity_sold", "total_revenue"], "products"),
    ] {
        assert_eq!(figures(&totals, id, &fields), expected(&orders[of], &fields));
    }
    let status = truth("cdc_truth.json")["status"].as_object().unwrap().clone().into_iter();
    let status: Figures = status.map(|(status, n)| (status, vec![n.as_i64().unwrap()])).collect();
    assert_eq!(figures(&totals, "status", &["order_count"]), status);

    // Athena's queries say what DuckDB's say, as far as their columns are the same.
    let (of_athena, of_duckdb) = (archived.ask(&(setup + &queries(&archived.manifest.date))), archived.ask(&recipe()));
    assert!(of_athena.len() > 5 && of_athena.iter().all(|rows| !rows.is_empty()), "{of_athena:?}");
    for columns in [
        ["seller_id", "active_products", "total_value"],
        ["sales_date", "order_count", "total_amount"],
        ["topic", "records", "redriven"],
        ["topic", "reason", "records"],
    ] {
        assert_eq!(answer(&of_athena, &columns), answer(&of_duckdb, &columns));
    }
}

/// The queries of Athena's file, of a day.
fn queries(date: &str) -> String {
    let text = athena::text();
    let statements = text.split_inclusive(";\n").map(|statement| {
        let lines = statement.lines().filter(|line| !line.starts_with("--"));
        lines.collect::<Vec<_>>().join("\n").trim().replace("${DATE}", date)
    });
    statements.filter(|statement| statement.starts_with("SELECT")).collect::<Vec<_>>().join("\n")
}

/// What DuckDB calls a type of Athena.
fn in_duckdb(kind: &str) -> String {
    match kind {
        "string" => "VARCHAR".to_owned(),
        "timestamp" => "TIMESTAMP WITH TIME ZONE".to_owned(),
        _ => match kind.strip_prefix("map<string, ").and_then(|kind| kind.strip_suffix('>')) {
            Some(value) => format!("MAP(VARCHAR, {})", in_duckdb(value)),
            None => kind.to_uppercase().replace(' ', ""),
        },
    }
}
