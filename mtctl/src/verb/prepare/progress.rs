//! The progress of carrying out a plan: a line for each change, and a moving line while a program
//! runs on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use provisioning::apply::Event;
use system::lossless_text;

use crate::output;

/// Shows events on stderr.
pub(super) struct Progress {
    spinner: ProgressBar,
    is_quiet: bool,
}

impl Progress {
    /// With `is_quiet`, shows only the moving line, and that only on a terminal.
    pub(super) fn new(is_quiet: bool) -> Self {
        let spinner = ProgressBar::new_spinner();
        if !std::io::stderr().is_terminal() {
            spinner.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            spinner.set_style(style);
        }
        // Without a terminal, the log already has this.
        Self { spinner, is_quiet: is_quiet || !std::io::stderr().is_terminal() }
    }

    /// Shows one event.
    pub(super) fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::ActionStarted(action) => {
                self.spinner.enable_steady_tick(Duration::from_millis(200));
                self.spinner.set_message(action.to_string());
            }
            Event::Line(line) => self.spinner.set_message((*line).to_owned()),
            Event::ActionFinished(action) => {
                self.spinner.disable_steady_tick();
                self.spinner.set_message("");
                if !self.is_quiet {
                    let text = output::wrapped(&format!("done: {action}"), 6);
                    let text = lossless_text::shown(&text).into_owned();
                    // Continue if the reader of stderr has gone.
                    self.spinner.suspend(|| drop(writeln!(std::io::stderr(), "{text}")));
                }
            }
            Event::StepFinished(_) => self.spinner.set_message(""),
            Event::StepStarted(_) | Event::Reached(_) => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}
