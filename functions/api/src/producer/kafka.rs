//! The producer that speaks to brokers.
//!
//! **Why a call is whole.** Kafka appends a record batch of one partition whole or not at all, so a call is one batch.
//! The client fills batches as it pleases, so it is left no choice: a producer of the client's serves one call at a
//! time, every record names the call's partition, a batch neither lingers out nor fills up, and only the flush behind
//! the call's last record closes it. What could be wrong with a record is looked at before the first is handed over.
//!
//! **Why it is there once.** The client's producer is idempotent: a batch that is sent again after a lost answer has the
//! same sequence number. Nothing is sent again after the call has failed: its producer is closed with it.
//!
//! Nothing is connected before the first call, and a call that failed leaves no connection: the next one begins anew.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use krafka::error::ErrorCode;
use krafka::producer::{Acks, Producer as Client};
use krafka::{CloseOptions, Kafka, KrafkaError, PartitionId};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{KafkaConfig, ProduceError, Producer, Record};

/// What a call may take; a gateway gives up after 30 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// What one request may take, connecting included, and a topic until it is known: a dead connection leaves time for
/// another.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than any call: only a flush closes a batch, and only the end of a call ends its retries.
const NEVER: Duration = Duration::from_secs(3_600);
/// More than the largest batch, by the client's own generous count: `KAFKA_MAX_MESSAGE_BYTES` is the bound.
const UNBOUNDED: usize = 1 << 30;

/// What a batch has besides its records, in bytes.
const BATCH_BYTES: usize = 61;
/// What a record has besides its key, value and headers, in bytes at most: lengths, attributes, and what it differs by
/// from the batch's time and offset.
const RECORD_BYTES: usize = 25;
/// What a header has besides its name and value, in bytes at most.
const HEADER_BYTES: usize = 8;

/// A producer on a Kafka cluster. Clones share their connections.
#[derive(Clone)]
pub struct KafkaProducer {
    config: Arc<KafkaConfig>,
    link: Arc<Mutex<Option<Arc<Link>>>>,
}

/// A cluster that was reached, and the client's producers on it that no call has.
struct Link {
    kafka: Kafka,
    idle: Mutex<Vec<Client>>,
}

impl KafkaProducer {
    /// A producer that connects with its first call.
    pub fn new(config: KafkaConfig) -> Self {
        Self { config: Arc::new(config), link: Arc::default() }
    }

    async fn produce(self, topic: &str, records: Vec<Record>) -> Result<(), ProduceError> {
        let (bytes, limit) = (batch_bytes(&records), self.config.max_message_bytes);
        if bytes > limit {
            return Err(ProduceError::TooLarge { topic: topic.to_owned(), bytes, limit });
        }
        let deadline = Instant::now() + CALL_TIMEOUT;
        let (link, client) = match by(deadline, self.reach()).await {
            Ok(reached) => reached,
            Err(error) => {
                self.forget().await;
                return Err(unsent(topic, error));
            }
        };
        let outcome = deliver(&client, topic, records, deadline).await;
        if outcome.is_ok() {
            link.idle.lock().await.push(client);
        } else {
            // Ends its retries; that records had no answer is in the outcome.
            let _unanswered = client.close_with(CloseOptions::new().timeout(Duration::ZERO)).await;
            self.forget().await;
        }
        outcome
    }

    /// A producer that no other call has.
    async fn reach(&self) -> Result<(Arc<Link>, Client), KrafkaError> {
        let link = self.link().await?;
        let idle = link.idle.lock().await.pop();
        let client = match idle {
            Some(client) => client,
            None => {
                let builder = link.kafka.producer().acks(Acks::All).idempotent(true).metrics_push(false);
                let bounds = builder.batch_size(UNBOUNDED).buffer_memory(UNBOUNDED).max_request_size(UNBOUNDED);
                bounds.linger(NEVER).delivery_timeout(NEVER * 2).max_block(REQUEST_TIMEOUT).build().await?
            }
        };
        Ok((link, client))
    }

    /// One call connects, the others wait for it.
    async fn link(&self) -> Result<Arc<Link>, KrafkaError> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref() {
            return Ok(Arc::clone(link));
        }
        let kafka = Kafka::builder(self.config.bootstrap_servers.as_str())
            .client_id("tidemark-api")
            .security(self.config.security())
            .connect_timeout(REQUEST_TIMEOUT)
            .request_timeout(REQUEST_TIMEOUT)
            .connect()
            .await?;
        Ok(Arc::clone(link.insert(Arc::new(Link { kafka, idle: Mutex::default() }))))
    }

    /// Calls that are under way keep theirs.
    async fn forget(&self) {
        // Whoever holds it connects anew.
        let Ok(link) = self.link.try_lock().map(|mut link| link.take()) else { return };
        let Some(link) = link else { return };
        for client in link.idle.lock().await.drain(..) {
            // It has nothing to send; the client warns of producers that were not closed.
            let _nothing = client.close().await;
        }
    }
}

