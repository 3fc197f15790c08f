//! The programs of a machine in memory: each answers, and changes the machine, as the real program
//! does in the cases used here.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use provisioning::filesystem::{RetentionFilesystem, Signature};
use provisioning::fstab::Fstab;
use provisioning::host::{
    CommandOutput, CommandRunner, Invocation, MemoryTree, Node, RecordedCommand, Tree,
};
use system::Error;
use system::mount::MountTable;

use super::distribution::Distribution;
use super::{Device, Fault, State};

const MOUNTS: &str = "/proc/self/mountinfo";
const DROP_IN: &str = "/etc/multipath/conf.d/mtctl.conf";

/// Runs the programs.
#[derive(Debug)]
pub struct Programs {
    tree: MemoryTree,
    state: Rc<RefCell<State>>,
}

impl Programs {
    pub(super) fn new(tree: MemoryTree, state: Rc<RefCell<State>>) -> Self {
        Self { tree, state }
    }

    fn has(&self, fault: Fault) -> bool {
        self.state.borrow().faults.contains(&fault)
    }

    fn answer(&self, program: &str, arguments: &[&str]) -> Option<CommandOutput> {
        Some(match (program, arguments) {
            ("udevadm", ["info", "--export-db"]) => CommandOutput::success(self.export()),
            ("udevadm", ["settle", ..]) => self.settle(),
            ("update-initramfs" | "dracut", _) if self.has(Fault::InitramfsFails) => {
                failed(1, "cannot write /boot: No space left on device\n")
            }
            ("udevadm" | "update-initramfs" | "dracut", _) => CommandOutput::success(""),
            ("systemctl", _) => self.systemctl(arguments),
            ("blkid", ["-p", "-o", "export", path]) => self.blkid(path),
            ("blkid", ["-p", "-n", "ext4,xfs", "-o", "export", path]) => self.superblock(path)?,
            ("dpkg-query", ["--show", _, names @ ..]) => self.dpkg_query(names),
            ("rpm", ["-q", "--queryformat", _, names @ ..]) => self.rpm(names),
            ("apt-get", [.., "update"]) => self.fetch("")?,
            ("apt-get", ["install", "-y", _, names @ ..]) => self.install(names)?,
            ("dnf" | "yum", ["-y", "install", names @ ..]) => self.install(names)?,
            ("ip", _) => self.ip(),
            ("pvs", _) => self.pvs(),
            ("mdadm", ["--detail", "--export", _]) => CommandOutput::success(
                "MD_LEVEL=raid1\nMD_UUID=0d1e2f30:41526374:8596a7b8:c9daebfc\n",
            ),
            ("wipefs", ["--all", "--quiet", path]) => self.format(path, &Signature::default()),
            ("mkfs.ext4" | "mkfs.xfs", ["-V"]) => CommandOutput::success("1.47.0\n"),
            ("mkfs.ext4", [.., "-L", label, "-U", uuid, path, _size]) => {
                self.mkfs("ext4", label, uuid, path)
            }
            ("mkfs.xfs", [.., "-L", label, "-m", uuid, path]) => {
                self.mkfs("xfs", label, uuid.strip_prefix("uuid=")?, path)
            }
            ("mount", ["--all", "--test-opts", "x-mtctl"]) => self.mount_all(),
            ("mount", ["-o", options, mount_point]) => self.remount(options, mount_point)?,
            ("mount", [mount_point]) => self.mount(mount_point),
            ("umount", [mount_point]) => self.unmount(mount_point),
            ("fsck.ext4", ["-p", _]) if self.has(Fault::FsckRefuses) => {
                failed(4, "/dev/sdb: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n")
            }
            ("fsck.ext4", ["-p", _]) => CommandOutput::success(""),
            (script, []) if script.starts_with("/etc/mtctl/") => {
                CommandOutput::success("changed\n")
            }
            _ => return None,
        })
    }

