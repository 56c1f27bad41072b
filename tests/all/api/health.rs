//! Health over HTTP.

use http::StatusCode;
use serde_json::json;
use tidemark_local::stack::{STATE_TABLE, VIEWS_TABLE};
use tidemark_tests::api::Served;

#[tokio::test]
async fn health_needs_no_key_and_asks_the_tables_only_where_that_is_asked_for() {
    let served = Served::start().await;
    let well = json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")});
    for path in ["/health", "/health?deep=0", "/health?deep=1"] {
        let answered = served.get_as("", path).await;
        assert_eq!((answered.status, answered.json()), (StatusCode::OK, well.clone()), "{path}");
        assert_eq!(answered.headers["cache-control"], "no-store");
    }
    for (gone, silent) in [(VIEWS_TABLE, "views"), (STATE_TABLE, "state, views")] {
        served.stack.clients.dynamodb.delete_table().table_name(gone).send().await.unwrap();
        assert_eq!(served.get_as("", "/health").await.json(), well);
        let deep = served.get_as("", "/health?deep=1").await;
        assert_eq!(deep.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(deep.json()["detail"], format!("no answer from the tables: {silent}"));
        assert_eq!(deep.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn health_takes_nothing_else() {
    let served = Served::start().await;
    for path in ["/health?deep=2", "/health?deep=yes", "/health?depth=1"] {
        assert_eq!(served.get_as("", path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}
