//! Where packages and the mtctl program come from: URLs and checksums. Nothing is fetched here.

use super::refusal;
use system::error::{Error, ErrorKind, Result};

const URL_MAX: usize = 1024;

/// Where the installer takes its packages from.
pub(super) enum PackageOrigin {
    /// The medium in the VM's CD drive; it must be the DVD, which contains the packages.
    Cdrom,
    /// An installation tree (the `os` folder of the distribution's BaseOS) on a server.
    Tree(Url),
}

impl PackageOrigin {
    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("cdrom") => Ok(Self::Cdrom),
            Some(text) => Url::parse("--install-from", text, &["https://", "http://", "ftp://"])
                .map(Self::Tree),
        }
    }
}

/// The mtctl program on a server, and the hash that its bytes must have.
pub(super) struct MtctlBinary {
    pub(super) url: Url,
    /// 64 lower-case hex digits.
    pub(super) sha256: String,
}

impl MtctlBinary {
    /// Both or neither: a program that root runs unattended must be verified.
    pub(super) fn parse(url: Option<&str>, sha256: Option<&str>) -> Result<Option<Self>> {
        let (url, sha256) = match (url, sha256) {
            (None, None) => return Ok(None),
            (Some(url), Some(sha256)) => (url, sha256),
            _ => {
                return Err(Error::new(ErrorKind::Usage, "reading --mtctl-url")
                    .caused_by("--mtctl-url and --mtctl-sha256 come together")
                    .with_hint("run sha256sum on the mtctl program and give its 64 hex digits"));
            }
        };
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refusal::of("--mtctl-sha256", sha256, "a SHA-256 has 64 hex digits"));
        }
        Ok(Some(Self {
            url: Url::parse("--mtctl-url", url, &["https://", "http://"])?,
            sha256: sha256.to_ascii_lowercase(),
        }))
    }
}

/// A URL without bytes that have a meaning in a kickstart line or a quoted shell word.
pub(super) struct Url(String);

impl Url {
    fn parse(option: &str, text: &str, schemes: &[&str]) -> Result<Self> {
        let refuse = |why: &str| {
            Err(refusal::of(option, text, why)
                .with_hint("as in https://mirror.example.org/9/BaseOS/x86_64/os/"))
        };
        let Some(rest) = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) else {
            return refuse("it does not start with a scheme that can be fetched");
        };
        if rest.is_empty() || rest.starts_with('/') {
            return refuse("it names no server");
        }
        if text.len() > URL_MAX || !rest.bytes().all(is_url_byte) {
            return refuse("it has bytes that are not safe in a URL (write them as %XX)");
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// No quotes, spaces, `$` or `#`; and no `@`, because a password in a URL would be printed.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?=&%+,[]".contains(&byte)
}
