//! The certificate that we show, its key, and the authorities that we believe, as they were named.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serving::tls::{Credentials, TlsClient, TlsServer};
use system::{Error, ErrorKind, Result};

/// Credentials for TLS, in PEM.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TlsOptions {
    /// Our certificate, and those between it and its authority
    #[arg(long, value_name = "FILE", requires_all = ["key", "authorities"])]
    certificate: Option<PathBuf>,

    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,

    /// The authorities that the other side's certificate must come from
    #[arg(long, value_name = "FILE", requires = "certificate")]
    authorities: Option<PathBuf>,
}

impl TlsOptions {
    /// For a receiver.
    ///
    /// # Errors
    ///
    /// `Usage`: none were named, or they cannot be used. `Failed`: one cannot be read.
    pub(crate) fn server(&self) -> Result<TlsServer> {
        let missing = || {
            Error::new(ErrorKind::Usage, "listening on the network needs a certificate")
                .with_hint("name it with --certificate, --key and --authorities")
        };
        self.with(TlsServer::new)?.ok_or_else(missing)
    }

    /// For a sender, if they were named.
    ///
    /// # Errors
    ///
    /// As [`server`](Self::server).
    pub(crate) fn client(&self) -> Result<Option<TlsClient>> {
        self.with(TlsClient::new)
    }

    fn with<T>(&self, make: impl FnOnce(&Credentials<'_>) -> Result<T>) -> Result<Option<T>> {
        let all = (&self.certificate, &self.key, &self.authorities);
        let (Some(certificate), Some(key), Some(authorities)) = all else { return Ok(None) };
        let (certificate, key, authorities) = (read(certificate)?, read(key)?, read(authorities)?);
        let credentials =
            Credentials { certificate: &certificate, key: &key, authorities: &authorities };
        make(&credentials).map(Some)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|cause| Error::failed(format!("reading {}", path.display()), cause))
}
