//! The command: arguments in, text or JSON and an exit code out; no logic of its own.

fn main() -> std::process::ExitCode {
    mtctl::run(std::env::args_os())
}
