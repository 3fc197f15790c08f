//! Who is at the other end of a connection: the URI in its certificate, else the DNS name, and
//! never the common name; on a Unix socket, the user.

use std::fmt;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The most identities that one certificate may have.
const NAMES_MAX: usize = 16;

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identity {
    /// The URI of a certificate, such as `spiffe://example.org/db-1`.
    Uri(String),
    /// The DNS name of a certificate.
    Dns(String),
    /// The number of a user of this host.
    User(u32),
    /// Whoever reaches a loopback address of this host.
    Loopback,
}

impl Identity {
    /// The identity that `certificate`, which was verified, gives its owner.
    ///
    /// # Errors
    ///
    /// `Refused`: it gives none, or several of a kind.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self> {
        let read = webpki::EndEntityCert::try_from(certificate)
            .map_err(|cause| Error::refused("reading a certificate").caused_by(cause))?;
        let uris: Vec<_> = read.valid_uri_names().take(NAMES_MAX).collect();
        let names: Vec<_> = read.valid_dns_names().take(NAMES_MAX).collect();
        match (&uris[..], &names[..]) {
            ([uri], _) => Ok(Self::Uri((*uri).to_owned())),
            ([], [name]) => Ok(Self::Dns(name.to_ascii_lowercase())),
            ([], []) => Err(Error::refused(
                "a certificate without a URI and without a DNS name: it does not say whose it is",
            )
            .with_hint("give it one subject alternative name; the common name does not count")),
            (several, _) if !several.is_empty() => Err(is_several("URIs", several)),
            (_, several) => Err(is_several("DNS names and no URI", several)),
        }
    }
}

fn is_several(what: &str, names: &[&str]) -> Error {
    let context = format!("a certificate with several {what}: {}", names.join(", "));
    Error::refused(context).with_hint("give it one URI, which says whose it is")
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => f.write_str(uri),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::User(number) => write!(f, "user:{number}"),
            Self::Loopback => f.write_str("loopback"),
        }
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for Identity {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        if text == "loopback" {
            return Ok(Self::Loopback);
        }
        if let Some(name) = text.strip_prefix("dns:") {
            return Ok(Self::Dns(name.to_ascii_lowercase()));
        }
        if let Some(number) = text.strip_prefix("user:") {
            let number = number.parse().map_err(|_| format!("{text}: not the number of a user"))?;
            return Ok(Self::User(number));
        }
        match text.contains("://") || text.starts_with("urn:") {
            true => Ok(Self::Uri(text)),
            false => Err(format!(
                "{text}: not an identity; use a URI, dns:NAME, user:NUMBER or loopback"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written_and_a_bare_name_is_none() {
        for text in
            ["spiffe://example.org/db", "urn:uuid:1", "dns:db.example", "user:0", "loopback"]
        {
            let identity = Identity::try_from(text.to_owned()).unwrap();
            assert_eq!(identity.to_string(), text);
        }
        assert_eq!(Identity::try_from("dns:DB".to_owned()), Ok(Identity::Dns("db".to_owned())));
        for text in ["db.example", "", "user:", "user:-1", "user:root"] {
            assert!(Identity::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
