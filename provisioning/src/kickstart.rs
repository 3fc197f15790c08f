//! An unattended installation (kickstart) of a master target, as text, from a validated
//! [`Request`]. Pure: no file is read, no disk is examined, and the work of `mtctl prepare` is not
//! repeated here.
//!
//! The syntax follows pykickstart's tables for each release; a test runs its validator.

mod account;
mod disk;
mod first_boot;
mod layout;
mod network;
mod origin;
mod refusal;
mod release;
mod render;
#[cfg(test)]
mod tests;
mod timezone;

pub use render::render;

pub use disk::Disk;
pub use release::Release;

use account::{PasswordHash, SshKey};
use network::{Hostname, Interface, Network};
use origin::{MtctlBinary, PackageOrigin};
use system::error::{Error, ErrorKind, Result};
use timezone::Timezone;

/// The operator's answers as typed; none of them is trusted.
#[derive(Clone, Default)]
pub struct Answers {
    /// `--release`: 6, 7, 8, 9 or 10.
    pub release: String,
    /// `--hostname`: a host name of RFC 1123, at most 64 characters.
    pub hostname: String,
    /// `--disk`: the disk to install on; see [`Disk`].
    pub disk: String,
    /// `--address`: an IPv4 or IPv6 address with its prefix length, as in `192.0.2.10/24`.
    pub address: String,
    /// `--gateway`: the default gateway, of the same family and network as `address`.
    pub gateway: String,
    /// `--dns`: one to three name servers, of the same family as `address`.
    pub dns: Vec<String>,
    /// `--timezone`: a name of the time zone database, as in `Europe/Berlin`.
    pub timezone: String,
    /// `--interface`: a name, a MAC address, `link` or `bootif`; the release's default if absent.
    pub interface: Option<String>,
    /// `--root-password-hash`: a crypt(3) hash that the release can check.
    pub root_password_hash: Option<String>,
    /// `--ssh-key`: one line of an OpenSSH public key file.
    pub ssh_key: Option<String>,
    /// `--install-from`: `cdrom` (the default) or the URL of an installation tree.
    pub install_from: Option<String>,
    /// `--retention-disk`: the disk that the first boot passes to `mtctl prepare`.
    pub retention_disk: Option<String>,
    /// `--mtctl-url`: where the installation fetches the mtctl program from.
    pub mtctl_url: Option<String>,
    /// `--mtctl-sha256`: the SHA-256 of that program, 64 hex digits.
    pub mtctl_sha256: Option<String>,
}

/// A validated request for one kickstart file: every part of it can be printed unchanged.
pub struct Request {
    release: Release,
    hostname: Hostname,
    disk: Disk,
    network: Network,
    interface: Option<Interface>,
    timezone: Timezone,
    root_password_hash: Option<PasswordHash>,
    ssh_key: Option<SshKey>,
    packages_from: PackageOrigin,
    retention_disk: Option<Disk>,
    mtctl: Option<MtctlBinary>,
}

impl Request {
    /// Checks each answer, and the answers against each other and the release.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Usage`] naming the option, what is wrong with it and what would be
    /// right. The message never repeats a password or a hash.
    pub fn from_answers(answers: &Answers) -> Result<Self> {
        let release = Release::parse(&answers.release)?;
        let request = Self {
            release,
            hostname: Hostname::parse(&answers.hostname)?,
            disk: Disk::parse("--disk", &answers.disk)?,
            network: Network::parse(&answers.address, &answers.gateway, &answers.dns)?,
            interface: parse_optional(&answers.interface, |text| Interface::parse(text, release))?,
            timezone: Timezone::parse(&answers.timezone)?,
            root_password_hash: parse_optional(&answers.root_password_hash, |text| {
                PasswordHash::parse(text, release)
            })?,
            ssh_key: parse_optional(&answers.ssh_key, |text| SshKey::parse(text, release))?,
            packages_from: PackageOrigin::parse(answers.install_from.as_deref())?,
            retention_disk: parse_optional(&answers.retention_disk, |text| {
                Disk::parse("--retention-disk", text)
            })?,
            mtctl: MtctlBinary::parse(
                answers.mtctl_url.as_deref(),
                answers.mtctl_sha256.as_deref(),
            )?,
        };
        request.check_login()?;
        request.check_retention()?;
        request.check_release_runs_mtctl()?;
        Ok(request)
    }

    /// The release to install.
    pub fn release(&self) -> Release {
        self.release
    }

    /// What the operator should know before using the file, one sentence each; may be empty.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.disk.is_identity() {
            warnings.push(format!(
                "{} is a name, not an identity: in the installer it may be another disk; \
                 name /dev/disk/by-id/wwn-0x… instead, or detach every other disk first",
                self.disk.in_kickstart()
            ));
        }
        if self.ssh_key.is_none() && self.release >= Release::El9 {
            warnings.push(format!(
                "release {} lets root log in with a password on the console only, not over ssh; \
                 give --ssh-key to reach it over the network",
                self.release
            ));
        }
        if !self.release.runs_mtctl() {
            warnings.push(format!(
                "release {} cannot run mtctl: prepare it from a newer host with \
                 mtctl prepare --root, as its kickstart says",
                self.release
            ));
        }
        warnings
    }

    fn check_login(&self) -> Result<()> {
        if self.root_password_hash.is_some() || self.ssh_key.is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Usage, "looking for a way to log in as root")
            .caused_by("neither --root-password-hash nor --ssh-key was given")
            .with_hint("give --ssh-key \"$(cat ~/.ssh/id_ed25519.pub)\", or a password hash"))
    }

    fn check_retention(&self) -> Result<()> {
        let Some(retention) = &self.retention_disk else {
            return Ok(());
        };
        let refuse = |why: &str| {
            Err(refusal::of("--retention-disk", retention.in_kickstart(), why)
                .with_hint("name it by /dev/disk/by-id/wwn-0x…; mtctl disks shows the WWIDs"))
        };
        if !retention.is_identity() {
            return refuse("a kernel name may be another disk at the first boot");
        }
        if *retention == self.disk {
            return refuse("this is the disk to install on (--disk)");
        }
        Ok(())
    }

    fn check_release_runs_mtctl(&self) -> Result<()> {
        let asked = if self.mtctl.is_some() {
            "--mtctl-url"
        } else if self.retention_disk.is_some() {
            "--retention-disk"
        } else {
            return Ok(());
        };
        if self.release.runs_mtctl() {
            return Ok(());
        }
        let why =
            format!("{asked} is for the first boot, and release {} cannot run mtctl", self.release);
        Err(Error::new(ErrorKind::Usage, format!("reading {asked}"))
            .caused_by(why)
            .with_hint("leave it out, and run mtctl prepare --root from a newer host"))
    }
}

fn parse_optional<T>(
    text: &Option<String>,
    parse: impl FnOnce(&str) -> Result<T>,
) -> Result<Option<T>> {
    text.as_deref().map(parse).transpose()
}
