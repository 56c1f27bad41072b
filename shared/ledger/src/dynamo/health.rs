//! Whether the tables answer.

use std::time::Duration;

use aws_sdk_dynamodb::error::DisplayErrorContext;
use tidemark_model::Key;
use tokio::time::timeout;

use super::DynamoStore;
use super::item::key_item;

/// Asked for to see whether a table answers. There is no such item.
const NOTHING: Key = Key::fixed("HEALTH", "HEALTH");

impl DynamoStore {
    /// Which of the tables, `state` and `views`, do not answer one read of an item in time.
    pub async fn silent(&self, within: Duration) -> Vec<&'static str> {
        let answers = async |table: &str| {
            let request = self.client.get_item().table_name(table).set_key(Some(key_item(&NOTHING))).send();
            let error = match timeout(within, request).await {
                Ok(Ok(_)) => return true,
                Ok(Err(error)) => DisplayErrorContext(error).to_string(),
                Err(late) => late.to_string(),
            };
            tracing::warn!(table, error, "table does not answer");
            false
        };
        let (state, views) = tokio::join!(answers(&self.tables.state), answers(&self.tables.views));
        let tables = [("state", state), ("views", views)];
        tables.into_iter().filter(|(_, answers)| !answers).map(|(name, _)| name).collect()
    }
}
