//! Records to Kafka, for requests that need not wait until they are counted. Whether a call's records were accepted is
//! decided here; what is in them is not known here.
//!
//! | outcome | the records |
//! |---|---|
//! | `Ok` | are in Kafka, all of them, each once, on every replica in sync |
//! | `TooLarge`, `Away`, `Refused` | are not in Kafka, none of them |
//! | `Unacknowledged` | are there or not, and nobody knows; what carries an id may be sent again and counts once |

mod config;
mod kafka;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use krafka::KrafkaError;

pub use config::{Auth, KafkaConfig, Password};
pub use kafka::KafkaProducer;

/// What takes records for the streams.
pub trait Producer: Send + Sync {
    /// Has all records of one call accepted, or none. Their order in the topic is theirs in the call, but a reader must
    /// not count on records with one key sharing a partition: a call is on one, whatever its keys are.
    ///
    /// Whoever stops waiting does not stop the call.
    ///
    /// # Errors
    /// See the table at the top of this module.
    fn send(&self, topic: &str, records: Vec<Record>) -> BoxFuture<'_, Result<(), ProduceError>>;
}

/// One record as a reader of its topic gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key; without one, a null key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
    /// Names and values, in order.
    pub headers: Vec<(String, Bytes)>,
}

/// Why records were not accepted, or are not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// They do not fit one batch. Nothing was sent.
    #[error(
        "the records need {bytes} bytes of one batch, but topic {topic} takes {limit} (KAFKA_MAX_MESSAGE_BYTES): send \
         fewer at a time"
    )]
    TooLarge {
        /// Where they should have gone.
        topic: String,
        /// What they need at most, in bytes.
        bytes: usize,
        /// What a batch may have, in bytes.
        limit: usize,
    },
    /// No broker was there in time. Nothing was sent: try again later.
    #[error("kafka could not be reached for topic {topic}, nothing was sent: try again later")]
    Away {
        /// Where they should have gone.
        topic: String,
        /// What was met, if anything was.
        source: Option<KrafkaError>,
    },
    /// Kafka does not take them as things are set up: no such topic, no permission, wrong credentials. None was kept;
    /// again is in vain until an operator has mended it.
    #[error("kafka refused records for topic {topic}, none was kept: see its existence, permissions and credentials")]
    Refused {
        /// Where they should have gone.
        topic: String,
        /// What the client or the broker said.
        source: KrafkaError,
    },
    /// They were sent, but not acknowledged in time.
    #[error(
        "kafka did not acknowledge records for topic {topic} in time, they may be there or not: send them again, with \
         the same ids"
    )]
    Unacknowledged {
        /// Where they went.
        topic: String,
        /// What was met, if anything was.
        source: Option<KrafkaError>,
    },
}
