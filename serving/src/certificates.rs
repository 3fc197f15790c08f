//! A small authority for who has none, the certificates that it issues, and until when they are
//! valid. Everything is text in PEM; files are the caller's business.

use std::net::IpAddr;

use jiff::civil::Date;
use jiff::{Span, Timestamp, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::identity::Identity;
use crate::{Error, ErrorKind, Result};

/// A certificate with its key.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key, which nobody else may read.
    pub key: String,
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A receiver, by the names and addresses at which senders reach it.
    Receiver(Vec<String>),
    /// A sender, by its identity.
    Sender(Identity),
}

/// Makes an authority called `name`, valid for `days`.
///
/// # Errors
///
/// `Failed`: it cannot be made.
pub fn authority(name: &str, days: u16) -> Result<Issued> {
    let mut params = valid_for(days);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?.pem();
    Ok(Issued { certificate, key: key.serialize_pem() })
}

/// Issues a certificate for `holder`, valid for `days`, from the authority with this certificate
/// and key.
///
/// # Errors
///
/// `Usage`: the authority cannot be used, or the holder's name does not fit into a certificate.
pub fn issue(authority: &Issued, holder: &Holder, days: u16) -> Result<Issued> {
    let unusable =
        |cause| Error::new(ErrorKind::Usage, "the authority cannot be used").caused_by(cause);
    let key = KeyPair::from_pem(&authority.key).map_err(unusable)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key).map_err(unusable)?;
    let mut params = valid_for(days);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let (names, usage) = match holder {
        Holder::Receiver(names) => {
            let names = names.iter().map(|name| of_receiver(name)).collect::<Result<_>>()?;
            (names, ExtendedKeyUsagePurpose::ServerAuth)
        }
        Holder::Sender(identity) => {
            (vec![of_sender(identity)?], ExtendedKeyUsagePurpose::ClientAuth)
        }
    };
    (params.subject_alt_names, params.extended_key_usages) = (names, vec![usage]);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?.pem();
    Ok(Issued { certificate, key: key.serialize_pem() })
}

/// The moment until which the first certificate in `pem` is valid.
///
/// # Errors
///
/// `Usage`: there is none that can be read.
pub fn valid_until(pem: &[u8]) -> Result<Timestamp> {
    let wrong = || Error::new(ErrorKind::Usage, "it has no certificate that can be read");
    let certificate =
        CertificateDer::from_pem_slice(pem).map_err(|cause| wrong().caused_by(cause))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| wrong())?;
    let seconds = parsed.validity().not_after.timestamp();
    Timestamp::from_second(seconds).map_err(|cause| wrong().caused_by(cause))
}

/// Whose the first certificate in `pem` is; `None` if it does not say, as that of an authority.
#[must_use]
pub fn identity(pem: &[u8]) -> Option<Identity> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    Identity::of_certificate(&certificate).ok()
}

fn failed(cause: rcgen::Error) -> Error {
    Error::failed("making a certificate", cause)
}

/// From yesterday, because clocks differ, until `days` after today.
fn valid_for(days: u16) -> CertificateParams {
    let today = Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let moved = |days: i64| today.checked_add(Span::new().days(days)).unwrap_or(Date::MAX);
    let at = |date: Date| {
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    (params.not_before, params.not_after) = (at(moved(-1)), at(moved(i64::from(days) + 1)));
    params
}

fn of_receiver(name: &str) -> Result<SanType> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => dns(name),
    }
}

fn of_sender(identity: &Identity) -> Result<SanType> {
    match identity {
        Identity::Uri(uri) => {
            let uri = uri.as_str().try_into().map_err(|cause| no_name(uri, cause))?;
            Ok(SanType::URI(uri))
        }
        Identity::Dns(name) => dns(name),
        Identity::User(_) | Identity::Loopback => {
            let context = format!("{identity} is not an identity of a certificate");
            Err(Error::new(ErrorKind::Usage, context)
                .with_hint("use a URI such as spiffe://example.org/db-1, or dns:NAME"))
        }
    }
}