    /// The block devices in the output of `udevadm info --export-db`.
    fn export(&self) -> String {
        let state = self.state.borrow();
        let stanza = |(name, device): (&String, &Device)| {
            let mut rows = vec![format!("P: /devices/block/{name}"), format!("N: {name}")];
            rows.extend(device.links.iter().map(|link| format!("S: disk/by-id/{link}")));
            rows.push(format!("E: DEVNAME=/dev/{name}"));
            rows.push("E: SUBSYSTEM=block".to_owned());
            rows.extend(device.properties.iter().map(|(key, value)| format!("E: {key}={value}")));
            let Signature { filesystem, partition_table, uuid, label, .. } = &device.in_udev;
            let known = [
                ("ID_FS_TYPE", filesystem),
                ("ID_FS_UUID", uuid),
                ("ID_FS_LABEL", label),
                ("ID_PART_TABLE_TYPE", partition_table),
            ];
            let known = known.iter().filter_map(|(key, value)| value.as_ref().map(|v| (key, v)));
            rows.extend(known.map(|(key, value)| format!("E: {key}={value}")));
            rows.join("\n") + "\n\n"
        };
        state.devices.iter().map(stanza).collect()
    }

    fn settle(&self) -> CommandOutput {
        for device in self.state.borrow_mut().devices.values_mut() {
            device.in_udev = device.signature.clone();
        }
        CommandOutput::success("")
    }

    fn systemctl(&self, arguments: &[&str]) -> CommandOutput {
        if self.has(Fault::PolicyVanishes) && arguments.contains(&"multipathd.service") {
            self.tree.remove(DROP_IN);
        }
        CommandOutput::success("")
    }

    fn blkid(&self, path: &str) -> CommandOutput {
        let state = self.state.borrow();
        let Some(device) = state.devices.values().find(|device| device.path == path) else {
            return failed(2, &format!("blkid: error: {path}: No such file or directory\n"));
        };
        let Signature { filesystem, partition_table, uuid, label, is_ambivalent, .. } =
            &device.signature;
        if *is_ambivalent {
            return failed(8, "blkid: ambivalent result (probably more filesystems)\n");
        }
        if device.signature.is_empty() {
            return failed(2, "");
        }
        let known =
            [("LABEL", label), ("UUID", uuid), ("TYPE", filesystem), ("PTTYPE", partition_table)];
        let rows = known.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let rows: String = rows.map(|(key, value)| format!("{key}={value}\n")).collect();
        CommandOutput::success(format!("DEVNAME={path}\n{rows}"))
    }

    /// The result of blkid when it is asked for an ext4 or XFS only.
    fn superblock(&self, path: &str) -> Option<CommandOutput> {
        let state = self.state.borrow();
        let device = state.devices.values().find(|device| device.path == path)?;
        let row = |(filesystem, uuid): (RetentionFilesystem, &str)| {
            CommandOutput::success(format!("DEVNAME={path}\nUUID={uuid}\nTYPE={filesystem}\n"))
        };
        Some(device.signature.own().map_or_else(|| failed(2, ""), row))
    }

