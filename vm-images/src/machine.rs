//! A running machine: QEMU, its output, and a way to run scripts in it. A machine that does not
//! answer in time is killed, and the error contains the end of its console.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mt_tests::program::Run;

use crate::hardware::{Disk, Hardware};
use crate::image::{Image, KERNEL_ARGUMENTS};
use crate::monitor::{Monitor, object};

/// How many lines of the console an error contains.
const LAST_LINES: usize = 60;

/// The parameters for starting a machine.
#[derive(Debug)]
pub struct Start<'a> {
    /// The image that it boots.
    pub image: &'a Image,
    /// A writable copy of the image's system.
    pub system: Option<&'a Path>,
    /// Controllers and disks.
    pub hardware: &'a Hardware,
    /// A folder for sockets and the console; its subfolder `share` is /host in the guest.
    pub directory: &'a Path,
    /// The time at which it is killed.
    pub deadline: Instant,
}

impl Start<'_> {
    /// The command that starts QEMU.
    fn command(&self) -> Command {
        let Self { image, system, hardware, directory, .. } = self;
        let disks = hardware.disks.len() + usize::from(system.is_some());
        let mut append = format!("{KERNEL_ARGUMENTS} mt.disks={disks}");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        // No SATA: without it udev has half as many devices to process, and no disk is on it.
        command.args(["-M", "q35,sata=off", "-cpu", "Nehalem", "-smp", "1"]);
        command.args(["-accel", "tcg,thread=multi,tb-size=512"]);
        command.args(hardware.arguments());
        if let Some(system) = system {
            append += " mt.root=/dev/disk/by-id/virtio-system";
            let node = format!(
                "driver=qcow2,node-name=system,file.driver=file,file.filename={}",
                system.display()
            );
            command.args(["-blockdev", &node]);
            // If there is a kernel to start, that is booted first.
            let first = if image.started.is_none() { ",bootindex=0" } else { "" };
            let device = format!("virtio-blk-pci,drive=system,serial=system{first}");
            command.args(["-device", &device]);
        }
        if let Some(started) = &image.started {
            command.arg("-kernel").arg(&started.kernel).arg("-initrd").arg(&started.initramfs);
            command.args(["-append", &append]);
        }
        let place = directory.display();
        command.args(["-serial", &format!("file:{place}/console")]);
        command.args(["-qmp", &format!("unix:{place}/monitor,server=on,wait=off")]);
        command.args(["-device", "virtio-serial-pci"]);
        command.args(["-chardev", &format!("socket,id=agent,path={place}/agent")]);
        command.args(["-device", "virtserialport,chardev=agent,name=agent"]);
        command.arg("-virtfs").arg(format!(
            "local,path={place}/share,mount_tag=host,security_model=none,multidevs=remap"
        ));
        command
    }
}

/// A script that is running in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunningScript(u32);

/// A running machine. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    process: Child,
    agent: BufReader<UnixStream>,
    asking: UnixStream,
    directory: PathBuf,
    hardware: Hardware,
    deadline: Instant,
    scripts: HashMap<u32, String>,
    ended: HashMap<u32, i32>,
    next_number: u32,
}

