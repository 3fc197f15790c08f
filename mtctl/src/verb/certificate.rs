//! `mtctl certificate`: a small authority for who has none, certificates of receivers and senders,
//! and until when they are valid. `serving::certificates` makes them; this verb keeps files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serving::certificates::{self, Holder, Issued};
use serving::identity::Identity;
use system::replacement::Replacement;
use system::{Error, ErrorKind, Result};

use crate::exit::Exit;
use crate::output;

const AUTHORITY_EXAMPLES: &str = "\
Examples:
  mtctl certificate authority                 /etc/mtctl/certificates/ca.pem and ca.key
  mtctl certificate authority --directory ca --name 'Example failback'

ca.pem goes to every receiver and sender, ca.key to nobody: with it, anybody can be anybody.";

const ISSUE_EXAMPLES: &str = "\
Examples:
  mtctl certificate issue home --receiver home.example --receiver 192.0.2.1
  mtctl certificate issue db-1 --sender spiffe://example.org/db-1
  mtctl certificate issue db-1 --sender spiffe://example.org/db-1 --renew

The files are next to those of the authority, and go to where they are used, with ca.pem.";

const SHOW_EXAMPLES: &str = "\
Examples:
  mtctl certificate show /etc/mtctl/certificates/*.pem
  mtctl certificate show home.pem --check     exit code 6 if it expires within 30 days";

/// The verbs on certificates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an authority
    Authority(AuthorityArguments),
    /// Issue a certificate of a receiver or a sender
    Issue(IssueArguments),
    /// Show whose a certificate is, and until when it is valid
    Show(ShowArguments),
}

/// What was typed after `mtctl certificate authority`.
#[derive(Debug, Args)]
#[command(after_help = AUTHORITY_EXAMPLES)]
pub struct AuthorityArguments {
    #[command(flatten)]
    at: DirectoryOption,

    /// What it is called
    #[arg(long, value_name = "NAME", default_value = "mtctl")]
    name: String,

    /// For how many days it is valid
    #[arg(long, value_name = "N", default_value_t = 3650)]
    days: u16,
}

/// What was typed after `mtctl certificate issue`.
#[derive(Debug, Args)]
#[command(after_help = ISSUE_EXAMPLES, group = ArgGroup::new("holder").required(true))]
pub struct IssueArguments {
    /// The name of the files: NAME.pem and NAME.key
    name: String,

    /// A name or address at which senders reach the receiver
    #[arg(long, value_name = "HOST", group = "holder")]
    receiver: Vec<String>,

    /// The identity of the sender: a URI, or dns:NAME
    #[arg(long, value_name = "IDENTITY", group = "holder", value_parser = identity)]
    sender: Option<Identity>,

    #[command(flatten)]
    at: DirectoryOption,

    /// For how many days it is valid
    #[arg(long, value_name = "N", default_value_t = 365)]
    days: u16,

    /// Replace the certificate and the key that are there
    #[arg(long)]
    renew: bool,
}

/// What was typed after `mtctl certificate show`.
#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub struct ShowArguments {
    /// Certificates
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Exit with 6 if one expires within --days
    #[arg(long)]
    check: bool,

    /// How many days before the end is soon
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where certificates and keys are.
#[derive(Debug, Args)]
struct DirectoryOption {
    /// The directory of the authority and of what it issues
    #[arg(long, value_name = "DIR", default_value = "/etc/mtctl/certificates")]
    directory: PathBuf,
}

fn identity(text: &str) -> std::result::Result<Identity, String> {
    text.to_owned().try_into()
}

/// Does what was typed.
pub(crate) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Authority(arguments) => make_authority(arguments),
        Command::Issue(arguments) => issue(arguments),
        Command::Show(arguments) => show(arguments),
    }
}

fn make_authority(arguments: &AuthorityArguments) -> anyhow::Result<Exit> {
    let directory = &arguments.at.directory;
    fs::create_dir_all(directory)
        .map_err(|cause| Error::failed(format!("making {}", directory.display()), cause))?;
    let made = certificates::authority(&arguments.name, arguments.days)?;
    write_both(directory, "ca", &made, false)?;
    say(directory, "ca")
}

fn issue(arguments: &IssueArguments) -> anyhow::Result<Exit> {
    let name = &arguments.name;
    if name == "ca" || name.is_empty() || name.contains('/') || name.starts_with('.') {
        let context = format!("\"{name}\" is not a name for the files of a certificate");
        return Err(Error::new(ErrorKind::Usage, context).into());
    }
    let directory = &arguments.at.directory;
    let text = |name: &str| read(&directory.join(name));
    let authority = Issued { certificate: text("ca.pem")?, key: text("ca.key")? };
    let holder = match &arguments.sender {
        Some(identity) => Holder::Sender(identity.clone()),
        None => Holder::Receiver(arguments.receiver.clone()),
    };
    let issued = certificates::issue(&authority, &holder, arguments.days)?;
    write_both(directory, name, &issued, arguments.renew)?;
    say(directory, name)
}

/// Writes NAME.key, then NAME.pem: after a crash between the two, the certificate is missing, or
/// the old one does not fit the key, and the next --renew puts that right.
fn write_both(directory: &Path, name: &str, issued: &Issued, replaces: bool) -> Result<()> {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    for file in [&key, &certificate] {
        let path = directory.join(file);
        if !replaces && path.symlink_metadata().is_ok() {
            let hint = match name {
                "ca" => {
                    "with another authority, everything that it issued is worthless; to make \
                         one nevertheless, name another --directory"
                }
                _ => "to replace it: --renew",
            };
            let context = format!("{} is there already", path.display());
            return Err(Error::refused(context).with_hint(hint));
        }
    }
    write(directory, &key, &issued.key, 0o600)?;
    write(directory, &certificate, &issued.certificate, 0o644)
}

fn write(directory: &Path, name: &str, text: &str, mode: u32) -> Result<()> {
    let path = directory.join(name);
    let write = || {
        let mut part = Replacement::begin(directory, ".certificate-", mode)?;
        part.file().write_all(text.as_bytes())?;
        part.replace(&path)
    };
    write().map_err(|cause| Error::failed(format!("writing {}", path.display()), cause))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|cause| {
        let is_missing = cause.kind() == std::io::ErrorKind::NotFound;
        let error = Error::failed(format!("reading {}", path.display()), cause);
        if is_missing {
            error.with_hint("make an authority: mtctl certificate authority")
        } else {
            error
        }
    })
}

fn say(directory: &Path, name: &str) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    let shown = |file: String| output::plain(directory.join(file).display());
    let (certificate, key) = (shown(format!("{name}.pem")), shown(format!("{name}.key")));
    writeln!(out, "{certificate}\n{key} (keep it secret)")?;
    out.flush()?;
    Ok(Exit::Done)
}

/// A certificate; stable: fields are added, never changed.
#[derive(Serialize)]
struct Shown {
    file: String,
    /// `None` for an authority.
    identity: Option<String>,
    valid_until: String,
    expires_soon: bool,
}

fn show(arguments: &ShowArguments) -> anyhow::Result<Exit> {
    let all = arguments.files.iter().map(|path| shown(path, arguments.days));
    let all = all.collect::<Result<Vec<_>>>()?;
    let mut out = output::stdout();
    if arguments.json {
        output::print_json(&mut out, &serde_json::json!({ "certificates": all }))?;
    } else {
        let mut table = output::table(&["FILE", "IDENTITY", "VALID UNTIL", ""]);
        for one in &all {
            let identity = one.identity.as_deref().unwrap_or("-");
            let soon = if one.expires_soon { "EXPIRES SOON" } else { "" };
            table.add_row([&one.file, identity, &one.valid_until, soon]);
        }
        output::print_table(&mut out, &table)?;
    }
    out.flush()?;
    let is_alarm = arguments.check && all.iter().any(|one| one.expires_soon);
    Ok(if is_alarm { Exit::Alarm } else { Exit::Done })
}

fn shown(path: &Path, days: u16) -> Result<Shown> {
    let file = path.display().to_string();
    let named = |error: Error| {
        let kind = error.kind();
        Error::new(kind, format!("reading {file}")).caused_by(error)
    };
    let text = read(path)?;
    let valid_until = certificates::valid_until(text.as_bytes()).map_err(named)?;
    let left = valid_until.as_second().saturating_sub(Timestamp::now().as_second());
    let identity = certificates::identity(text.as_bytes()).map(|identity| identity.to_string());
    let valid_until = valid_until.to_string();
    let expires_soon = left < i64::from(days) * 24 * 3600;
    Ok(Shown { file, identity, valid_until, expires_soon })
}
