//! Servers on this host behind a machine's disks: a SCSI target that answers like VMware's disks,
//! and a disk whose cache is lost with the power.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tool;

/// The name of the iSCSI target.
pub const TARGET_NAME: &str = "iqn.2026-11.test:vm";

/// tgtd on the loopback interface: its units answer INQUIRY themselves, with identities of 128
/// bits.
#[derive(Debug)]
pub struct ScsiTarget {
    process: Child,
    port: u16,
    /// The number by which tgtadm finds this tgtd among others: below 2^15.
    control: String,
    units: u32,
}

impl ScsiTarget {
    /// Starts a target without units.
    ///
    /// # Errors
    ///
    /// tgtd does not start.
    pub fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let control = (port % (1 << 15)).to_string();
        let process = Command::new("/usr/sbin/tgtd")
            .args(["-f", "--iscsi", &format!("portal=127.0.0.1:{port}"), "-C", &control])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting tgtd")?;
        let target = Self { process, port, control, units: 0 };
        let begun = Instant::now();
        let new = ["--mode", "target", "--op", "new", "--tid", "1", "-T", TARGET_NAME];
        while let Err(error) = target.administer(&new) {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        target.administer(&["--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL"])?;
        Ok(target)
    }

    /// Adds `file` as a disk that looks like VMware's with disk.EnableUUID on: `uuid` has 32
    /// digits, which begin with 6000c29. Returns its number.
    ///
    /// # Errors
    ///
    /// tgtd refuses it.
    pub fn add(&mut self, file: &Path, uuid: &str) -> Result<u32> {
        self.units += 1;
        let lun = self.units.to_string();
        let unit = ["--mode", "logicalunit", "--tid", "1", "--lun", &lun, "--op"];
        let file = file.to_string_lossy();
        self.administer(&[&unit[..], &["new", "-b", &file]].concat())?;
        let identity = format!(
            "vendor_id=VMware,product_id=Virtual disk,product_rev=2.0,scsi_sn={uuid},scsi_id={uuid}"
        );
        self.administer(&[&unit[..], &["update", "--params", &identity]].concat())?;
        Ok(self.units)
    }

    /// Its address for QEMU.
    pub fn portal(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn administer(&self, arguments: &[&str]) -> Result<String> {
        tool::run("tgtadm", &[&["-C", &self.control, "--lld", "iscsi"], arguments].concat())
    }
}

impl Drop for ScsiTarget {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A disk that loses its cache: nbdkit keeps written data in memory until a flush.
#[derive(Debug)]
pub struct VolatileDisk {
    process: Child,
    socket: PathBuf,
}

impl VolatileDisk {
    /// Serves `file` on `socket`.
    ///
    /// # Errors
    ///
    /// nbdkit does not start.
    pub fn start(file: &Path, socket: &Path) -> Result<Self> {
        let _ = std::fs::remove_file(socket);
        let mut process = Command::new("nbdkit")
            .args(["--foreground", "--unix"])
            .arg(socket)
            .args(["--filter=cache", "file"])
            .arg(file)
            .args(["cache=writeback"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting nbdkit")?;
        while !socket.exists() {
            if let Some(status) = process.try_wait()? {
                bail!("nbdkit ended at once ({status})");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { process, socket: socket.to_owned() })
    }

    /// Its socket for QEMU.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Cuts its power: data that was not flushed is lost.
    pub fn cut_power(self) {
        drop(self);
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
