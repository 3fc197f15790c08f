//! A program on a pseudo-terminal: asked, waited for, answered.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;

/// A program that believes that somebody sits there.
pub struct Terminal {
    child: Child,
    master: File,
    said: String,
}

impl Terminal {
    /// Starts `command` with the terminal as all three of its streams.
    pub fn start(command: &mut Command) -> Self {
        let pair = openpty(None, None).unwrap();
        let stream = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        // What Command keeps of the slave would keep the terminal open after the program's end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child, master: File::from(pair.master), said: String::new() }
    }

    /// Reads until `text` was said; fails when the program ends before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        while !self.said.contains(text) {
            assert!(self.read(), "expected {text:?} in {}", self.said);
        }
    }

    /// Types a line.
    pub fn answer(&mut self, line: &str) {
        writeln!(self.master, "{line}").unwrap();
    }

    /// Waits for the program's end: its exit code and everything that was said.
    pub fn finish(mut self) -> (Option<i32>, String) {
        while self.read() {}
        let status = self.child.wait().unwrap();
        (status.code(), self.said)
    }

    /// Whether there was something to read; a terminal whose program has ended gives EIO.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.master.read(&mut chunk) {
            Ok(count @ 1..) => {
                self.said.push_str(&String::from_utf8_lossy(&chunk[..count]));
                true
            }
            Ok(0) | Err(_) => false,
        }
    }
}
