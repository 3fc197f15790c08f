//! Where the log goes: to the systemd journal if there is one, else to stderr. The messages are
//! where the events happen.

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Sets up logging; a second call does nothing. Changes are logged at INFO, queries at DEBUG;
/// `verbose` shows both on stderr.
pub(crate) fn start(verbose: bool) {
    let journal = tracing_journald::layer().ok();
    let stderr_level = match (verbose, journal.is_some()) {
        (true, _) => LevelFilter::DEBUG,
        (false, false) => LevelFilter::INFO,
        (false, true) => LevelFilter::WARN,
    };
    let filter = EnvFilter::builder()
        .with_env_var("MTCTL_LOG")
        .with_default_directive(stderr_level.into())
        .from_env_lossy();
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(AutoStream::choice(&std::io::stderr()) != ColorChoice::Never)
        .with_target(false)
        .without_time()
        .with_filter(filter);
    let journal = journal.map(|layer| layer.with_filter(LevelFilter::INFO));
    let _ = tracing_subscriber::registry().with(journal).with(stderr).try_init();
}
