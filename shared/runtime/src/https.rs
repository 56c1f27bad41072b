//! The HTTP client of all AWS clients: one connector, hence one pool of connections and one trust store, and
//! nothing read or parsed before the first connection.
//!
//! The SDK's own parses the system's certificates for each client that is built and for each setting of timeouts,
//! 4 ms of CPU each time where they are many small files. Mozilla's authorities in the binary take 0.9 ms, once.

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

/// What a connection may take, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTP client by the environment: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; `AWS_CA_BUNDLE` (a file of PEM
/// certificates, which alone are trusted then) or `SSL_CERT_FILE` and `SSL_CERT_DIR` instead of Mozilla's authorities.
///
/// All clients that share it share its connections. It keeps a connect timeout of 2 s, whatever theirs are.
pub fn client() -> SharedHttpClient {
    SharedHttpClient::new(Https::default())
}

#[derive(Debug, Default)]
struct Https {
    connector: OnceLock<SharedHttpConnector>,
}

impl HttpClient for Https {
    fn http_connector(&self, _: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.connector.get_or_init(|| SharedHttpConnector::new(connector(components))).clone()
    }
}

fn connector(components: &RuntimeComponents) -> Connector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut builder = Connector::builder().connector_settings(settings).proxy_config(ProxyConfig::from_env());
    builder.set_sleep_impl(components.sleep_impl());
    let builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    match TlsContext::builder().with_trust_store(trust_store()).build() {
        Ok(context) => builder.tls_context(context).build(),
        Err(_infallible_here) => builder.build(),
    }
}

fn trust_store() -> TrustStore {
    if let Some(bundle) = std::env::var_os("AWS_CA_BUNDLE").filter(|file| !file.is_empty()) {
        return match read_bundle(bundle.as_ref()) {
            Ok(pem) => TrustStore::empty().with_pem_certificate(pem),
            Err(error) => {
                // Whoever names the only authorities to be trusted does not want others instead.
                tracing::error!(file = %bundle.display(), %error, "AWS_CA_BUNDLE cannot be read: no server is trusted");
                TrustStore::empty()
            }
        };
    }
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if named { TrustStore::default() } else { TrustStore::empty().with_pem_certificate(mozilla()) }
}

fn read_bundle(file: &std::path::Path) -> Result<Vec<u8>, pem::Error> {
    let bytes = std::fs::read(file).map_err(pem::Error::Io)?;
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(bytes)
}

/// Mozilla's authorities as the SDK takes them.
fn mozilla() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        base64_simd::STANDARD.encode_append(certificate, &mut pem);
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem
}
