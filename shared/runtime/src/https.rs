//! The HTTP client of all AWS clients: one connector, hence one pool of connections and one trust store, and
//! nothing read or parsed before the first connection.
//!
//! The SDK's own parses the system's certificates for each client that is built and for each setting of timeouts.
//! Mozilla's authorities in the binary take less than a ms of CPU, once.

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
        self.connector.get_or_init(|| SharedHttpConnector::new(built(Some(components)))).clone()
    }
}

/// A connector of the same kind, for what is no client of AWS.
pub fn connector() -> Connector {
    built(None)
}

fn built(components: Option<&RuntimeComponents>) -> Connector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut builder = Connector::builder().connector_settings(settings).proxy_config(ProxyConfig::from_env());
    builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
    // This never fails, today.
    let context = TlsContext::builder().with_trust_store(trust_store()).build().unwrap_or_default();
    builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build()
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
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(bytes) }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Its first handshake would take 30 ms of CPU more.
    #[test]
    fn the_cryptography_is_built_without_the_jitter_of_the_cpu() {
        assert_eq!(option_env!("AWS_LC_SYS_NO_JITTER_ENTROPY"), Some("1"), "set by .cargo/config.toml");
    }

    #[test]
    fn mozillas_authorities_are_read_as_they_were_written() {
        let read: Vec<_> = CertificateDer::pem_slice_iter(mozilla().as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, webpki_root_certs::TLS_SERVER_ROOT_CERTS);
    }

    #[test]
    fn a_bundle_is_refused_unless_it_holds_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.pem");
        read_bundle(&file).unwrap_err();
        for bad in ["no certificate\n", "-----BEGIN CERTIFICATE-----\nMIIF"] {
            std::fs::write(&file, bad).unwrap();
            read_bundle(&file).unwrap_err();
        }
        std::fs::write(&file, mozilla()).unwrap();
        assert_eq!(read_bundle(&file).unwrap(), mozilla().into_bytes());
    }
}
