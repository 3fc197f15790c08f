//! `mtctl serve`: holds groups, and receives their changes over connections that may break.
//! `serving` does the work; this verb reads the configuration and says what happens.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use blockio::apply::{ApplyEvent, ApplyOptions};
use blockio::assignment::Assignment;
use blockio::group::{Group, GroupView};
use clap::Args;
use serving::receive::{Access, Holder, Listen, Receiver};
use system::{Error, ErrorKind};

use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::retention_mount::RetentionMountOption;
use crate::retention_options::RetentionOptions;
use crate::served_groups::{self, GroupFile, ServedGroup};
use crate::tls_options::TlsOptions;
use crate::{group_targets, output, remedy, report};

const EXAMPLES: &str = "\
Examples:
  mtctl serve --check                         is the configuration valid, and can it be used?
  mtctl serve --socket /run/mtctl/serve.sock
  mtctl serve --listen 0.0.0.0:9443 --certificate home.pem --key home.key --authorities ca.pem

It holds every group that has a file in /etc/mtctl/groups.d, such as web.toml:

  allow = [\"spiffe://example.org/db-1\", \"user:0\"]

Only identities that are named there may write to the group: the URI of a sender's certificate, else
its DNS name (dns:NAME); on a Unix socket the user (user:NUMBER); on --listen-plain, loopback.
A group is made before, with its disks: mtctl group create.

It runs until SIGTERM or Ctrl-C, and then makes durable what has come.";

/// What was typed after `mtctl serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Listen on a Unix socket at PATH
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Listen on a TCP address, with TLS
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,

    /// Listen on a loopback address, without TLS
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_plain: Vec<SocketAddr>,

    #[command(flatten)]
    tls: TlsOptions,

    /// The directory with a file for each group
    #[arg(long, value_name = "DIR", default_value = served_groups::DIRECTORY)]
    groups: PathBuf,

    /// Check the configuration, hold each group for a moment, and do nothing
    #[arg(long)]
    check: bool,

    /// Print one line of JSON as soon as senders can connect
    #[arg(long)]
    json: bool,

    /// Log on stderr what is done
    #[arg(long, short)]
    verbose: bool,
}

/// Serves.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    crate::logging::start(arguments.verbose);
    let stop = crate::stop::flag()?;
    let listen = listen(arguments)?;
    let groups = served_groups::read(&arguments.groups)?;
    if groups.is_empty() {
        let context = format!("there is no group to serve in {}", arguments.groups.display());
        let hint = "make a file for each group, such as web.toml with: allow = [\"user:0\"]";
        return Err(Error::new(ErrorKind::Usage, context).with_hint(hint).into());
    }
    let mut holders = Vec::new();
    for group in groups {
        let ServedGroup { name, file } = group;
        let (allow, access) = (file.allow.clone(), HeldGroup { of: options(&name, file) });
        holders.push(Holder::begin(name, allow, Box::new(access), &stop)?);
    }
    if arguments.check {
        return Ok(Exit::Done);
    }
    let receiver = Receiver::bind(listen, holders, Arc::clone(&stop))?;
    announce(arguments, &receiver)?;
    receiver.serve()?;
    Ok(Exit::Done)
}

fn listen(arguments: &Arguments) -> system::Result<Vec<Listen>> {
    let mut listen: Vec<Listen> = arguments.socket.iter().cloned().map(Listen::Unix).collect();
    if !arguments.listen.is_empty() {
        let tls = arguments.tls.server()?;
        listen.extend(arguments.listen.iter().map(|address| Listen::Tls(*address, tls.clone())));
    }
    listen.extend(arguments.listen_plain.iter().copied().map(Listen::Plain));
    if listen.is_empty() && !arguments.check {
        return Err(Error::new(ErrorKind::Usage, "nothing is named to listen on")
            .with_hint("use --listen ADDRESS:PORT with a certificate, or --socket PATH"));
    }
    Ok(listen)
}

fn options(name: &str, file: GroupFile) -> GroupOptions {
    let GroupFile { allow: _, retention, retention_unmounted } = file;
    let mount = RetentionMountOption::default();
    let at = RetentionOptions { retention, mount, retention_unmounted, state_dir: None };
    GroupOptions { group: name.to_owned(), at }
}

/// Says that senders can connect, and where.
fn announce(arguments: &Arguments, receiver: &Receiver) -> anyhow::Result<()> {
    let sockets = arguments.socket.iter().map(|path| format!("unix:{}", path.display()));
    let addresses = receiver.addresses().into_iter().map(|address| address.to_string());
    let listening: Vec<String> = sockets.chain(addresses).collect();
    let mut out = output::stdout();
    if arguments.json {
        let text = serde_json::json!({ "listening": listening });
        writeln!(out, "{}", output::escaped_json(&text.to_string()))?;
    } else {
        writeln!(out, "listening on {}", listening.join(", "))?;
    }
    Ok(out.flush()?)
}

/// A group, as the daemon reaches it.
struct HeldGroup {
    of: GroupOptions,
}

impl Access for HeldGroup {
    fn open(&self) -> system::Result<Group> {
        self.of.open()
    }

    fn targets(&self, group: &GroupView) -> system::Result<(Vec<Assignment>, ApplyOptions)> {
        let assignments = group_targets::open(group, &self.of, false).map_err(as_ours)?;
        let settings = group.settings();
        let (engine, point_every) = (settings.engine, settings.point_every);
        Ok((assignments, ApplyOptions { engine, point_every, ..ApplyOptions::default() }))
    }

    fn observe(&self, event: &ApplyEvent<'_>) {
        match event {
            ApplyEvent::Progress { .. } => {}
            ApplyEvent::Notice(notice) => {
                let text = format!("group {}: {}", self.of.group, remedy::told(notice));
                output::complain(&format!("warning: {}", output::plain(&text)));
            }
            ApplyEvent::VolumeFailed(error) => {
                report::ours(error);
            }
        }
    }

    fn hint(&self, error: &Error) -> Option<String> {
        remedy::hint(error).map(std::borrow::Cow::into_owned)
    }
}

fn as_ours(error: anyhow::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::new(ErrorKind::Failed, format!("{error:#}")),
    }
}
