//! `mtctl export`: serves a recovery point as disks over NBD, to look inside before anything is
//! rolled back. `blockio::nbd` does the serving; a command may run meanwhile (`command`).

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use blockio::group::{self, Exporter, Exporting, GroupView, RunBegin};
use blockio::journal::catalogue::{Point, PointId};
use blockio::journal::selector::{self, Selector};
use blockio::nbd::{Export, Listen, Scratch, Server};
use clap::{ArgGroup, Args};
use system::{Error, ErrorKind};

use crate::alarms;
use crate::attention;
use crate::completion;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::own_places::OwnPlaces;
use crate::point_views::{self, PointView};
use crate::private_socket::PrivateSocket;
use crate::{output, own_run, report};

mod command;
mod pid_file;

use pid_file::PidFile;

const EXAMPLES: &str = "\
Examples:
  mtctl export --group web --to before-upgrade --socket /run/web.sock &
  nbdinfo 'nbd+unix:///?socket=/run/web.sock'
  nbdcopy 'nbd+unix:///db?socket=/run/web.sock' db.img      one of several volumes, by name
  mtctl export --group web --to latest --scratch --socket /run/web.sock
                                              a test VM can boot from it: its writes are discarded
  mtctl export --group web --to latest --listen 127.0.0.1:10809
  mtctl export --group web --to latest --run 'nbdcopy \"$uri\" db.img'
                                              ends with the command, with its exit code

Nothing is copied, the disks are only read, and replication may continue. It serves until SIGTERM or
Ctrl-C, until the command of --run ends, or until the point is gone (exit code 1). Over TCP anybody
who can reach the address can read: beyond this host it needs --insecure.";

/// Shorter than the one that clap makes.
const USAGE: &str = "mtctl export [OPTIONS] --group <NAME> --to <POINT> <--socket|--listen|--run>";

/// What was typed after `mtctl export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = where_or_run(), override_usage = USAGE)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Which point: a number, a name, a time, latest, latest-app, or start
    #[arg(long, value_name = "POINT", add = completion::points())]
    to: Selector,

    /// Only this volume
    #[arg(long, value_name = "NAME")]
    volume: Option<String>,

    /// Serve on a unix socket at PATH
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    socket: Option<PathBuf>,

    /// Serve on a TCP address
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Serve beyond this host: without TLS, anybody who can reach the address can read everything
    #[arg(long, requires = "listen")]
    insecure: bool,

    /// Let clients write to a layer that is discarded at the end
    #[arg(long)]
    scratch: bool,

    /// Where to keep the discardable layer
    #[arg(long, value_name = "DIR", default_value = "/var/tmp", requires = "scratch")]
    scratch_dir: PathBuf,

    /// Serve while a shell runs CMD, with $uri (the volume; $uris has a line for each of several)
    /// and $unixsocket set; without --socket and --listen, nobody else knows the address
    #[arg(long, value_name = "CMD", value_parser = command::typed)]
    run: Option<String>,

    /// Write the process id to FILE as soon as clients can connect
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Print one line of JSON as soon as clients can connect
    #[arg(long)]
    json: bool,
}

fn where_or_run() -> ArgGroup {
    ArgGroup::new("where").required(true).multiple(true).args(["socket", "listen", "run"])
}