impl Machine {
    /// Starts a machine and waits until it accepts scripts.
    ///
    /// # Errors
    ///
    /// QEMU refuses an option, or the machine does not start in time.
    pub fn start(start: &Start) -> Result<Self> {
        let Start { hardware, directory, deadline, .. } = start;
        let share = directory.join("share");
        fs::create_dir_all(&share)?;
        for socket in ["agent", "monitor"] {
            let _ = fs::remove_file(directory.join(socket));
        }
        let listener = UnixListener::bind(directory.join("agent"))?;
        let mut command = start.command();
        fs::write(directory.join("command"), format!("{command:?}\n"))?;
        let errors = File::create(directory.join("qemu.err"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut process = command.spawn().context("starting qemu-system-x86_64")?;
        let agent = match accept(&listener, &mut process) {
            Ok(agent) => agent,
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                let said = fs::read_to_string(directory.join("qemu.err")).unwrap_or_default();
                return Err(error.context(said));
            }
        };
        let mut machine = Self {
            process,
            asking: agent.try_clone()?,
            agent: BufReader::new(agent),
            directory: directory.to_path_buf(),
            hardware: (*hardware).clone(),
            deadline: *deadline,
            scripts: HashMap::new(),
            ended: HashMap::new(),
            next_number: 1,
        };
        let line = machine.line().context("the machine does not start")?;
        ensure!(line == "ready", "the agent began with {line:?}");
        Ok(machine)
    }

    /// Runs a bash script in the machine, to its end.
    ///
    /// # Errors
    ///
    /// The machine does not answer in time.
    pub fn run(&mut self, script: &str) -> Result<Run> {
        let running = self.begin(script)?;
        self.wait(running)
    }

    /// Runs a script that must succeed, and returns its stdout.
    ///
    /// # Errors
    ///
    /// As [`Self::run`]; also if the script fails.
    pub fn must(&mut self, script: &str) -> Result<String> {
        let run = self.run(script)?;
        ensure!(run.code == Some(0), "in the machine: {run:#?}");
        Ok(run.stdout)
    }

    /// Repeats the script `is_so` until it succeeds.
    ///
    /// # Errors
    ///
    /// It does not succeed in the time that the case has.
    pub fn wait_until(&mut self, is_so: &str) -> Result<()> {
        self.must(&format!("until {is_so}; do sleep 0.1; done")).map(drop)
    }

    /// Starts a script without waiting for it.
    ///
    /// # Errors
    ///
    /// The machine is gone.
    pub fn begin(&mut self, script: &str) -> Result<RunningScript> {
        let number = self.next_number;
        self.next_number += 1;
        fs::write(self.share().join(format!("{number}.sh")), script)?;
        writeln!(self.asking, "{number}").context("asking the machine")?;
        self.scripts.insert(number, script.to_owned());
        Ok(RunningScript(number))
    }

    /// Waits for a script, and returns its result.
    ///
    /// # Errors
    ///
    /// The machine does not answer in time.
    pub fn wait(&mut self, RunningScript(number): RunningScript) -> Result<Run> {
        while !self.ended.contains_key(&number) {
            let line = self.line().with_context(|| {
                format!("waiting for: {}", self.scripts.get(&number).map_or("", String::as_str))
            })?;
            let (number, status) = line.split_once(' ').context("the agent's answer")?;
            self.ended.insert(number.parse()?, status.parse()?);
        }
        let read = |kind: &str| -> Result<String> {
            let path = self.share().join(format!("{number}.{kind}"));
            Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
        };
        Ok(Run {
            command: self.scripts.get(&number).cloned().unwrap_or_default(),
            code: self.ended.get(&number).copied(),
            stdout: read("out")?,
            stderr: read("err")?,
        })
    }

    /// The folder that the guest sees as /host.
    pub fn share(&self) -> PathBuf {
        self.directory.join("share")
    }

    /// Attaches a disk while the machine runs.
    ///
    /// # Errors
    ///
    /// QEMU refuses it.
    pub fn plug(&mut self, disk: &Disk) -> Result<()> {
        let (node, device) = disk.options(&self.hardware.controllers);
        let mut monitor = self.monitor()?;
        monitor.command("blockdev-add", object(&node, "driver"))?;
        monitor.command("device_add", object(&device, "driver"))?;
        Ok(())
    }

    /// Removes a disk while the machine runs, whether it is in use or not.
    ///
    /// # Errors
    ///
    /// There is no disk of this name.
    pub fn pull(&mut self, name: &str) -> Result<()> {
        self.monitor()?.pull(name)
    }

    /// A connection to QEMU's monitor, which accepts one at a time.
    ///
    /// # Errors
    ///
    /// QEMU is gone.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::connect(&self.directory.join("monitor"))
    }

    /// Cuts the power without informing the guest. Data that its disks had accepted is in the cache
    /// of this host, so none of it is lost; a disk that loses data is
    /// [`crate::servers::VolatileDisk`].
    pub fn cut_power(self) {
        drop(self);
    }

    /// Shuts the machine down properly, and waits until it is off.
    ///
    /// # Errors
    ///
    /// It is not off in time.
    pub fn shut_down(mut self) -> Result<()> {
        let command = "if [ -d /run/systemd/system ]; then systemctl poweroff; \
                       else sync; echo o >/proc/sysrq-trigger; fi";
        self.begin(command)?;
        while Instant::now() < self.deadline {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the machine does not power off:\n{}", self.last_words())
    }

    /// Waits until `text` appears on its console.
    ///
    /// # Errors
    ///
    /// It does not print that in time.
    pub fn prints(&self, text: &str) -> Result<()> {
        while Instant::now() < self.deadline {
            let console = fs::read(self.directory.join("console"))?;
            if String::from_utf8_lossy(&console).contains(text) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the machine does not print {text:?}:\n{}", self.last_words())
    }

    /// The end of its console output.
    pub fn last_words(&self) -> String {
        let console = fs::read(self.directory.join("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// The next line from the agent.
    fn line(&mut self) -> Result<String> {
        let rest = self.deadline.saturating_duration_since(Instant::now());
        let mut line = String::new();
        // A timeout of zero would mean forever.
        self.agent.get_ref().set_read_timeout(Some(rest.max(Duration::from_millis(1))))?;
        let read = self.agent.read_line(&mut line);
        match read {
            Ok(0) => bail!("the machine powered off:\n{}", self.last_words()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => {
                let words = self.last_words();
                Err(error).with_context(|| format!("no answer in time; its console:\n{words}"))
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// QEMU's connection for the agent; an error if QEMU exits instead.
fn accept(listener: &UnixListener, process: &mut Child) -> Result<UnixStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = process.try_wait()? {
            bail!("QEMU ended at once ({status})");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
