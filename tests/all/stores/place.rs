//! Where the suite runs: tables of its own at each endpoint.

use std::future::Future;

use aws_sdk_dynamodb::Client;
use tidemark_ledger::Retry;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_local::cli::Place as Kept;
use tidemark_local::{embedded, tables};
use tidemark_runtime::Clients;
use tidemark_tests::say;

use crate::endpoint::Endpoint;

/// Names further endpoints.
const VARIABLE: &str = "TIDEMARK_TEST_DYNAMODB";

/// The embedded DynamoDB, and those that the environment names.
pub(super) fn endpoints() -> Vec<Endpoint> {
    Endpoint::all(VARIABLE)
}

/// A store on tables that nobody else uses.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) tables: Tables,
    pub(super) store: DynamoStore,
}

impl Place {
    /// Its tables are not there yet.
    async fn at(endpoint: &Endpoint) -> Self {
        let embedded = async || embedded::start_dynamodb(&Kept::Memory, 0).await.unwrap();
        let config = endpoint.config(embedded).await;
        let client = Clients::new(&config, &config, &Retry::default()).dynamodb;
        let id = fastrand::u64(..);
        let tables =
            Tables { state: format!("tidemark-test-{id:016x}-state"), views: format!("tidemark-test-{id:016x}-views") };
        Self { store: DynamoStore::new(client.clone(), tables.clone()), client, tables }
    }

    /// As the template defines them.
    async fn create_tables(&self) {
        for (resource, table) in [("StateTable", &self.tables.state), ("ViewsTable", &self.tables.views)] {
            tables::create(&self.client, resource, table).await.unwrap_or_else(|e| panic!("{table}: {e}"));
        }
    }

    /// What cannot be deleted is named, since it may cost money.
    async fn delete_tables(&self) {
        for table in [&self.tables.state, &self.tables.views] {
            if let Err(error) = self.client.delete_table().table_name(table).send().await {
                say(&format!("stores: table {table} was not deleted: {error:?}"));
            }
        }
    }
}

/// Runs something on fresh tables, which are deleted whatever comes of it.
pub(super) async fn on_fresh_tables<F>(endpoint: &Endpoint, run: impl FnOnce(Place) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let place = Place::at(endpoint).await;
    let used = place.clone();
    let outcome = tokio::spawn(async move {
        used.create_tables().await;
        run(used).await;
    });
    let outcome = outcome.await;
    place.delete_tables().await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}
