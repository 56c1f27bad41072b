//! What the store's failing answers mean: a server that answers one thing, over the real client.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_dynamodb::{Client, Config};
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_ledger::{LaneId, Store, StoreError};
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
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(server(answer).await)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    let tables = Tables { state: "state-table".to_owned(), views: "views-table".to_owned() };
    let store = DynamoStore::new(Client::from_conf(config), tables);
    store.read_cursor(&LaneId::stored("lane")).await.unwrap_err()
}

#[tokio::test]
async fn each_failing_answer_is_repeated_or_final() {
    for (answer, expected) in [
        (Some((400, r#"{"__type":"c#ProvisionedThroughputExceededException"}"#)), "was throttled"),
        (Some((400, r#"{"__type":"com.amazon.coral.availability#ThrottlingException"}"#)), "was throttled"),
        (Some((400, r#"{"__type":"c#RequestLimitExceeded"}"#)), "was throttled"),
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
