//! TLS before the embedded stores, with an authority of its own among Mozilla's: a trust store of a real size.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority, and what serves with its certificate.
pub(super) struct Authority {
    /// All authorities that are trusted, as a PEM file.
    pub(super) bundle: PathBuf,
    acceptor: TlsAcceptor,
    _folder: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![leaf.der().clone()], key).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("authorities.pem");
        let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain([issuer.der()]).map(pem).collect::<String>();
        std::fs::write(&bundle, all).unwrap();
        Self { bundle, acceptor: TlsAcceptor::from(Arc::new(config)), _folder: folder }
    }

    /// A URL that leads to `http://ADDRESS` over TLS.
    pub(super) async fn serve(&self, url: &str) -> String {
        let store = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, store) = (acceptor.clone(), store.clone());
                tokio::spawn(async move {
                    client.set_nodelay(true)?;
                    let mut client = acceptor.accept(client).await?;
                    let mut store = TcpStream::connect(store).await?;
                    store.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut store).await
                });
            }
        });
        format!("https://localhost:{port}")
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let base64 = base64_simd::STANDARD.encode_to_string(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}