/// Serves the point.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    crate::logging::start(false);
    let stop = crate::stop::flag()?;
    // For a command that has the point to itself.
    let private = arguments.run.is_some().then(PrivateSocket::new).transpose()?;
    let address = match (&arguments.socket, arguments.listen, &private) {
        (Some(path), _, _) => Listen::Unix(path.clone()),
        (None, Some(address), _) => Listen::Tcp(not_in_the_open(address, arguments.insecure)?),
        (None, None, Some(private)) => Listen::Unix(private.path()),
        (None, None, None) => return Ok(Exit::Usage),
    };
    if let Some(path) = &arguments.pid_file {
        pid_file::check(path)?;
    }
    arguments.socket.as_deref().map_or(Ok(()), OwnPlaces::refuse_output)?;
    let group = arguments.of.look()?;
    let wanted = arguments.volume.as_deref().map(|name| [name]);
    let wanted = wanted.as_ref().map(|wanted| &wanted[..]);
    let (point, views) = point_views::at(&arguments.of, &group, &arguments.to, wanted)?;
    let exports = views.into_iter().map(|view| export(arguments, view));
    let server = Server::bind(address, exports.collect::<system::Result<_>>()?)?;
    let told = tell_others(arguments, &server, point.id)?;
    if told.is_some() {
        own_run::begins(group.begin_run_beside(&record(&group, &server, point)));
    }
    let _pid_file = arguments.pid_file.as_deref().map(PidFile::write).transpose()?;
    if arguments.run.is_none() || arguments.json {
        announce(&server, point, arguments.json)?;
    }
    let (served, exit) = match &arguments.run {
        Some(command) => command::beside(&server, command, &stop)?,
        None => (server.serve(&stop), Exit::Done),
    };
    Ok(match served {
        Ok(()) => exit,
        Err(error) => {
            is_called_so_now(&told);
            report::ours(&error)
        }
    })
}

/// The entry in the group's log of runs.
fn record(group: &GroupView, server: &Server, point: &Point) -> RunBegin {
    let detail = Some(format!("at {}", server.address()));
    RunBegin { detail, ..own_run::at(group, "export", &selector::shown(point)) }
}

/// Makes later messages use the group's current name: the directory in which `told` announces this
/// export is named after it.
fn is_called_so_now(told: &Option<Exporting>) {
    let Some(directory) = told.as_ref().and_then(Exporting::directory) else { return };
    let name = directory.file_name().and_then(|name| name.to_str());
    if let Some(name) = name.filter(|name| group::check_name(name).is_ok()) {
        attention::rename_group(name);
    }
}

/// Announces the export, so that a run that removes the point knows about it. If the announcement
/// cannot be written, the point can be looked at nevertheless.
fn tell_others(
    arguments: &Arguments,
    server: &Server,
    point: PointId,
) -> anyhow::Result<Option<Exporting>> {
    let (process, address) = (std::process::id(), server.address().to_string());
    let told = Exporting::begin(&arguments.of.place()?, &Exporter { process, point, address });
    if let Err(error) = &told {
        attention::warn(format!(
            "nobody who drops the point will be warned of this export: {error}"
        ));
    }
    Ok(told.ok())
}

/// The server sends whole disks of somebody else unencrypted to anybody who asks.
fn not_in_the_open(address: SocketAddr, insecure: bool) -> system::Result<SocketAddr> {
    if insecure || address.ip().to_canonical().is_loopback() {
        return Ok(address);
    }
    let context = format!("serving on {address}: other hosts can reach it");
    Err(Error::new(ErrorKind::Usage, context).with_hint(
        "without TLS anybody who can reach it can read the disks: use --socket or 127.0.0.1 with \
         a tunnel (ssh -L), or --insecure",
    ))
}

fn export(arguments: &Arguments, view: PointView) -> system::Result<Export> {
    let PointView { name, view } = view;
    let scratch = match arguments.scratch {
        true => Some(Scratch::new(&arguments.scratch_dir, &view)?),
        false => None,
    };
    // The volume of a stream without names has no name; its group has one.
    let name = match name.is_unnamed() {
        true => arguments.of.group.clone(),
        false => name.as_str().to_owned(),
    };
    Ok(Export { name, view: Arc::new(view), scratch })
}

/// Announces that clients can connect.
fn announce(server: &Server, point: &Point, json: bool) -> anyhow::Result<()> {
    let uris = server.exports().iter().map(|export| server.address().uri(&export.name));
    let uris: Vec<String> = uris.collect();
    let (mut out, shown) = (output::stdout(), selector::shown(point));
    if json {
        let text = serde_json::json!({
            "point": shown, "uris": uris,
            "id": point.id.0, "time": selector::time(point.time),
            "kind": point.kind, "name": point.name,
            "warnings": attention::warnings(), "alarms": alarms::of_this_run(),
        });
        writeln!(out, "{}", output::escaped_json(&text.to_string()))?;
    } else {
        writeln!(out, "{shown}, until this is stopped:")?;
        for uri in uris {
            writeln!(out, "  {}", output::plain(uri))?;
        }
    }
    Ok(out.flush()?)
}
