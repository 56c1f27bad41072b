//! What the environment says about Kafka.

use tidemark_runtime::ConfigError;

use super::*;

fn read(set: &[(&str, &str)]) -> Result<Option<KafkaConfig>, ConfigError> {
    KafkaConfig::read(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn a_deployment_needs_no_kafka() {
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[("KAFKA_BOOTSTRAP_SERVERS", ""), ("KAFKA_AUTH", "scram")]), Ok(None));
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = read(&[("KAFKA_BOOTSTRAP_SERVERS", "a:9092, b:9092")]).unwrap().unwrap();
    assert_eq!((config.auth, config.tls, config.max_message_bytes), (Auth::None, false, 1_048_588));
    assert_eq!(
        (config.events_topic.as_str(), config.metrics_topic.as_str()),
        ("analytics.events", "analytics.metrics")
    );
}

#[test]
fn who_authenticates_does_so_under_tls() {
    let iam = [("KAFKA_BOOTSTRAP_SERVERS", "b:9098"), ("KAFKA_AUTH", "iam")];
    assert!(read(&iam).unwrap().unwrap().tls);
    let user = [("KAFKA_AUTH", "scram"), ("KAFKA_USERNAME", "u"), ("KAFKA_PASSWORD", "hidden")];
    let scram = read(&[&[("KAFKA_BOOTSTRAP_SERVERS", "b:9096")], &user[..]].concat()).unwrap().unwrap();
    assert!(scram.tls);
    assert!(!format!("{scram:?}").contains("hidden"), "{scram:?}");
}

#[test]
fn a_missing_or_odd_variable_is_named() {
    for (name, value) in [
        ("KAFKA_BOOTSTRAP_SERVERS", "broker"),
        ("KAFKA_BOOTSTRAP_SERVERS", "b:9092,:9092"),
        ("KAFKA_AUTH", "plain"),
        ("KAFKA_TLS", "yes"),
        ("KAFKA_MAX_MESSAGE_BYTES", "1MB"),
    ] {
        let error = read(&[(name, value), ("KAFKA_BOOTSTRAP_SERVERS", "b:9092")]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(value), "{error}");
    }
    let scram = [("KAFKA_BOOTSTRAP_SERVERS", "b:9096"), ("KAFKA_AUTH", "scram"), ("KAFKA_USERNAME", "u")];
    assert_eq!(read(&scram), Err(ConfigError::Missing("KAFKA_PASSWORD")));
    let open = [("KAFKA_BOOTSTRAP_SERVERS", "b:9098"), ("KAFKA_AUTH", "iam"), ("KAFKA_TLS", "false")];
    assert!(read(&open).unwrap_err().to_string().contains("KAFKA_TLS"));
}
