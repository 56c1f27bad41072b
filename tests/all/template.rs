//! The template and the code name the same things. What the template says by itself is checked
//! by `tests/template/run.sh`.

use std::cell::RefCell;
use std::collections::BTreeSet;

use api::Options;
use tidemark_local::serve::EVENTS_KEY;
use tidemark_local::tables::TEMPLATE;
use tidemark_runtime::Config;
use tidemark_tests::root;

type Names = BTreeSet<String>;

/// What the API reads elsewhere than in [`Options`].
const ELSEWHERE: [&str; 14] = [
    "ALLOWED_ORIGINS",
    "EVENTS_TOPIC",
    "JWT_APPS_CLAIM",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "JWT_JWKS_URL",
    "KAFKA_AUTH",
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_MAX_MESSAGE_BYTES",
    "KAFKA_PASSWORD",
    "KAFKA_TLS",
    "KAFKA_USERNAME",
    "METRICS_TOPIC",
    "RATE_LIMIT_PER_MINUTE",
];

/// What the other functions' configuration is to have.
const COMING: [&str; 3] = ["ARCHIVE_HISTORY", "HISTORY_RETENTION_DAYS", "HTTP_LANES"];

/// The variables that are asked for, where these are set.
fn asked_for(set: &[(&str, &str)], read: impl FnOnce(&dyn Fn(&str) -> Option<String>)) -> Names {
    let names = RefCell::new(Names::new());
    read(&|name| {
        names.borrow_mut().insert(name.to_owned());
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    names.into_inner()
}

/// What every function reads.
fn read_by_all() -> Names {
    let set = [("STATE_TABLE", "x"), ("VIEWS_TABLE", "x"), ("BUCKET", "x")];
    let read = asked_for(&set, |variable| {
        Config::read(variable).unwrap();
    });
    &read | &Names::from(COMING.map(str::to_owned))
}

/// What the API reads beside that, with everything switched on.
fn read_by_the_api() -> Names {
    let secret = "x".repeat(32);
    let set = [("API_SECRET", secret.as_str()), ("JWT_ISSUER", "https://id.example.com"), ("JWT_AUDIENCE", "x")];
    let options = asked_for(&set, |variable| {
        Options::read(variable).unwrap();
    });
    &options | &Names::from(ELSEWHERE.map(str::to_owned))
}

/// The variables of the first environment after some text.
fn set_after(start: &str) -> Names {
    let (_, rest) = TEMPLATE.split_once(start).unwrap();
    let (_, variables) = rest.split_once("Environment:\n").unwrap();
    let (head, variables) = variables.split_once("Variables:\n").unwrap();
    let indented = format!("{head}  ");
    let lines = variables.lines().map_while(|line| line.strip_prefix(&indented));
    let names = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    names.map(|line| line.split_once(':').unwrap().0.to_owned()).collect()
}

/// The variables of a function, those of all functions included.
fn set_for(function: &str) -> Names {
    &set_after("\nGlobals:\n") | &set_after(&format!("\n  {function}:\n"))
}

/// All read one configuration; what only another uses, each leaves at its default.
#[test]
fn the_template_sets_exactly_what_the_functions_read() {
    let (aggregate, archive, api) = (set_for("AggregateFunction"), set_for("ArchiveFunction"), set_for("ApiFunction"));
    assert_eq!(&(&aggregate | &archive) | &api, &read_by_all() | &read_by_the_api());
    for name in &archive - &aggregate {
        assert!(name.starts_with("ARCHIVE_") || name.starts_with("HISTORY_"), "{name} is set for the archive alone");
    }
    let own = &(&api - &aggregate) - &Names::from(["HTTP_LANES".to_owned()]);
    assert_eq!(own, read_by_the_api(), "the API has what is its own");
}

#[test]
fn the_readme_documents_every_variable() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for name in &read_by_all() | &read_by_the_api() {
        assert!(readme.contains(&format!("| `{name}` |")), "README's table misses {name}");
    }
}

/// GETs of `/analytics` share one route; any other operation has its own.
#[test]
fn every_operation_has_a_route_at_the_gateway() {
    let document = serde_json::to_value(api::openapi()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let shared = method == "get" && path.starts_with("/analytics/");
            let path = if shared { "/analytics/{proxy+}" } else { path.as_str() };
            let route = format!("\n          {path}:\n            {method}:\n");
            assert!(TEMPLATE.contains(&route), "the gateway knows no {method} of {path}");
        }
    }
}

#[test]
fn every_sample_request_shows_the_key_that_the_local_stack_knows() {
    let mut requests = 0;
    for file in std::fs::read_dir(root().join("events")).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_str().unwrap().starts_with("api-") {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let is_open = text.contains("\"rawPath\": \"/health\"");
            assert_eq!(text.contains(EVENTS_KEY), !is_open, "{:?}", file.path());
            requests += 1;
        }
    }
    assert_eq!(requests, 7);
}
