//! What a broker does to calls: away, silent, refusing, forgetting. A call is there whole, once, or not at all, and says
//! which as well as anybody can know.

use std::time::Instant;

use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};

use super::*;

const TOPIC: &str = "analytics.events";
/// A call gives up after 5 s.
const IN_TIME: Duration = Duration::from_secs(6);

async fn broker() -> FakeBroker {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 3);
    broker
}

fn producer(broker: &FakeBroker) -> KafkaProducer {
    KafkaProducer::new(plain(&broker.bootstrap_servers()))
}

fn call(name: &str) -> Vec<Record> {
    (0..10).map(|i| record(name, i.to_string())).collect()
}

/// Which calls are there. A call must be one batch.
fn arrived(broker: &FakeBroker) -> Vec<String> {
    let batches: usize =
        broker.with_state(|cluster| cluster.topics[TOPIC].partitions.iter().map(|p| p.log.len()).sum());
    let records = broker.all_records(TOPIC).unwrap();
    assert_eq!(records.len(), 10 * batches, "not every batch is a call");
    let mut calls: Vec<_> = records.chunks(10).map(|call| call[0].key_str().unwrap().to_owned()).collect();
    calls.sort_unstable();
    calls
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_in_time_and_used_when_it_is_back() {
    let broker = broker().await;
    let producer = producer(&broker);
    broker.crash(0);
    let begun = Instant::now();
    let away = producer.send(TOPIC, call("lost")).await.unwrap_err();
    assert!(matches!(away, ProduceError::Away { .. }), "{away:?}");
    assert!(begun.elapsed() < IN_TIME);

    broker.restart(0);
    producer.send(TOPIC, call("kept")).await.unwrap();
    assert_eq!(arrived(&broker), ["kept"]);
}

#[tokio::test]
async fn nobody_at_an_address_is_away() {
    let away = KafkaProducer::new(plain("127.0.0.1:1")).send(TOPIC, call("lost")).await.unwrap_err();
    assert!(matches!(away, ProduceError::Away { source: Some(_), .. }), "{away:?}");
}

#[tokio::test]
async fn a_broker_that_goes_between_calls_is_told_in_time_and_what_failed_never_comes_later() {
    let broker = broker().await;
    let producer = producer(&broker);
    producer.send(TOPIC, call("1")).await.unwrap();
    broker.crash(0);
    let begun = Instant::now();
    let failed = producer.send(TOPIC, call("2")).await.unwrap_err();
    assert!(matches!(failed, ProduceError::Away { .. } | ProduceError::Unacknowledged { .. }), "{failed:?}");
    assert!(begun.elapsed() < IN_TIME);

    broker.restart(0);
    producer.send(TOPIC, call("3")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(arrived(&broker), ["1", "3"]);
}

#[tokio::test]
async fn a_broker_that_never_answers_leaves_it_open_in_time() {
    let broker = broker().await;
    let producer = producer(&broker);
    broker.on(ApiKey::Produce, |_| Control::ApplyThen(Box::new(Control::Silence)));
    let begun = Instant::now();
    let open = producer.send(TOPIC, call("1")).await.unwrap_err();
    assert!(matches!(open, ProduceError::Unacknowledged { .. }), "{open:?}");
    assert!(begun.elapsed() < IN_TIME);

    broker.clear_hooks();
    producer.send(TOPIC, call("2")).await.unwrap();
    assert_eq!(arrived(&broker), ["1", "2"]);
}

#[tokio::test]
async fn a_connection_that_died_unseen_is_replaced_within_the_call() {
    let broker = broker().await;
    let producer = producer(&broker);
    producer.send(TOPIC, call("1")).await.unwrap();
    broker.on_once(ApiKey::Produce, |_| Control::Silence);
    producer.send(TOPIC, call("2")).await.unwrap();
    assert_eq!(arrived(&broker), ["1", "2"]);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_there_twice() {
    let broker = broker().await;
    let producer = producer(&broker);
    for (call_name, lost) in [("1", Control::Disconnect), ("2", Control::Error(ErrorCode::RequestTimedOut))] {
        broker.on_once(ApiKey::Produce, move |_| Control::ApplyThen(Box::new(lost.clone())));
        producer.send(TOPIC, call(call_name)).await.unwrap();
    }
    assert_eq!(arrived(&broker), ["1", "2"]);
}

#[tokio::test]
async fn a_leader_that_moves_is_followed() {
    let broker = FakeBroker::start_cluster(2).await.unwrap();
    broker.create_topic(TOPIC, 1);
    let producer = producer(&broker);
    for (name, leader) in [("1", 0), ("2", 1), ("3", 0)] {
        broker.set_leader(TOPIC, 0, leader);
        producer.send(TOPIC, call(name)).await.unwrap();
    }
    assert_eq!(arrived(&broker), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_refusal_is_one_of_the_whole_call() {
    let broker = broker().await;
    let producer = producer(&broker);
    broker.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::TopicAuthorizationFailed));
    let refused = producer.send(TOPIC, call("1")).await.unwrap_err();
    assert!(matches!(refused, ProduceError::Refused { .. }), "{refused:?}");

    producer.send(TOPIC, call("2")).await.unwrap();
    assert_eq!(arrived(&broker), ["2"]);
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_a_refusal_and_used_once_it_is() {
    let broker = broker().await;
    let producer = producer(&broker);
    let refused = producer.send("analytics.metrics", call("1")).await.unwrap_err();
    assert!(matches!(refused, ProduceError::Refused { .. }), "{refused:?}");

    broker.create_topic("analytics.metrics", 1);
    producer.send("analytics.metrics", call("2")).await.unwrap();
    assert_eq!(broker.all_records("analytics.metrics").unwrap().len(), 10);
}

#[tokio::test]
async fn wrong_credentials_are_a_refusal() {
    let broker = broker().await;
    broker.require_sasl_plain("user", "password");
    let variables = [
        ("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers()),
        ("KAFKA_AUTH", "scram".to_owned()),
        ("KAFKA_TLS", "false".to_owned()),
        ("KAFKA_USERNAME", "user".to_owned()),
        ("KAFKA_PASSWORD", "password".to_owned()),
    ];
    let config = KafkaConfig::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone()));
    let producer = KafkaProducer::new(config.unwrap().unwrap());
    // The broker knows another mechanism.
    let refused = producer.send(TOPIC, call("1")).await.unwrap_err();
    assert!(matches!(refused, ProduceError::Refused { .. }), "{refused:?}");
    assert!(arrived(&broker).is_empty());
}

/// Where the limit is set above the topic's, the client sends halves: what cannot be known is not called refused.
#[tokio::test]
async fn halves_that_a_broker_took_are_not_called_refused() {
    let broker = broker().await;
    let producer = producer(&broker);
    let large = || Control::Error(ErrorCode::MessageTooLarge);
    broker.on_once(ApiKey::Produce, move |_| large());
    broker.on_once(ApiKey::Produce, |_| Control::Pass);
    broker.on(ApiKey::Produce, move |_| large());
    let open = producer.send(TOPIC, call("1")).await.unwrap_err();
    assert!(matches!(open, ProduceError::Unacknowledged { .. }), "{open:?}");
    assert_eq!(broker.all_records(TOPIC).unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_waiting_stops_no_call() {
    let broker = broker().await;
    let producer = producer(&broker);
    producer.send(TOPIC, call("0")).await.unwrap();
    for n in 1..=50 {
        let name = n.to_string();
        let impatient = tokio::time::timeout(Duration::from_micros(n * 20), producer.send(TOPIC, call(&name)));
        let _whatever = impatient.await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(arrived(&broker).len(), 51);
}
