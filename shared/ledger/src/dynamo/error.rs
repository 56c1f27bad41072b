//! The one place that decides what a failed request means.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::StoreError;
use crate::error::BoxError;

/// The code of a refused condition.
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

/// Codes that ask to come again more slowly.
const THROTTLED: &[&str] = &[
    "ProvisionedThroughputExceededException",
    "ProvisionedThroughputExceeded",
    "ThrottlingException",
    "ThrottlingError",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionConflictException",
    "TransactionConflict",
    "ReplicatedWriteConflictException",
];

/// Codes after which nobody knows whether the write was done.
const UNANSWERED: &[&str] = &["InternalServerError", "ServiceUnavailable", "InternalFailure"];

/// Whether a code means a refused condition.
pub(super) fn is_condition_failed<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(CONDITION_FAILED)
}

/// Of an update whose condition did not hold, the item as it was, where the answer has it.
pub(super) fn refused_item<R>(error: &SdkError<UpdateItemError, R>) -> Option<HashMap<String, AttributeValue>> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(refusal) => refusal.item.clone(),
        _ => None,
    }
}

/// What a failed request means for the ledger.
pub(super) fn store_error<E>(operation: &'static str, table: &str, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(ToOwned::to_owned);
    // A failing service or a proxy before it may answer without a code that could be read.
    let failing = error.raw_response().is_some_and(|answer| answer.status().is_server_error());
    let reached = matches!(error, SdkError::ServiceError(_) | SdkError::ConstructionFailure(_)) && !failing;
    let source = DisplayErrorContext(error).to_string().into();
    coded(operation, table, code.as_deref(), reached, source)
}

/// A request that the client itself could not build.
pub(super) fn invalid(operation: &'static str, table: &str, error: BuildError) -> StoreError {
    StoreError::Refused { operation, table: table.to_owned(), source: error.into() }
}

/// What a member's error code within a batch means.
pub(super) fn member_error(operation: &'static str, table: &str, code: &str, message: &str) -> StoreError {
    coded(operation, table, Some(code), true, format!("{code}: {message}").into())
}

fn coded(operation: &'static str, table: &str, code: Option<&str>, reached: bool, source: BoxError) -> StoreError {
    let table = table.to_owned();
    match code {
        Some(code) if THROTTLED.contains(&code) => StoreError::Throttled { operation, table, source },
        Some(code) if UNANSWERED.contains(&code) => StoreError::Unanswered { operation, table, source },
        _ if !reached => StoreError::Unanswered { operation, table, source },
        _ => StoreError::Refused { operation, table, source },
    }
}
