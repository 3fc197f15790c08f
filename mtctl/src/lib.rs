//! The command line of mtctl as a library, so that man pages, completions and tests use the same
//! definition as the program. The work of the verbs is done in `provisioning` and `blockio`.

mod alarms;
mod attention;
mod byte_progress;
pub mod cli;
mod completion;
mod configuration;
mod desired_options;
mod document;
pub mod exit;
mod group_directories;
mod group_list;
mod group_place;
mod group_targets;
mod host_options;
mod location;
mod logging;
mod new_image;
mod open_exports;
mod open_files;
mod other_groups;
mod output;
mod own_places;
mod own_run;
mod point_views;
mod policy_options;
mod private_socket;
mod qemu_image;
mod question;
mod remedy;
mod report;
mod restore_targets;
mod retention_mount;
mod retention_options;
mod served_groups;
mod size_argument;
mod stop;
mod stream_options;
mod target_argument;
mod target_options;
mod tls_options;
mod undo_options;
mod verb;
mod whole_file;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;

use cli::{Cli, Command};

/// Parses `arguments`, runs the verb, reports errors, and returns the exit code of the contract
/// ([`exit::Exit`]).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // A shell that sets a certain variable asks for completions.
    match CompleteEnv::with_factory(Cli::command).bin("mtctl").try_complete(arguments.clone(), None)
    {
        Ok(false) => {}
        Ok(true) => return exit::Exit::Done.into(),
        // Somebody is typing: nothing is offered, and nothing is printed.
        Err(_) if arguments.get(1).is_some_and(|word| word == "--") => {
            return exit::Exit::Usage.into();
        }
        Err(error) => return report::usage(&error).into(),
    }
    report::as_json_if_asked(&arguments);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error).into(),
    };
    open_files::allow_all();
    let outcome = match cli.command {
        Command::Disks(arguments) => verb::disks::run(&arguments),
        Command::Check(arguments) => verb::check::run(&arguments),
        Command::Prepare(arguments) => verb::prepare::run(&arguments),
        Command::Apply(arguments) => verb::apply::run(&arguments),
        Command::Group(command) => verb::group::run(&command),
        Command::Points(command) => verb::points::run(&command),
        Command::Export(arguments) => verb::export::run(&arguments),
        Command::Rollback(arguments) => verb::rollback::run(&arguments),
        Command::Restore(arguments) => verb::restore::run(&arguments),
        Command::Recover(arguments) => verb::recover::run(&arguments),
        Command::Commit(arguments) => verb::commit::run(&arguments),
        Command::History(arguments) => verb::history::run(&arguments),
        Command::Journal(command) => verb::journal::run(&command),
        Command::Digest(arguments) => verb::digest::run(&arguments),
        Command::Verify(arguments) => verb::verify::run(&arguments),
        Command::Stream(command) => verb::stream::run(&command),
        Command::Serve(arguments) => verb::serve::run(&arguments),
        Command::Send(arguments) => verb::send::run(&arguments),
        Command::Certificate(command) => verb::certificate::run(&command),
        Command::Kickstart(arguments) => verb::kickstart::run(&arguments),
        Command::Vmx(arguments) => verb::vmx::run(&arguments),
    };
    let exit = outcome.unwrap_or_else(|error| report::failure(&error));
    own_run::ended(exit);
    exit.into()
}