fn dns(name: &str) -> Result<SanType> {
    let allowed = |one: char| one.is_ascii_alphanumeric() || ".-_*".contains(one);
    if name.is_empty() || !name.chars().all(allowed) {
        let context = format!("\"{name}\" is neither a host name nor an address");
        return Err(Error::new(ErrorKind::Usage, context));
    }
    Ok(SanType::DnsName(name.try_into().map_err(|cause| no_name(name, cause))?))
}

fn no_name(name: &str, cause: rcgen::Error) -> Error {
    Error::new(ErrorKind::Usage, format!("\"{name}\" cannot be in a certificate")).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::tls::{Credentials, TlsClient, TlsServer};
    use crate::transport::Socket;

    fn credentials<'a>(own: &'a Issued, authority: &'a Issued) -> Credentials<'a> {
        Credentials {
            certificate: own.certificate.as_bytes(),
            key: own.key.as_bytes(),
            authorities: authority.certificate.as_bytes(),
        }
    }

    /// Who the receiver takes the sender for, and what the sender says.
    fn agree(
        receiver: (&Issued, &Issued),
        sender: (&Issued, &Issued),
        name: &str,
    ) -> (Result<Identity>, Result<()>) {
        let server = TlsServer::new(&credentials(receiver.0, receiver.1)).unwrap();
        let client = TlsClient::new(&credentials(sender.0, sender.1)).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let patience = Duration::from_secs(10);
        thread::scope(|scope| {
            let accepted = scope.spawn(|| server.accept(Socket::Unix(ours), patience));
            let connected = client.connect(name, Socket::Unix(theirs), patience).map(drop);
            (accepted.join().unwrap().map(|(_, identity)| identity), connected)
        })
    }

    #[test]
    fn a_sender_is_who_its_certificate_says_and_one_of_another_authority_is_nobody() {
        let ours = authority("ours", 30).unwrap();
        let theirs = authority("theirs", 30).unwrap();
        let names = vec!["home.example".to_owned(), "192.0.2.1".to_owned()];
        let home = issue(&ours, &Holder::Receiver(names), 30).unwrap();
        for identity in ["spiffe://example.org/db-1", "dns:db-1.example"] {
            let identity = Identity::try_from(identity.to_owned()).unwrap();
            let sender = issue(&ours, &Holder::Sender(identity.clone()), 30).unwrap();
            for name in ["home.example", "192.0.2.1"] {
                let (taken_for, connected) = agree((&home, &ours), (&sender, &ours), name);
                assert_eq!(taken_for.unwrap(), identity);
                connected.unwrap();
            }
            let (_, refused) = agree((&home, &ours), (&sender, &ours), "other.example");
            assert!(refused.unwrap_err().chain().contains("other.example"));
            let (refused, _) = agree((&home, &theirs), (&sender, &ours), "home.example");
            assert!(refused.is_err());
            let (_, refused) = agree((&home, &ours), (&sender, &theirs), "home.example");
            assert!(refused.is_err());
        }
        // A receiver's certificate is not one of a sender.
        assert!(agree((&home, &ours), (&home, &ours), "home.example").0.is_err());
    }

    #[test]
    fn a_certificate_says_until_when_it_is_valid_and_not_what_it_cannot_hold() {
        let ours = authority("ours", 30).unwrap();
        let left = |issued: &Issued| {
            let until = valid_until(issued.certificate.as_bytes()).unwrap();
            until.as_second() - Timestamp::now().as_second()
        };
        let sender = Holder::Sender(Identity::Dns("db".to_owned()));
        let day = 24 * 3600;
        assert!((30 * day..=31 * day).contains(&left(&ours)));
        assert!((7 * day..=8 * day).contains(&left(&issue(&ours, &sender, 7).unwrap())));
        assert!(valid_until(b"no certificate").is_err());
        for wrong in ["", "a b", "ü", "a/b"] {
            let refused = issue(&ours, &Holder::Receiver(vec![wrong.to_owned()]), 7);
            assert_eq!(refused.err().unwrap().kind(), ErrorKind::Usage, "{wrong}");
        }
        assert!(issue(&ours, &Holder::Sender(Identity::User(0)), 7).is_err());
        let mixed = Issued { certificate: ours.certificate, key: "no key".to_owned() };
        assert!(issue(&mixed, &sender, 7).is_err());
    }
}
