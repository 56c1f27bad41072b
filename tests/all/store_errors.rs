//! What the store's failing answers mean: a server that answers one thing, over the real client.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_dynamodb::{Client, Config};
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{Cursor, Floor, LaneId, LaneStats, PlanId, Row, Store, StoreError, Written};
use tidemark_model::product::{Product, Status};
use tidemark_model::views::{CURRENT, ranking_of};
use tidemark_model::{Decimal, Key, State, Transition, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that answers every request alike, or closes the connection; its URL.
async fn server(answer: Option<(u16, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            // The requests of this test fit one segment.
            let _request = socket.read(&mut [0; 65_536]).await;
            let Some((status, body)) = answer else { continue };
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\n");
            let text = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    });
    url
}

async fn error(answer: Option<(u16, &'static str)>) -> StoreError {
    store(&server(answer).await).read_cursor(&LaneId::stored("lane")).await.unwrap_err()
}

fn store(url: &str) -> DynamoStore {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    let tables = Tables { state: "state-table".to_owned(), views: "views-table".to_owned() };
    DynamoStore::new(Client::from_conf(config), tables)
}

#[tokio::test]
async fn each_failing_answer_is_repeated_or_final() {
    for (answer, expected) in [
        (Some((400, r#"{"__type":"c#ProvisionedThroughputExceededException"}"#)), "was throttled"),
        (Some((400, r#"{"__type":"com.amazon.coral.availability#ThrottlingException"}"#)), "was throttled"),
        (Some((400, r#"{"__type":"c#RequestLimitExceeded"}"#)), "was throttled"),
        (Some((400, r#"{"__type":"c#TransactionConflictException"}"#)), "was throttled"),
        (Some((400, r#"{"__type":"c#ReplicatedWriteConflictException"}"#)), "was throttled"),
        (Some((500, r#"{"__type":"c#InternalServerError"}"#)), "was not answered"),
        (Some((500, "")), "was not answered"),
        (Some((503, "<html>busy</html>")), "was not answered"),
        (None, "was not answered"),
        (Some((400, r#"{"__type":"c#ResourceNotFoundException"}"#)), "was refused; check that the table exists"),
        (Some((400, r#"{"__type":"c#AccessDeniedException"}"#)), "was refused; check that the table exists"),
        (Some((400, r#"{"__type":"c#ValidationException"}"#)), "was refused"),
    ] {
        let error = error(answer).await;
        let message = error.to_string();
        assert!(
            message.contains("GetItem on table state-table") && message.contains(expected),
            "{answer:?}: {message}"
        );
        assert_eq!(error.is_retryable(), !expected.contains("refused"), "{answer:?}");
    }
}

/// What a batch of statements is answered, of a member each: the rest of the batch stands.
#[tokio::test]
async fn each_failing_member_of_a_batch_is_repeated_or_final() {
    let transition = |id: &str| Transition {
        key: Key::of("PRODUCT", id, "STATE"),
        counter: 1,
        version: Version::NONE,
        before: None,
        after: State::Product(Product {
            id: 1,
            seller: "s".into(),
            name: "n".into(),
            status: Status::Deleted { expires: None },
        }),
    };
    let (first, second) = (transition("1"), transition("2"));
    for (body, expected) in [
        (r#"{"Responses":[{},{"Error":{"Code":"ThrottlingError"}}]}"#, Some(Written::Unprocessed)),
        (r#"{"Responses":[{},{"Error":{"Code":"ProvisionedThroughputExceeded"}}]}"#, Some(Written::Unprocessed)),
        (r#"{"Responses":[{},{"Error":{"Code":"TransactionConflict"}}]}"#, Some(Written::Unprocessed)),
        (r#"{"Responses":[{},{"Error":{"Code":"InternalServerError"}}]}"#, Some(Written::Unprocessed)),
        (r#"{"Responses":[{}]}"#, Some(Written::Unprocessed)),
        (r#"{"Responses":[{},{"Error":{"Code":"ConditionalCheckFailed"}}]}"#, Some(Written::Unseen)),
        (r#"{"Responses":[{},{"Error":{"Code":"DuplicateItem"}}]}"#, Some(Written::Unseen)),
        (r#"{"Responses":[{},{"Error":{"Code":"DuplicateItem","Item":{}}}]}"#, Some(Written::Unseen)),
        (
            r#"{"Responses":[{},{"Error":{"Code":"ConditionalCheckFailed","Item":{"PK":{"S":"x"},"~lane":{"N":"7"}}}}]}"#,
            Some(Written::Refused { mark: 7 }),
        ),
        (r#"{"Responses":[{},{"Error":{"Code":"ValidationError"}}]}"#, None),
        (r#"{"Responses":[{},{"Error":{"Code":"AccessDenied"}}]}"#, None),
        (r#"{"Responses":[{},{"Error":{"Code":"ResourceNotFound"}}]}"#, None),
    ] {
        let store = store(&server(Some((200, body))).await);
        let answer = store.write_entities(&LaneId::stored("lane"), 7, &[&first, &second]).await;
        match expected {
            Some(written) => assert_eq!(answer.unwrap().value, [Written::Applied, written], "{body}"),
            None => assert!(matches!(answer.unwrap_err(), StoreError::Refused { .. }), "{body}"),
        }
    }
}

/// Taken for refused, a write that was throttled would count as done by another.
#[tokio::test]
async fn no_failure_is_taken_for_a_refused_condition() {
    let store = store(&server(Some((400, r#"{"__type":"c#ThrottlingException"}"#))).await);
    let (lane, key) = (LaneId::stored("lane"), Key::of("CUSTOMER", "1", CURRENT));
    let ranking = ranking_of(&key).unwrap();
    let (row, one) = (Row::default(), Decimal::whole(1));
    let cursor = Cursor {
        seq: 1,
        plan: PlanId::new(1, 1),
        pending: true,
        through: None,
        through_ts: None,
        since_ms: 0,
        name: "lane".to_owned(),
    };
    let outcomes = [
        ("advance", store.advance(&lane, &cursor).await.map(drop)),
        ("add_row", store.add_row(&lane, 1, &key, &row.measures, None).await.map(drop)),
        ("create_row", store.create_row(&key, &row.measures, &[]).await.map(drop)),
        ("set_extreme", store.set_extreme(&key, "min", one).await.map(drop)),
        ("set_floor", store.set_floor(ranking, Floor::default(), Floor::default()).await.map(drop)),
        ("set_rank", store.set_rank(&key, ranking, &row, Some(one)).await.map(drop)),
        ("finish", store.finish(&lane, 1, &LaneStats::default()).await.map(drop)),
    ];
    for (request, outcome) in outcomes {
        assert!(matches!(outcome, Err(StoreError::Throttled { .. })), "{request}: {outcome:?}");
    }
}

#[tokio::test]
async fn who_is_not_there_is_asked_again() {
    // A port that was free a moment ago.
    let url = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let error = store(&url).read_cursor(&LaneId::stored("lane")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unanswered { .. }), "{error:?}");
}
