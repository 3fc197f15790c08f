//! How far reading is, as a moving line on a terminal: bytes, rate, time left. Silent in a pipe.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

const WITH_LENGTH: &str = "{bar:20} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  \
                           {binary_bytes_per_sec}  {eta} left";
const WITHOUT_LENGTH: &str = "{spinner} {elapsed}  {binary_bytes}  {binary_bytes_per_sec}";

/// A moving line on stderr.
pub(crate) struct ByteProgress {
    bar: ProgressBar,
}

impl ByteProgress {
    /// Up to `length` bytes, if that is known.
    pub(crate) fn new(length: Option<u64>) -> Self {
        let bar = match length {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = if length.is_some() { WITH_LENGTH } else { WITHOUT_LENGTH };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    /// So far is it.
    pub(crate) fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Says `text` on stderr, above the moving line.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| output::complain(text));
    }

    /// Does something that prints on stderr, above the moving line.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for ByteProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
