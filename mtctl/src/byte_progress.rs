//! How far reading has come, as a moving line on a terminal: bytes, rate, time left. Silent in a
//! pipe.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Templates, each with the most columns it takes; a moving line that wraps does not move.
const WITH_LENGTH: [(u16, &str); 4] = [
    (
        88,
        "{bar:20} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  \
         {eta} left",
    ),
    (
        66,
        "{percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  \
         {eta} left",
    ),
    (50, "{percent:>3} %  {binary_bytes} of {binary_total_bytes}  {eta} left"),
    (0, "{percent:>3} %  {eta} left"),
];
const WITHOUT_LENGTH: &str = "{spinner} {elapsed}  {binary_bytes}  {binary_bytes_per_sec}";

/// The widest template that fits into `columns`.
fn template(columns: u16) -> &'static str {
    let fitting = WITH_LENGTH.iter().find(|(needed, _)| *needed <= columns);
    fitting.map_or("", |(_, template)| template)
}

/// A moving line on stderr.
pub(crate) struct ByteProgress {
    bar: ProgressBar,
}

impl ByteProgress {
    /// A line for up to `length` bytes, if that is known.
    pub(crate) fn new(length: Option<u64>) -> Self {
        let bar = match length {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = match length {
            Some(_) => template(output::width_of_stderr()),
            None => WITHOUT_LENGTH,
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    /// Sets the position.
    pub(crate) fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Prints `text` on stderr, above the moving line.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| output::complain(text));
    }

    /// Runs `print`, which prints on stderr, above the moving line.
    pub(crate) fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for ByteProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// Records everything that is written to it.
    #[derive(Clone, Debug, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            500
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_moving_line_fits_any_terminal() {
        for columns in [40, 50, 60, 66, 80, 88, 100] {
            let terminal = Recorder::default();
            let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
            let bar = ProgressBar::with_draw_target(Some(1023 << 40), target);
            let style = ProgressStyle::with_template(template(columns)).unwrap();
            bar.set_style(style.progress_chars("=> "));
            bar.set_position((1023 << 40) - (1 << 39));
            bar.tick();
            let written = terminal.0.lock().unwrap().clone();
            // The rest are the blanks up to the end of the line.
            let shown = written.iter().find(|text| text.contains(" left")).unwrap().trim();
            let width = shown.chars().count();
            assert!(shown.ends_with(" left"), "{written:?}");
            assert!(width <= usize::from(columns), "{width} of {columns}: {shown}");
        }
    }
}
