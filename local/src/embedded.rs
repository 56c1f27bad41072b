//! The embedded stores: DynamoDB (SQLite behind the wire protocol) and S3 (files behind the wire
//! protocol), each on a loopback port of this process.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use dynoxide::Database;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::cli::Place;
use crate::embedded_s3::EmbeddedS3;

/// The credentials that the embedded S3 accepts; the embedded DynamoDB accepts any.
pub const ACCESS_KEY: &str = "tidemark";
/// Its secret.
pub const SECRET_KEY: &str = "tidemark-local";

/// Starts an embedded DynamoDB; its URL.
///
/// # Errors
/// If the port is taken or the folder cannot be used.
pub async fn start_dynamodb(place: &Place, port: u16) -> io::Result<String> {
    let database = match place {
        Place::Memory => Database::memory(),
        Place::Folder(folder) => {
            std::fs::create_dir_all(folder)?;
            Database::new(&folder.join("dynamodb.sqlite").to_string_lossy())
        }
    };
    let database = database.map_err(|e| io::Error::other(e.to_string()))?;
    let listener = listen(port, "--dynamodb-port").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(url)
}

/// Starts an embedded S3 with one bucket; its URL, and the folder to keep while it runs if the
/// data is not to stay.
///
/// # Errors
/// If the port is taken or the folder cannot be used.
pub async fn start_s3(place: &Place, port: u16, bucket: &str) -> io::Result<(String, Option<TempDir>)> {
    match place {
        Place::Memory => {
            let folder = TempDir::new()?;
            Ok((serve_s3(folder.path(), port, bucket).await?, Some(folder)))
        }
        Place::Folder(folder) => Ok((serve_s3(&folder.join("s3"), port, bucket).await?, None)),
    }
}

async fn serve_s3(folder: &Path, port: u16, bucket: &str) -> io::Result<String> {
    std::fs::create_dir_all(folder.join(bucket))?;
    let mut service = S3ServiceBuilder::new(EmbeddedS3::new(folder.to_owned())?);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    let listener = listen(port, "--s3-port").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let server = Builder::new(TokioExecutor::new());
        loop {
            // A connection that fails is its client's problem, and the client repeats.
            let Ok((socket, _)) = listener.accept().await else { continue };
            let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
            tokio::spawn(async move { connection.await.ok() });
        }
    });
    Ok(url)
}

async fn listen(port: u16, option: &str) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|e| io::Error::new(e.kind(), format!("port {port} cannot be used: {e}; choose another with {option}")))
}
