//! Records that the API sends to Kafka: on the broker in this process, and on the one that `TIDEMARK_TEST_KAFKA` names
//! (`host:port`, in plain text), which must let anybody create topics.

mod config;
mod faults;

use std::collections::BTreeMap;
use std::time::Duration;

use api::producer::{Auth, KafkaConfig, KafkaProducer, ProduceError, Producer, Record};
use bytes::Bytes;
use futures_util::future::join_all;
use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::consumer::AutoOffsetReset;
use krafka::testing::FakeBroker;
use krafka::{ConsumerRecord, Kafka};

const VARIABLE: &str = "TIDEMARK_TEST_KAFKA";

/// A cluster with a topic of four partitions that nobody else uses.
struct Cluster {
    bootstrap_servers: String,
    topic: String,
    _broker: Option<FakeBroker>,
}

impl Cluster {
    /// The one in this process, and the one that the environment names.
    async fn all() -> Vec<Self> {
        let broker = FakeBroker::start().await.unwrap();
        let mut servers = vec![(broker.bootstrap_servers(), Some(broker))];
        servers.extend(std::env::var(VARIABLE).ok().map(|named| (named, None)));
        join_all(servers.into_iter().map(|(bootstrap_servers, _broker)| async {
            let topic = format!("tidemark-test-{:016x}", fastrand::u64(..));
            let admin = Kafka::builder(bootstrap_servers.as_str()).connect().await.unwrap().admin();
            let new = NewTopic::new(topic.as_str(), 4, 1).unwrap();
            admin.create_topics([new], CreateTopicsOptions::default()).await.unwrap().remove(&topic).unwrap().unwrap();
            Self { bootstrap_servers, topic, _broker }
        }))
        .await
    }

    fn producer(&self) -> Box<dyn Producer> {
        Box::new(KafkaProducer::new(plain(&self.bootstrap_servers)))
    }

    /// What a reader gets from the start, once there are so many, by partition and offset.
    async fn read(&self, count: usize) -> Vec<ConsumerRecord> {
        let kafka = Kafka::builder(self.bootstrap_servers.as_str()).connect().await.unwrap();
        let consumer =
            kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest).build().await.unwrap();
        consumer.assign(&self.topic, vec![0, 1, 2, 3]).await.unwrap();
        let mut records = Vec::new();
        while records.len() < count {
            let polled = consumer.poll(Duration::from_secs(10)).await.unwrap();
            assert!(!polled.is_empty(), "{} of {count} records arrived", records.len());
            records.extend(polled);
        }
        // Nothing may come behind them.
        records.extend(consumer.poll(Duration::from_millis(300)).await.unwrap());
        consumer.close().await.unwrap();
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

/// Where there is nothing to authenticate with.
fn plain(bootstrap_servers: &str) -> KafkaConfig {
    let config = KafkaConfig::read(|name| (name == "KAFKA_BOOTSTRAP_SERVERS").then(|| bootstrap_servers.to_owned()));
    config.unwrap().unwrap()
}

fn record(key: &str, value: impl Into<Bytes>) -> Record {
    Record { key: Some(Bytes::copy_from_slice(key.as_bytes())), value: value.into(), headers: Vec::new() }
}

fn as_sent(arrived: &ConsumerRecord) -> Record {
    let headers = arrived.headers.iter().map(|(name, value)| (name.clone(), value.clone().unwrap()));
    Record { key: arrived.key.clone(), value: arrived.value.clone().unwrap(), headers: headers.collect() }
}

/// One batch's records lie behind each other on one partition.
fn assert_together<'a>(arrived: impl IntoIterator<Item = &'a ConsumerRecord>) {
    let places: Vec<_> = arrived.into_iter().map(|record| (record.partition, record.offset)).collect();
    for pair in places.windows(2) {
        assert_eq!((pair[0].0, pair[0].1 + 1), pair[1], "{places:?}");
    }
}

#[tokio::test]
async fn all_records_of_a_call_arrive_in_order_with_keys_headers_and_values() {
    let sent = vec![
        Record {
            headers: vec![("correlationId".to_owned(), Bytes::from_static(b"c-1")), ("e".to_owned(), Bytes::new())],
            ..record("shop:user-1", "{}")
        },
        record("Zürich:用户:🛒\u{0}", "\u{10ffff}"),
        Record { key: None, value: Bytes::from_static(b"\xff\x00"), headers: Vec::new() },
        record("", Bytes::new()),
        Record { headers: vec![("grüße".to_owned(), Bytes::from("мир")); 2], ..record("shop:user-1", "[]") },
    ];
    for cluster in Cluster::all().await {
        cluster.producer().send(&cluster.topic, sent.clone()).await.unwrap();
        let arrived = cluster.read(sent.len()).await;
        assert_eq!(arrived.iter().map(as_sent).collect::<Vec<_>>(), sent);
        assert_together(&arrived);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_at_once_arrive_once_each_and_whole() {
    for cluster in Cluster::all().await {
        let producer = cluster.producer();
        let calls = (0..50).map(|call| {
            let records = (0..20).map(|i| record(&format!("call-{call}"), format!("{i}"))).collect();
            producer.send(&cluster.topic, records)
        });
        for outcome in join_all(calls).await {
            outcome.unwrap();
        }
        let arrived = cluster.read(1_000).await;
        let mut calls: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in &arrived {
            calls.entry(record.key.clone().unwrap()).or_default().push(record);
        }
        assert_eq!(calls.len(), 50);
        for records in calls.into_values() {
            let values: Vec<_> = records.iter().map(|record| record.value_str().unwrap().to_owned()).collect();
            assert_eq!(values, (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
            assert_together(records);
        }
    }
}

#[tokio::test]
async fn five_hundred_records_of_two_kilobytes_are_one_call() {
    for cluster in Cluster::all().await {
        let sent: Vec<_> = (0..500).map(|i| record(&format!("shop:user-{i}"), vec![b'x'; 2_000])).collect();
        cluster.producer().send(&cluster.topic, sent.clone()).await.unwrap();
        let arrived = cluster.read(500).await;
        assert_eq!(arrived.iter().map(as_sent).collect::<Vec<_>>(), sent);
        assert_together(&arrived);
    }
}

#[tokio::test]
async fn what_no_batch_holds_is_refused_and_nothing_of_it_arrives() {
    for cluster in Cluster::all().await {
        let producer = cluster.producer();
        let large = record("large", vec![b'x'; 1_048_588]);
        let refused = producer.send(&cluster.topic, vec![record("small", "1"), large]).await.unwrap_err();
        let ProduceError::TooLarge { bytes, limit, .. } = refused else { panic!("{refused:?}") };
        assert!(bytes > limit && limit == 1_048_588, "{bytes} {limit}");

        // As many as are said to fit do fit.
        let fits = vec![b'x'; 1_048_588 - 61 - 25 - 3];
        producer.send(&cluster.topic, vec![record("all", fits)]).await.unwrap();
        assert_eq!(cluster.read(1).await.len(), 1);
    }
}

#[tokio::test]
async fn a_call_of_nothing_sends_nothing() {
    let nowhere = KafkaProducer::new(plain("127.0.0.1:1"));
    nowhere.send("analytics.events", Vec::new()).await.unwrap();
}