    fn dpkg_query(&self, names: &[&str]) -> CommandOutput {
        let state = self.state.borrow();
        let is_installed = |name: &&&str| state.installed.contains(**name);
        let (known, unknown): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| is_installed(name));
        CommandOutput {
            status: Some(i32::from(!unknown.is_empty())),
            stdout: known.iter().map(|name| format!("{name}\tinstall ok installed\n")).collect(),
            stderr: unknown
                .iter()
                .map(|name| format!("dpkg-query: no packages found matching {name}\n"))
                .collect(),
        }
    }

    fn rpm(&self, names: &[&str]) -> CommandOutput {
        let state = self.state.borrow();
        let row = |name: &&str| match state.installed.contains(*name) {
            true => format!("{name}\n"),
            false => format!("package {name} is not installed\n"),
        };
        let missing = names.iter().filter(|name| !state.installed.contains(**name)).count();
        let stdout = names.iter().map(row).collect();
        CommandOutput { status: i32::try_from(missing).ok(), stdout, stderr: String::new() }
    }

    /// The messages of the package tools when no repository answers, each in its own words.
    fn fetch(&self, printed: &str) -> Option<CommandOutput> {
        if !self.has(Fault::RepositoriesUnreachable) {
            return Some(CommandOutput::success(printed));
        }
        Some(match self.state.borrow().distribution {
            Distribution::Debian12 => failed(
                100,
                "W: Failed to fetch http://mirror.example.com/debian/dists/bookworm/InRelease  \
                 Temporary failure resolving 'mirror.example.com'\n\
                 E: Some index files failed to download. They have been ignored, or old ones used \
                 instead.\n",
            ),
            Distribution::Rocky9 => failed(
                1,
                "Errors during downloading metadata for repository 'baseos':\n  - Curl error (6): \
                 Couldn't resolve host name for https://mirror.example.com/mirrorlist \
                 [Could not resolve host: mirror.example.com]\n\
                 Error: Failed to download metadata for repo 'baseos': Cannot prepare internal \
                 mirrorlist: Curl error (6): Couldn't resolve host name\n",
            ),
            Distribution::CentOs7 => failed(
                1,
                "Could not retrieve mirrorlist http://mirror.example.com/?release=7 error was\n\
                 14: curl#6 - \"Could not resolve host: mirror.example.com; Unknown error\"\n\
                 Cannot find a valid baseurl for repo: base/7/x86_64\n",
            ),
        })
    }

    fn install(&self, names: &[&str]) -> Option<CommandOutput> {
        let answer = self.fetch("Complete!\n")?;
        if answer.is_success() {
            let mut state = self.state.borrow_mut();
            names.iter().for_each(|name| install(&self.tree, &mut state, name));
        }
        Some(answer)
    }

    fn ip(&self) -> CommandOutput {
        match self.state.borrow().distribution.addresses() {
            Some(text) => CommandOutput::success(text),
            None => failed(255, "Option \"-json\" is unknown, try \"ip -help\".\n"),
        }
    }

    fn pvs(&self) -> CommandOutput {
        let state = self.state.borrow();
        let rows: Vec<String> = state
            .physical_volumes
            .iter()
            .map(|[path, group, uuid]| {
                format!(
                    "{{\"pv_name\":\"{path}\", \"vg_name\":\"{group}\", \"vg_uuid\":\"{uuid}\"}}"
                )
            })
            .collect();
        CommandOutput::success(format!("{{\"report\": [{{\"pv\": [{}]}}]}}\n", rows.join(",")))
    }

    fn mkfs(&self, name: &str, label: &str, uuid: &str, path: &str) -> CommandOutput {
        if self.has(Fault::MkfsLies) {
            return CommandOutput::success("");
        }
        if self.has(Fault::MkfsDies) {
            self.format(path, &Signature::default());
            set_node(&self.tree, path, Some(false), None);
            // Killed halfway, as by a crash: no status.
            return CommandOutput { status: None, ..CommandOutput::success("") };
        }
        let signature = Signature {
            filesystem: Some(name.to_owned()),
            uuid: Some(uuid.to_owned()),
            label: Some(label.to_owned()),
            ..Signature::default()
        };
        let answer = self.format(path, &signature);
        set_node(&self.tree, path, Some(false), None);
        answer
    }

    fn format(&self, path: &str, signature: &Signature) -> CommandOutput {
        let is_late = self.has(Fault::UdevIsLate);
        let mut state = self.state.borrow_mut();
        let Some(device) = state.devices.values_mut().find(|device| device.path == path) else {
            return failed(1, &format!("{path}: No such file or directory\n"));
        };
        device.signature = signature.clone();
        if !is_late {
            device.in_udev = signature.clone();
        }
        CommandOutput::success("")
    }

    fn mount_all(&self) -> CommandOutput {
        let fstab = Fstab::parse(&text(&self.tree, "/etc/fstab"));
        let mounts = mounts(&self.tree);
        let due = fstab
            .entries()
            .filter(|(_, entry)| entry.is_ours() && mounts.topmost(&entry.mount_point).is_none());
        let failures = due.map(|(_, entry)| self.mount(&entry.mount_point));
        failures.into_iter().find(|one| !one.is_success()).unwrap_or(CommandOutput::success(""))
    }

    fn mount(&self, mount_point: &str) -> CommandOutput {
        if self.has(Fault::MountLies) {
            return CommandOutput::success("");
        }
        let fstab = Fstab::parse(&text(&self.tree, "/etc/fstab"));
        let Some((_, entry)) = fstab.by_mount_point(mount_point).next() else {
            return failed(1, &format!("mount: {mount_point}: can't find in /etc/fstab.\n"));
        };
        let uuid = entry.source.strip_prefix("UUID=");
        let state = self.state.borrow();
        // A path of a map is held by the map, so the map is what gets mounted. A disk that libblkid
        // does not recognise has a link by our rule, or none.
        let has_rule = !text(&self.tree, "/etc/udev/rules.d/62-mtctl-retention.rules").is_empty();
        let has_uuid = |(_, device): &(&String, &Device)| match &device.signature.hidden {
            Some(hidden) => has_rule && Some(hidden.uuid.as_str()) == uuid,
            None => device.signature.uuid.as_deref() == uuid,
        };
        let Some((name, device)) = state.devices.iter().find(has_uuid) else {
            return failed(32, &format!("mount: {mount_point}: can't find {}.\n", entry.source));
        };
        mount_at(&self.tree, device, mount_point, &entry.filesystem, "rw,noatime");
        if entry.filesystem == "ext4" {
            let errors = entry.options.iter().find(|option| option.starts_with("errors="));
            let errors = errors.map_or("errors=continue", String::as_str);
            set_ext4_options(&self.tree, name, errors);
            self.tree.put_text(format!("/sys/fs/ext4/{name}/errors_count"), "0\n");
        }
        CommandOutput::success("")
    }

    /// The kernel's reaction to `remount,errors=…`; any other option is unknown here.
    fn remount(&self, options: &str, mount_point: &str) -> Option<CommandOutput> {
        let errors = options.strip_prefix("remount,").filter(|rest| rest.starts_with("errors="))?;
        let mounts = mounts(&self.tree);
        let name = mounts.topmost(mount_point)?.source.strip_prefix("/dev/")?;
        set_ext4_options(&self.tree, name, errors);
        Some(CommandOutput::success(""))
    }

    fn unmount(&self, mount_point: &str) -> CommandOutput {
        let before = text(&self.tree, MOUNTS);
        let is_it = |row: &&str| row.split(' ').nth(4) == Some(mount_point);
        let Some(row) = before.lines().rfind(is_it) else {
            return failed(32, &format!("umount: {mount_point}: not mounted.\n"));
        };
        let source = row.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(1));
        if let Some(source) = source {
            set_node(&self.tree, source, None, Some(false));
            let name = source.trim_start_matches("/dev/");
            self.tree.remove(ext4_options(name));
            self.tree.remove(format!("/sys/fs/ext4/{name}/errors_count"));
        }
        let kept = before.lines().filter(|other| *other != row);
        self.tree.put_text(MOUNTS, kept.map(|row| format!("{row}\n")).collect::<String>());
        CommandOutput::success("")
    }
}

