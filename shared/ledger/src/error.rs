//! What can go wrong below the records. Bad records are values, not errors: see the model.

/// A cause from below.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The table had no capacity for it now.
    #[error("{operation} on table {table} was throttled")]
    Throttled {
        /// The API operation.
        operation: &'static str,
        /// The table's name.
        table: String,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came, or the service failed: it may or may not have been done.
    #[error("{operation} on table {table} was not answered")]
    Unanswered {
        /// The API operation.
        operation: &'static str,
        /// The table's name.
        table: String,
        /// What happened instead.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service refuses it for good: a missing table or permission, an invalid request.
    #[error(
        "{operation} on table {table} was refused; check that the table exists and the role allows dynamodb:{operation}"
    )]
    Refused {
        /// The API operation.
        operation: &'static str,
        /// The table's name.
        table: String,
        /// The answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An item is there but does not read as what it should be.
    #[error("item {pk} {sk} of table {table} has no readable attribute {attribute}")]
    Unreadable {
        /// The table's name.
        table: String,
        /// The item's partition key.
        pk: String,
        /// The item's sort key.
        sk: String,
        /// The attribute that is missing or odd.
        attribute: String,
    },
}

impl StoreError {
    /// Whether the same request may succeed later. Every write of the protocol may be repeated.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unanswered { .. })
    }
}

/// A commit that could not be finished. Nothing is lost: the batch comes again.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A request failed for good, or too often.
    #[error("request failed after {attempts} attempts")]
    Store {
        /// How often it was tried.
        attempts: usize,
        /// The last failure.
        #[source]
        source: StoreError,
    },
    /// The invocation's time is up, or the process is shutting down.
    #[error("stopped before the deadline with work left; a repetition goes on")]
    Deadline,
    /// Offsets start again with later timestamps.
    #[error(
        "offset {offset} of lane `{lane}` is covered already but newer than all that was: \
         the topic was recreated; raise the parameter SourceEpoch"
    )]
    TopicRecreated {
        /// The lane's full name.
        lane: String,
        /// The offset that came again.
        offset: i64,
    },
    /// Two lanes have one id.
    #[error("lanes `{lane}` and `{other}` have one id; raise the parameter SourceEpoch")]
    LaneCollision {
        /// This lane's full name.
        lane: String,
        /// The name that the cursor carries.
        other: String,
    },
    /// The cursor names a plan that is not there.
    #[error("pending plan {plan} of lane {lane} is missing; restore it from the table's backup")]
    PlanMissing {
        /// The lane's id.
        lane: String,
        /// The plan's id.
        plan: String,
    },
    /// A plan that was committed during a cut is not in the log.
    #[error(
        "plan {seq} of lane {lane} is not in the log: it has expired, or an earlier release wrote it or the next, \
         which does not say what came before; take the cut anew"
    )]
    LogIncomplete {
        /// The lane's id.
        lane: String,
        /// The plan's seq.
        seq: u64,
    },
    /// A cut is restored into tables that hold something else.
    #[error("tables hold {what}, which is not of this cut; restore into empty ones")]
    NotEmpty {
        /// Something that is there.
        what: String,
    },
    /// A plan cannot be encoded or decoded.
    #[error("plan cannot be read or written; it may be a newer release's: deploy that one again")]
    Plan(#[source] std::io::Error),
    /// A plan exceeds an item, and cannot be split any further.
    #[error("plan takes {bytes} bytes, more than an item holds")]
    PlanTooLarge {
        /// Its encoded size.
        bytes: usize,
    },
    /// The batch was started again too often without a deadline to stop it.
    #[error("gave up after {rounds} rounds of conflicts; the batch will come again")]
    Contended {
        /// How often it was started.
        rounds: usize,
    },
}
