//! Every stream through decoding and folding, in turns: what a record of each form costs.

use std::fmt::Write;
use std::hint::black_box;
use std::io::Read;

use bytes::Bytes;
use tidemark_model::fold::{effects, fold};
use tidemark_model::metric::Admission;
use tidemark_model::{Map, Settings, decode};

use super::{TURNS, cpu_ms, median};

/// One form of a stream's records: its name, and an invocation of them.
struct Form {
    name: &'static str,
    records: usize,
    payload: Bytes,
}

/// Prints a table of all forms.
pub(super) fn report() {
    let forms = forms();
    let mut turns: Vec<Vec<f64>> = vec![Vec::new(); forms.len()];
    for _ in 0..TURNS {
        for (form, turns) in forms.iter().zip(&mut turns) {
            turns.push(cpu_ms(|| work(black_box(&form.payload))));
        }
    }
    println!("\n| form | bytes per record | CPU µs per record | beside a product's |\n|---|---|---|---|");
    let per_record = |form: &Form, turns: &[f64]| median(turns.to_vec()) * 1e3 / form.records as f64;
    let product = per_record(&forms[0], &turns[0]);
    for (form, turns) in forms.iter().zip(&turns) {
        let (bytes, us) = (form.payload.len() / form.records, per_record(form, turns));
        println!("| {} | {bytes} | {us:.2} | {:.2} |", form.name, us / product);
    }
}

fn work(payload: &[u8]) -> usize {
    let settings = Settings { now_ms: 1_735_689_600_000, ..Settings::default() };
    let batches = decode(payload, &settings).unwrap();
    let (known, mut rows) = (Map::default(), 0);
    for batch in &batches {
        assert_eq!(batch.counted, batch.positions.len());
        rows += effects(&fold(&batch.changes, &known).transitions).into_sorted().len();
        rows += Admission::new(&known, 1_000).rows(&batch.points).into_sorted().len();
    }
    rows
}

fn forms() -> Vec<Form> {
    let fixture = |name: &'static str, topic: &str, file: &str| {
        let path = format!("{}/../tests/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        form(name, topic, &text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    vec![
        fixture("products", "product.updated", "products_contract.ndjson.gz"),
        fixture("orders, envelope", "db.public.orders", "cdc_envelope.ndjson.gz"),
        fixture("orders, unwrapped", "db.public.orders", "cdc_flatstr.ndjson.gz"),
        fixture("orders, unwrapped with schema", "db.public.orders", "cdc_deployed.ndjson.gz"),
        fixture("tracked events", "analytics.events", "track.ndjson.gz"),
        fixture("user events", "user-events", "user.ndjson.gz"),
        form("metrics", "analytics.metrics", &(0..2_500).map(point).collect::<Vec<_>>()),
    ]
}

fn point(n: i64) -> String {
    format!(
        r#"{{"appId":"shop","metricName":"response_time","metricType":"timer","value":{}.{:02},"unit":"ms","tags":{{"endpoint":"/e{}","region":"r{}"}},"timestamp":{}}}"#,
        10 + n * 7919 % 400,
        n % 100,
        n % 25,
        n / 25 % 4,
        1_735_689_600_000 + n * 12,
    )
}

fn form(name: &'static str, topic: &str, values: &[String]) -> Form {
    let mut json = format!(r#"{{"eventSource":"aws:kafka","eventSourceArn":"arn:b","records":{{"{topic}-0":["#);
    let mut records = 0;
    for value in values {
        let comma = if records > 0 { "," } else { "" };
        let value = base64_simd::STANDARD.encode_to_string(value);
        write!(
            json,
            r#"{comma}{{"topic":"{topic}","partition":0,"offset":{records},"timestamp":1735689700000,"timestampType":"CREATE_TIME","value":"{value}","headers":[]}}"#,
        )
        .unwrap();
        records += 1;
    }
    json.push_str("]}}");
    Form { name, records, payload: json.into() }
}