impl CommandRunner for Programs {
    fn run(
        &self,
        invocation: &Invocation,
        watch: &mut dyn FnMut(&str),
    ) -> system::Result<CommandOutput> {
        let arguments: Vec<&str> = invocation.arguments.iter().map(String::as_str).collect();
        let Some(output) = self.answer(&invocation.program, &arguments) else {
            let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::failed(format!("starting {invocation}"), cause));
        };
        output.stdout.lines().for_each(watch);
        self.state.borrow_mut().ran.push(RecordedCommand {
            command: invocation.to_string(),
            status: output.status,
            stdout: output.stdout.clone(),
            stderr: output.stderr.clone(),
        });
        Ok(output)
    }
}

fn failed(status: i32, stderr: &str) -> CommandOutput {
    CommandOutput { status: Some(status), stdout: String::new(), stderr: stderr.to_owned() }
}

/// The programs by which an installed package is recognised.
pub(super) fn files_of(package: &str) -> &'static [&'static str] {
    match package {
        "e2fsprogs" => &["/usr/sbin/mkfs.ext4"],
        "xfsprogs" => &["/usr/sbin/mkfs.xfs"],
        "btrfs-progs" => &["/usr/sbin/mkfs.btrfs"],
        "dosfstools" => &["/usr/sbin/mkfs.vfat"],
        "lvm2" => &["/usr/sbin/lvm"],
        "mdadm" => &["/usr/sbin/mdadm"],
        "device-mapper-multipath" | "multipath-tools" => &["/usr/sbin/multipathd"],
        _ => &[],
    }
}

