//! `mtctl export`: a recovery point as disks over NBD, to look inside before anything is rolled
//! back. Serving is `blockio::nbd`'s.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use blockio::journal::catalogue::Point;
use blockio::journal::selector::{self, Selector};
use blockio::nbd::{Export, Listen, Scratch, Server};
use blockio::{Error, ErrorKind};
use clap::{ArgGroup, Args};

use crate::attention;
use crate::completion;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::point_views::{self, PointView};
use crate::{output, report};

const EXAMPLES: &str = "\
Examples:
  mtctl export --group web --to before-upgrade --socket /run/web.sock &
  nbdinfo 'nbd+unix:///?socket=/run/web.sock'
  nbdcopy 'nbd+unix:///db?socket=/run/web.sock' db.img      one volume of several, by its name
  mtctl export --group web --to latest --scratch --socket /run/web.sock
                                              a test VM can boot from it: its writes are thrown away
  mtctl export --group web --to latest --listen 127.0.0.1:10809

Nothing is moved, the disks are only read, and replication may go on meanwhile. It serves until
SIGTERM or Ctrl-C. Over TCP everybody who reaches the address can read: beyond this host it needs
--insecure.";

/// What was typed after `mtctl export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("where").required(true).args(["socket", "listen"]))]
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
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Serve on a TCP address
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Serve beyond this host: there is no TLS, so everybody who reaches the address can read all
    #[arg(long, requires = "listen")]
    insecure: bool,

    /// Let clients write, into a layer that is thrown away at the end
    #[arg(long)]
    scratch: bool,

    /// Where the throw-away layer is kept meanwhile
    #[arg(long, value_name = "DIR", default_value = "/var/tmp", requires = "scratch")]
    scratch_dir: PathBuf,

    /// Print JSON: one line, when clients can connect
    #[arg(long)]
    json: bool,
}

/// Serves.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    crate::logging::start(false);
    let stop = crate::verb::stop_flag()?;
    let address = match (&arguments.socket, arguments.listen) {
        (Some(path), _) => Listen::Unix(path.clone()),
        (None, Some(address)) => Listen::Tcp(not_in_the_open(address, arguments.insecure)?),
        (None, None) => return Ok(Exit::Usage),
    };
    let group = arguments.of.look()?;
    let (point, views) =
        point_views::at(&arguments.of, &group, &arguments.to, arguments.volume.as_deref())?;
    let exports = views.into_iter().map(|view| export(arguments, view));
    let server = Server::bind(address, exports.collect::<blockio::Result<_>>()?)?;
    announce(&server, point, arguments.json)?;
    match server.serve(&stop) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Ok(report::ours(&error)),
    }
}

/// Whole disks of somebody else go out here, to whoever asks, in the clear.
fn not_in_the_open(address: SocketAddr, insecure: bool) -> blockio::Result<SocketAddr> {
    if insecure || address.ip().to_canonical().is_loopback() {
        return Ok(address);
    }
    let context = format!("serving on {address}: it can be reached from other hosts");
    Err(Error::new(ErrorKind::Usage, context).with_hint(
        "without TLS everybody who reaches it can read the disks: use --socket or 127.0.0.1 and a \
         tunnel (ssh -L), or say --insecure",
    ))
}

fn export(arguments: &Arguments, view: PointView) -> blockio::Result<Export> {
    let PointView { name, view } = view;
    let scratch = match arguments.scratch {
        true => Some(Scratch::new(&arguments.scratch_dir, &view)?),
        false => None,
    };
    // The volume of a stream without names has none; its group has one.
    let name = match name.is_unnamed() {
        true => arguments.of.group.clone(),
        false => name.as_str().to_owned(),
    };
    Ok(Export { name, view: Arc::new(view), scratch })
}

/// Clients can connect from now on.
fn announce(server: &Server, point: &Point, json: bool) -> anyhow::Result<()> {
    let uris = server.exports().iter().map(|export| server.address().uri(&export.name));
    let uris: Vec<String> = uris.collect();
    let (mut out, shown) = (output::stdout(), selector::shown(point));
    if json {
        let text = serde_json::json!({
            "point": shown, "uris": uris,
            "id": point.id.0, "time": selector::time(point.time),
            "kind": point.kind, "name": point.name,
            "warnings": attention::warnings(), "alarms": attention::alarms_of_this_run(),
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
