//! Tables, created from the very definitions in template.yaml that are deployed.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use yaml_rust2::{Yaml, YamlLoader};

/// The deployed template.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// How long AWS may take to make a table ready, at most.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// Creates a table as a resource of the template defines it, and waits until it is ready; one that
/// exists is left as it is.
///
/// # Errors
/// If the template does not define it or the store refuses it.
pub async fn create(client: &Client, resource: &str, table: &str) -> Result<(), BoxError> {
    let template = YamlLoader::load_from_str(TEMPLATE)?;
    let properties = template.first().map(|document| &document["Resources"][resource]["Properties"]);
    let properties = properties.ok_or("the template is empty")?;
    let request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    match defined(request, properties)?.send().await {
        Err(e) if e.as_service_error().and_then(|e| e.code()) == Some("ResourceInUseException") => return Ok(()),
        Err(e) => return Err(DisplayErrorContext(e).to_string().into()),
        Ok(_) => {}
    }
    client.wait_until_table_exists().table_name(table).wait(READY_WITHIN).await?;
    let ttl = &properties["TimeToLiveSpecification"]["AttributeName"];
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(text(ttl)?).build()?;
    let enabled = client.update_time_to_live().table_name(table).time_to_live_specification(ttl).send().await;
    enabled.map_err(|e| DisplayErrorContext(e).to_string())?;
    Ok(())
}

fn defined(mut request: CreateTableFluentBuilder, properties: &Yaml) -> Result<CreateTableFluentBuilder, BoxError> {
    for attribute in list(&properties["AttributeDefinitions"]) {
        request = request.attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(text(&attribute["AttributeName"])?)
                .attribute_type(ScalarAttributeType::from(text(&attribute["AttributeType"])?))
                .build()?,
        );
    }
    request = request.set_key_schema(Some(key_schema(&properties["KeySchema"])?));
    for index in list(&properties["GlobalSecondaryIndexes"]) {
        let projection = ProjectionType::from(text(&index["Projection"]["ProjectionType"])?);
        request = request.global_secondary_indexes(
            GlobalSecondaryIndex::builder()
                .index_name(text(&index["IndexName"])?)
                .set_key_schema(Some(key_schema(&index["KeySchema"])?))
                .projection(Projection::builder().projection_type(projection).build())
                .build()?,
        );
    }
    Ok(request)
}

fn key_schema(schema: &Yaml) -> Result<Vec<KeySchemaElement>, BoxError> {
    list(schema)
        .iter()
        .map(|element| {
            let key_type = KeyType::from(text(&element["KeyType"])?);
            let name = text(&element["AttributeName"])?;
            Ok(KeySchemaElement::builder().attribute_name(name).key_type(key_type).build()?)
        })
        .collect()
}

fn list(yaml: &Yaml) -> &[Yaml] {
    yaml.as_vec().map_or(&[], Vec::as_slice)
}

fn text(yaml: &Yaml) -> Result<&str, BoxError> {
    yaml.as_str().ok_or_else(|| "the template misses a table's property".into())
}
