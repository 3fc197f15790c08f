//! `mtctl send`: brings change streams to a master target, over a network that may break. `serving`
//! does the work; this verb names things, prints, and chooses the exit code.

use std::io::Write;
use std::path::PathBuf;

use blockio::stream::Name;
use blockio::volume;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serving::send::supply::{FullCopy, StreamFile, Supply};
use serving::send::{Address, Sender, SenderEvent};
use system::{Error, ErrorKind, size};

use crate::byte_progress::ByteProgress;
use crate::exit::Exit;
use crate::target_argument::{self, TargetArgument};
use crate::tls_options::TlsOptions;
use crate::{document, output, stream_options};

const EXAMPLES: &str = "\
Examples:
  mtctl send day1.mts day2.mts --to unix:/run/mtctl/serve.sock --group web
  mtctl send disk.img --format raw --to unix:/run/mtctl/serve.sock --group web
  mtctl send day1.mts --to tls://home.example --group web --certificate db.pem --key db.key \\
      --authorities ca.pem

It returns when everything is durable at the receiver. A connection that is lost is taken up again,
and goes on after what is durable there; so does the same command when it is started again. If the
receiver refuses the stream, nothing helps but what the message says (exit code 4).";

/// What was typed after `mtctl send`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Native change streams, in the order in which to send them; with --format raw, one disk or
    /// image
    #[arg(value_name = "STREAM", required = true)]
    streams: Vec<PathBuf>,

    /// What is sent: streams, or everything that a disk or an image holds
    #[arg(long, value_enum, default_value_t = SentFormat::Native)]
    format: SentFormat,

    /// Name of the volume that a disk or an image becomes, if the group has several
    #[arg(long, value_name = "NAME", value_parser = stream_options::volume_name)]
    volume: Option<Name>,

    /// The receiver: tls://HOST[:PORT], unix:PATH, or tcp://ADDRESS:PORT on this host
    #[arg(long, value_name = "RECEIVER")]
    to: Address,

    /// The protection group there
    #[arg(long, value_name = "NAME")]
    group: String,

    /// The name of this sender: a newer session with the same name ends the one before
    #[arg(long, value_name = "NAME", default_value = "mtctl")]
    sender: String,

    #[command(flatten)]
    tls: TlsOptions,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Log on stderr what is done
    #[arg(long, short)]
    verbose: bool,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SentFormat {
    /// Native change streams
    Native,
    /// A disk or an image, all of it
    Raw,
}

/// What was sent; stable: fields are added, never changed.
#[derive(Default, Serialize)]
struct Sent {
    streams: u64,
    recovery_points: u64,
    transferred_bytes: u64,
    connections: u64,
}

/// Sends the streams.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    crate::logging::start(arguments.verbose);
    let stop = crate::stop::flag()?;
    let mut supplies = supplies(arguments)?;
    let (to, tls) = (arguments.to.clone(), arguments.tls.client()?);
    if matches!(to, Address::Tls { .. }) && tls.is_none() {
        return Err(Error::new(ErrorKind::Usage, format!("{to} asks who we are"))
            .with_hint("show a certificate: --certificate, --key and --authorities")
            .into());
    }
    let (name, group) = (arguments.sender.clone(), arguments.group.clone());
    let mut sender = Sender::new(to, tls, name, group);
    let mut sent = Sent::default();
    for supply in &mut supplies {
        let progress = ByteProgress::new(supply.length());
        let supply = supply.as_mut();
        let delivered = sender.deliver(supply, &stop, &mut |event| show(&progress, &event))?;
        drop(progress);
        let Some(delivered) = delivered else {
            output::complain("mtctl: stopped; the same command goes on after what is durable");
            return Ok(Exit::Failed);
        };
        sent.streams += 1;
        sent.recovery_points += delivered.points;
        sent.transferred_bytes += delivered.transferred;
        sent.connections += delivered.connections;
    }
    if let Err(error) = sender.end() {
        tracing::info!(error = error.chain(), "the session did not end in order");
    }
    print(arguments, &sent)?;
    Ok(Exit::Done)
}

/// What is to be sent, opened.
fn supplies(arguments: &Arguments) -> anyhow::Result<Vec<Box<dyn Supply>>> {
    let mut supplies: Vec<Box<dyn Supply>> = Vec::new();
    if arguments.format == SentFormat::Native {
        if arguments.volume.is_some() {
            return Err(Error::new(ErrorKind::Usage, "a stream names its volumes itself")
                .with_hint("--volume is for --format raw")
                .into());
        }
        for path in &arguments.streams {
            supplies.push(Box::new(StreamFile::open(path)?));
        }
        return Ok(supplies);
    }
    let [source] = &arguments.streams[..] else {
        return Err(Error::new(ErrorKind::Usage, "one disk or image can be sent at a time").into());
    };
    let parsed: TargetArgument = source.display().to_string().parse()?;
    let named = target_argument::resolve([&parsed])?;
    for one in &named {
        let source = volume::open_for_reading(&one.request)?;
        supplies.push(Box::new(FullCopy::new(source, arguments.volume.clone())?));
    }
    Ok(supplies)
}

fn show(progress: &ByteProgress, event: &SenderEvent<'_>) {
    match event {
        SenderEvent::Progress(at) => progress.at(at.sent),
        SenderEvent::Lost { error, again_after } => progress.say(&format!(
            "warning: {}; trying again in {:.1} s",
            output::plain(error.chain()),
            again_after.as_secs_f64()
        )),
    }
}

fn print(arguments: &Arguments, sent: &Sent) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if arguments.json {
        document::print(&mut out, sent)?;
    } else {
        let bytes = size::binary(sent.transferred_bytes);
        writeln!(
            out,
            "{} sent: {bytes} over {}; {} made",
            output::counted(sent.streams, "stream"),
            output::counted(sent.connections, "connection"),
            output::counted(sent.recovery_points, "recovery point"),
        )?;
    }
    Ok(out.flush()?)
}
