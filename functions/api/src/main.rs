//! The Lambda binary: wiring only, the function is in the library.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::run().await
}