impl Producer for KafkaProducer {
    fn send(&self, topic: &str, records: Vec<Record>) -> BoxFuture<'_, Result<(), ProduceError>> {
        let (this, topic) = (self.clone(), topic.to_owned());
        Box::pin(async move {
            if records.is_empty() {
                return Ok(());
            }
            let called = topic.clone();
            // A task of its own: dropped between two records, a call would be half a batch.
            let call = tokio::spawn(async move { this.produce(&called, records).await });
            call.await.unwrap_or_else(|error| {
                let source = Some(KrafkaError::network(io::Error::other(error)));
                Err(ProduceError::Unacknowledged { topic, source })
            })
        })
    }
}

/// Hands all records to the client as one batch and waits for what becomes of it.
async fn deliver(client: &Client, topic: &str, records: Vec<Record>, deadline: Instant) -> Result<(), ProduceError> {
    let partition = by(deadline, partition(client, topic)).await.map_err(|error| unsent(topic, error))?;
    let records: Vec<_> = records.into_iter().map(|record| record.addressed(topic, partition)).collect();
    records.iter().try_for_each(krafka::Record::validate).map_err(|error| unsent(topic, Some(error)))?;

    let unacknowledged = |source| ProduceError::Unacknowledged { topic: topic.to_owned(), source };
    let mut deliveries = Vec::with_capacity(records.len());
    // Nothing here waits for a broker, and the deadline must not part a batch.
    for record in records {
        deliveries.push(client.enqueue(record).await.map_err(|error| unacknowledged(Some(error)))?);
    }
    by(deadline, client.flush()).await.map_err(unacknowledged)?;
    let outcomes = join_all(deliveries).await;
    let accepted = outcomes.iter().any(Result::is_ok);
    match outcomes.into_iter().find_map(Result::err) {
        None => Ok(()),
        // A broker's word on the whole batch.
        Some(source) if !accepted && is_refusal(&source) => {
            Err(ProduceError::Refused { topic: topic.to_owned(), source })
        }
        source => Err(unacknowledged(source)),
    }
}

/// Any partition that can be written to.
async fn partition(client: &Client, topic: &str) -> Result<PartitionId, KrafkaError> {
    let partitions = client.partitions_for(topic).await?;
    let led: Vec<_> = partitions.iter().filter(|partition| partition.leader >= 0).collect();
    let chosen = fastrand::choice(led).map(|partition| partition.partition);
    chosen.ok_or_else(|| KrafkaError::timeout(format!("waiting for a leader of a partition of {topic}")))
}

/// What comes of work until a deadline: an error of none is the deadline's.
async fn by<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, KrafkaError>>,
) -> Result<T, Option<KrafkaError>> {
    timeout_at(deadline, work).await.map_err(|_| None)?.map_err(Some)
}

impl Record {
    fn addressed(self, topic: &str, partition: PartitionId) -> krafka::Record {
        let mut record = krafka::Record::new(topic, self.value).partition(partition);
        record.key = self.key;
        record.headers = self.headers.into_iter().map(|(name, value)| (name, Some(value))).collect();
        record
    }
}

/// Before the first record was handed over.
fn unsent(topic: &str, source: Option<KrafkaError>) -> ProduceError {
    let topic = topic.to_owned();
    match source {
        Some(source) if is_refusal(&source) => ProduceError::Refused { topic, source },
        source => ProduceError::Away { topic, source },
    }
}

/// Whether waiting is in vain.
fn is_refusal(error: &KrafkaError) -> bool {
    match error {
        KrafkaError::Network(_) | KrafkaError::Timeout { .. } | KrafkaError::DeliveryTimeout { .. } => false,
        KrafkaError::Closed { .. } => false,
        // A topic that is being made or moved is known again within the time the client was given.
        KrafkaError::Broker { code, .. } => !code.is_retriable() || *code == ErrorCode::UnknownTopicOrPartition,
        _ => true,
    }
}

/// What the records need as one batch, in bytes at most.
fn batch_bytes(records: &[Record]) -> usize {
    let record = |record: &Record| {
        let headers = record.headers.iter().map(|(name, value)| HEADER_BYTES + name.len() + value.len());
        RECORD_BYTES + record.key.as_ref().map_or(0, Bytes::len) + record.value.len() + headers.sum::<usize>()
    };
    BATCH_BYTES + records.iter().map(record).sum::<usize>()
}
