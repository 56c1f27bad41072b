//! The contract: whatever schemathesis makes of the served description, the API does what the description says. How it
//! is driven stands in tests/contract/schemathesis.toml.

use std::process::Command;

use tidemark_tests::api::Served;
use tidemark_tests::{program, root, say};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_does_what_its_description_says() {
    let Some(schemathesis) = program(".venv-schemathesis", "schemathesis") else { return };
    let served = Served::on_samples().await;
    let folder = tempfile::tempdir().unwrap();
    let mut run = Command::new(schemathesis);
    run.arg("--config-file").arg(root().join("tests/contract/schemathesis.toml"));
    run.args(["--no-color", "run", "--header", &format!("X-Api-Key: {}", served.unlimited_key().await)]);
    run.arg(format!("{}/openapi.json", served.listen().await)).current_dir(folder.path());
    let output = tokio::task::block_in_place(|| run.output().unwrap());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    say(said.split("= SUMMARY =").last().unwrap_or(&said));
}
