//! Where the suite runs: endpoints, and tables of its own at each.

use std::future::Future;
use std::io::Write;

use aws_sdk_dynamodb::Client;
use tidemark_ledger::Retry;
use tidemark_ledger::dynamo::{DynamoStore, Tables};
use tidemark_local::cli::Place as Kept;
use tidemark_local::{embedded, stack, tables};
use tidemark_runtime::Clients;

/// Names further endpoints: `URL`, `name=URL` or `aws`, with commas between them.
const VARIABLE: &str = "TIDEMARK_TEST_DYNAMODB";

/// Something that speaks DynamoDB.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    /// The embedded one.
    Embedded,
    /// One at a URL, under the name by which its known faults are found.
    Named { name: String, url: String },
    /// AWS itself, by the environment's configuration.
    Aws,
}

impl Endpoint {
    /// The embedded one, and those that the environment names.
    pub(super) fn all() -> Vec<Self> {
        let named = std::env::var(VARIABLE).unwrap_or_default();
        let named = named.split(',').map(str::trim).filter(|named| !named.is_empty()).map(Self::of);
        std::iter::once(Self::Embedded).chain(named).collect()
    }

    fn of(named: &str) -> Self {
        match named.split_once('=') {
            _ if named == "aws" => Self::Aws,
            Some((name, url)) => Self::Named { name: name.to_owned(), url: url.to_owned() },
            None => Self::Named { name: named.to_owned(), url: named.to_owned() },
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Embedded => "embedded",
            Self::Named { name, .. } => name,
            Self::Aws => "aws",
        }
    }

    async fn client(&self) -> Client {
        let config = match self {
            Self::Embedded => {
                let url = embedded::start_dynamodb(&Kept::Memory, 0).await.unwrap();
                stack::sdk_config(Some(&url), true).await
            }
            Self::Named { url, .. } => stack::sdk_config(Some(url), false).await,
            Self::Aws => stack::sdk_config(None, false).await,
        };
        Clients::new(&config, &config, &Retry::default()).dynamodb
    }
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
        let client = endpoint.client().await;
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
                say(&format!("table {table} was not deleted: {error:?}"));
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

/// Says something even if the test passes: what the macros print is shown for those that fail alone.
pub(super) fn say(line: &str) {
    writeln!(std::io::stderr(), "stores: {line}").ok();
}
