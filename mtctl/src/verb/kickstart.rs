//! `mtctl kickstart`: prints an unattended installation. `provisioning::kickstart` decides what is
//! printed and refused.

use std::io::Write as _;

use clap::Args;
use provisioning::kickstart::{Answers, Request, render};

use crate::exit::Exit;
use crate::output;

/// What was typed after `mtctl kickstart`.
#[derive(Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub struct Arguments {
    /// Release of CentOS, RHEL or a rebuild
    #[arg(long, value_name = "N", value_parser = ["6", "7", "8", "9", "10"])]
    release: String,

    /// Host name, short or fully qualified (RFC 1123)
    #[arg(long, value_name = "NAME")]
    hostname: String,

    /// Disk to install on, whose content is lost: /dev/disk/by-id/wwn-… (best), or sda
    #[arg(long)]
    disk: String,

    /// Static address with its prefix length, IPv4 or IPv6
    #[arg(long, value_name = "CIDR")]
    address: String,

    /// Default gateway, in the network of the address
    #[arg(long, value_name = "IP")]
    gateway: String,

    /// Name server; may be given up to three times
    #[arg(long, value_name = "IP", required = true)]
    dns: Vec<String>,

    /// Time zone, as in Europe/Berlin
    #[arg(long, value_name = "TZ")]
    timezone: String,

    /// Network interface: name, MAC address, link (first with a carrier) or bootif [default: link;
    /// on release 6 the first interface]
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,

    /// Root's password as a crypt(3) hash: $6$…, $5$…, since release 9 also $y$… [this, --ssh-key
    /// or both]
    #[arg(long, value_name = "HASH")]
    root_password_hash: Option<String>,

    /// Root's OpenSSH public key, the whole line
    #[arg(long, value_name = "KEY")]
    ssh_key: Option<String>,

    /// Where packages come from: cdrom, or the URL of an installation tree [default: cdrom]
    #[arg(long, value_name = "cdrom|URL")]
    install_from: Option<String>,

    /// Retention disk for mtctl prepare at the first boot; the installer does not touch it
    #[arg(long, value_name = "DISK")]
    retention_disk: Option<String>,

    /// URL of the mtctl program
    #[arg(long, value_name = "URL", requires = "mtctl_sha256")]
    mtctl_url: Option<String>,

    /// SHA-256 of that program
    #[arg(long, value_name = "HEX", requires = "mtctl_url")]
    mtctl_sha256: Option<String>,

    /// Print {"release","kickstart","warnings"} as JSON
    #[arg(long)]
    json: bool,
}

/// Leaves out root's password hash, which does not belong in a log.
impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arguments")
            .field("release", &self.release)
            .field("hostname", &self.hostname)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl Arguments {
    fn answers(&self) -> Answers {
        Answers {
            release: self.release.clone(),
            hostname: self.hostname.clone(),
            disk: self.disk.clone(),
            address: self.address.clone(),
            gateway: self.gateway.clone(),
            dns: self.dns.clone(),
            timezone: self.timezone.clone(),
            interface: self.interface.clone(),
            root_password_hash: self.root_password_hash.clone(),
            ssh_key: self.ssh_key.clone(),
            install_from: self.install_from.clone(),
            retention_disk: self.retention_disk.clone(),
            mtctl_url: self.mtctl_url.clone(),
            mtctl_sha256: self.mtctl_sha256.clone(),
        }
    }
}

/// Prints the kickstart on stdout, and what the operator should know on stderr.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let request = Request::from_answers(&arguments.answers())?;
    let kickstart = render(&request);
    let warnings = request.warnings();
    let mut stdout = output::stdout();
    if arguments.json {
        let report = serde_json::json!({
            "release": request.release().number(),
            "kickstart": kickstart,
            "warnings": warnings,
        });
        writeln!(stdout, "{report}")?;
    } else {
        stdout.write_all(kickstart.as_bytes())?;
    }
    stdout.flush()?;
    for warning in warnings {
        output::complain(&format!("mtctl: warning: {warning}"));
    }
    Ok(Exit::Done)
}

const USAGE: &str = "mtctl kickstart --release N --hostname NAME --disk DISK ... [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  mtctl kickstart --release 9 --hostname mt1.example.org \\
      --disk /dev/disk/by-id/wwn-0x6000c29a1b2c3d4e5f60718293a4b5c6 \\
      --address 192.0.2.10/24 --gateway 192.0.2.1 --dns 192.0.2.53 \\
      --timezone Europe/Berlin --ssh-key \"$(cat ~/.ssh/id_ed25519.pub)\" > mt1.ks
  mtctl kickstart … --root-password-hash \"$(openssl passwd -6)\" > mt1.ks";