/// Configuration that comes with a package: a plan made before its installation does not know it.
pub(super) fn configuration_of(
    package: &str,
    distribution: Distribution,
) -> &'static [(&'static str, &'static str)] {
    match (package, distribution) {
        ("lvm2", _) => &[("/etc/lvm/lvmlocal.conf", "# This is a local configuration template.\n")],
        ("mdadm", Distribution::Debian12) => {
            &[("/etc/mdadm/mdadm.conf", "HOMEHOST <system>\nMAILADDR root\n")]
        }
        _ => &[],
    }
}

pub(super) fn install(tree: &MemoryTree, state: &mut State, name: &str) {
    state.installed.insert(name.to_owned());
    files_of(name).iter().for_each(|path| tree.put_text(path, ""));
    for (path, text) in configuration_of(name, state.distribution) {
        if !tree.nodes().contains_key(Path::new(path)) {
            tree.put_text(path, *text);
        }
    }
}

fn text(tree: &MemoryTree, path: &str) -> String {
    Tree::memory(tree.clone()).text_if_exists(path).ok().flatten().unwrap_or_default()
}

fn mounts(tree: &MemoryTree) -> MountTable {
    MountTable::parse(&text(tree, MOUNTS)).unwrap_or_default()
}

pub(super) fn append(tree: &MemoryTree, path: &str, row: &str) {
    tree.put_text(path, text(tree, path) + row);
}

/// Where the kernel lists the options of a mounted ext4.
pub fn ext4_options(name: &str) -> String {
    format!("/proc/fs/ext4/{name}/options")
}

fn set_ext4_options(tree: &MemoryTree, name: &str, errors: &str) {
    tree.put_text(ext4_options(name), format!("rw\nbsddf\n{errors}\ncommit=5\n"));
}

/// Mounts a device, whatever fstab says.
pub(super) fn mount_at(
    tree: &MemoryTree,
    device: &Device,
    mount_point: &str,
    filesystem: &str,
    options: &str,
) {
    let before = mounts(tree);
    let id = before.mounts().iter().map(|mount| mount.mount_id).max().unwrap_or(30) + 1;
    // Every mount is on the root, and the root is on a mount that is not visible.
    let root = before.mounts().iter().find(|mount| mount.mount_point == "/");
    let parent = root.map_or(1, |root| root.mount_id);
    let (major, minor) = device.number;
    let path = &device.path;
    let row = format!(
        "{id} {parent} {major}:{minor} / {mount_point} {options} shared:1 - \
         {filesystem} {path} rw\n"
    );
    append(tree, MOUNTS, &row);
    set_node(tree, path, None, Some(true));
}

/// Changes the recorded properties of the device node that `path` leads to.
pub(super) fn set_node(tree: &MemoryTree, path: &str, blank: Option<bool>, busy: Option<bool>) {
    let Some(inside) = Tree::memory(tree.clone()).canonical(path) else { return };
    let found = tree.nodes().remove(&inside);
    if let Some(Node::BlockDevice { device_number, blank: was_blank, busy: was_busy }) = found {
        let (blank, busy) = (blank.map_or(was_blank, Into::into), busy.unwrap_or(was_busy));
        tree.put(inside, Node::BlockDevice { device_number, blank, busy });
    }
}
