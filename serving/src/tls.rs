//! TLS 1.3 with certificates on both sides: what each side needs for it, and taking it up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, version,
};

use crate::identity::Identity;
use crate::transport::tls_stream::TlsStream;
use crate::transport::{Socket, Transport};
use crate::{Error, ErrorKind, Result};

/// Certificates and keys, in PEM.
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    /// Our certificate, and those between it and its authority.
    pub certificate: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// The authorities that the other side's certificate must come from.
    pub authorities: &'a [u8],
}

/// What a receiver needs for TLS.
#[derive(Clone, Debug)]
pub struct TlsServer(Arc<ServerConfig>);

/// What a sender needs for TLS.
#[derive(Clone, Debug)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsServer {
    /// With these credentials. Every client must have a certificate of the authorities.
    ///
    /// # Errors
    ///
    /// `Usage`: one of them cannot be used, and why.
    pub fn new(credentials: &Credentials<'_>) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(credentials.authorities)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier.build().map_err(|cause| unusable("the authorities", cause))?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|cause| unusable("TLS 1.3", cause))?
            .with_client_cert_verifier(verifier);
        let (chain, key) = own(credentials)?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|cause| unusable("the certificate and its key", cause))?;
        // A client that never reads them would have its close turned into a reset.
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// Takes up the connection `socket` within `patience`: the transport, and who it is with.
    ///
    /// # Errors
    ///
    /// `Failed`: no agreement is reached in time. `Refused`: the client has no certificate that
    /// says who it is.
    pub fn accept(&self, socket: Socket, patience: Duration) -> Result<(Transport, Identity)> {
        let failed = |cause| Error::failed("taking up a TLS connection", cause);
        let connection = ServerConnection::new(Arc::clone(&self.0))
            .map_err(|cause| failed(io::Error::other(cause)))?;
        let mut stream = TlsStream::new(connection.into(), socket).map_err(failed)?;
        stream.agree(patience).map_err(failed)?;
        let identity = stream.certificate().map(Identity::of_certificate).transpose()?;
        let nobody = || Error::refused("a client without a certificate");
        Ok((Transport::tls(stream), identity.ok_or_else(nobody)?))
    }
}

impl TlsClient {
    /// With these credentials.
    ///
    /// # Errors
    ///
    /// `Usage`: one of them cannot be used, and why.
    pub fn new(credentials: &Credentials<'_>) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(credentials.authorities)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|cause| unusable("the authorities", cause))?;
        let (chain, key) = own(credentials)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|cause| unusable("TLS 1.3", cause))?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .map_err(|cause| unusable("the certificate and its key", cause))?;
        Ok(Self(Arc::new(config)))
    }

    /// Takes up TLS with the receiver `name` on `socket` within `patience`.
    ///
    /// # Errors
    ///
    /// `Usage`: that is not a name. `Failed`: no agreement is reached, and why.
    pub fn connect(&self, name: &str, socket: Socket, patience: Duration) -> Result<Transport> {
        let failed = |cause| Error::failed(format!("taking up TLS with {name}"), cause);
        let server = ServerName::try_from(name.to_owned()).map_err(|cause| {
            let context = format!("\"{name}\" is neither a host name nor an address");
            Error::new(ErrorKind::Usage, context).caused_by(cause)
        })?;
        let connection = ClientConnection::new(Arc::clone(&self.0), server)
            .map_err(|cause| failed(io::Error::other(cause)))?;
        let mut stream = TlsStream::new(connection.into(), socket).map_err(failed)?;
        let agreed = stream.agree(patience);
        agreed.map_err(|cause| match cause.kind() {
            io::ErrorKind::PermissionDenied => Error::refused(format!("{name}: {cause}")),
            _ => failed(cause),
        })?;
        Ok(Transport::tls(stream))
    }
}

fn roots(authorities: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|cause| unusable("the authorities", cause))?;
        roots.add(certificate).map_err(|cause| unusable("an authority", cause))?;
    }
    Ok(roots)
}

fn own(
    credentials: &Credentials<'_>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_slice_iter(credentials.certificate)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|cause| unusable("the certificate", cause))?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key)
        .map_err(|cause| unusable("the key", cause))?;
    Ok((chain, key))
}

fn unusable(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Usage, format!("{what} cannot be used for TLS")).caused_by(cause)
}
