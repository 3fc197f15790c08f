//! Runs a program on a pseudo-terminal: waits for its questions and answers them.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;

/// A program that believes somebody is sitting at the terminal.
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
        // The copies of the slave kept by Command would keep the terminal open after the program
        // has ended.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child, master: File::from(pair.master), said: String::new() }
    }

    /// Reads until `text` was printed; fails if the program ends before that.
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

    /// Waits for the program to end; returns its exit code and everything it printed.
    pub fn finish(mut self) -> (Option<i32>, String) {
        while self.read() {}
        let status = self.child.wait().unwrap();
        (status.code(), self.said)
    }

    /// Whether there was something to read; a terminal whose program has ended returns EIO.
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
