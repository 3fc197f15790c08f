//! QEMU's monitor (QMP), which attaches and removes disks while the machine runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A connection to the monitor.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Monitor {
    /// Connects to the monitor at `socket`.
    ///
    /// # Errors
    ///
    /// Nobody answers there.
    pub fn connect(socket: &Path) -> Result<Self> {
        let writer = UnixStream::connect(socket).context("connecting to QEMU's monitor")?;
        writer.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut monitor = Self { lines: BufReader::new(writer.try_clone()?), writer };
        monitor.answer("QMP")?;
        monitor.command("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs a command and returns its answer.
    ///
    /// # Errors
    ///
    /// QEMU refuses it.
    pub fn command(&mut self, name: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": name, "arguments": arguments }).to_string();
        writeln!(self.writer, "{line}").context("writing to QEMU's monitor")?;
        self.answer("return").with_context(|| format!("QEMU refuses {line}"))
    }

    /// Removes the disk `name` and waits until the guest has released it.
    ///
    /// # Errors
    ///
    /// There is no such disk.
    pub fn pull(&mut self, name: &str) -> Result<()> {
        self.command("device_del", json!({ "id": name }))?;
        loop {
            let event = self.answer("event")?;
            if event["event"] == "DEVICE_DELETED" && event["data"]["device"] == name {
                break;
            }
        }
        // So that it can be attached again.
        self.command("blockdev-del", json!({ "node-name": name })).map(drop)
    }

    /// The next message that contains `key`.
    fn answer(&mut self, key: &str) -> Result<Value> {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).context("waiting for QEMU's monitor")?;
            if read == 0 {
                bail!("QEMU is gone");
            }
            let message: Value = serde_json::from_str(&line).context("QEMU's monitor")?;
            if let Some(error) = message.get("error") {
                bail!("{error}");
            }
            if message.get(key).is_some() {
                return Ok(message);
            }
        }
    }
}

/// Converts QEMU's options `a=b,c.d=e` to the object that its monitor expects; an option without a
/// value, which can only come first, gets the name `first`.
pub fn object(options: &str, first: &str) -> Value {
    let mut object = json!({});
    for option in options.split(',') {
        let (name, text) = option.split_once('=').unwrap_or((first, option));
        let is_number = !matches!(name, "serial" | "ver" | "wwn");
        let value = match (text, text.parse::<u64>()) {
            ("on", _) => json!(true),
            ("off", _) => json!(false),
            (_, Ok(number)) if is_number => json!(number),
            _ => json!(text),
        };
        let place = name.split('.').fold(&mut object, |inside, part| &mut inside[part]);
        *place = value;
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::object;

    #[test]
    fn options_become_objects_within_objects() {
        let options = "scsi-hd,ver=2.0,scsi-id=3,share-rw=on,file.driver=file,file.filename=/a";
        let expected = json!({
            "driver": "scsi-hd", "ver": "2.0", "scsi-id": 3, "share-rw": true,
            "file": { "driver": "file", "filename": "/a" },
        });
        assert_eq!(object(options, "driver"), expected);
    }
}
