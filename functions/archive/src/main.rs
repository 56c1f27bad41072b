//! The Lambda binary: wiring only, the function is in the library.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    archive::run().await
}
