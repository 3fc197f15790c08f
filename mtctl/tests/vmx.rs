//! `mtctl vmx` as a process: its exit codes, its JSON and its table. What the files mean is tested
//! in `provisioning`.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const OFF: &str = ".encoding = \"UTF-8\"\nscsi0.present = \"TRUE\"\nscsi0.virtualDev = \"pvscsi\"\n\
    scsi0:0.fileName = \"disk.vmdk\"\nscsi0:0.present = \"TRUE\"\n";
const ON: &str = "disk.EnableUUID = \"TRUE\"\n";
const DISK: &str = "# Disk DescriptorFile\nversion=1\ncreateType=\"vmfs\"\n\
    RW 2097152 VMFS \"disk-flat.vmdk\"\n\
    ddb.uuid = \"60 00 C2 9a 10 20 30 40-50 60 70 80 90 a0 b0 c0\"\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A machine in a folder of its own, with one disk.
    fn machine(&self, name: &str, text: &str, disk: &str) -> PathBuf {
        let folder = self.0.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("disk.vmdk"), disk).unwrap();
        let path = folder.join(format!("{name}.vmx"));
        fs::write(&path, text).unwrap();
        path
    }
}

fn mtctl(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    command.arg("vmx").args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn flag(name: &str) -> &Path {
    Path::new(name)
}

#[test]
fn a_machine_that_is_ready_exits_0_and_its_json_has_the_fields_of_the_contract() {
    let folder = Folder::new();
    let path = folder.machine("mt", &format!("{OFF}{ON}"), DISK);
    let output = mtctl(&[flag("--json"), &path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let expected = serde_json::json!({"machines": [{
        "path": path.to_str().unwrap(),
        "enable_uuid": true,
        "changed": false,
        "running": false,
        "snapshots": [],
        "controllers": [{"name": "scsi0", "kind": "pvscsi"}],
        "disks": [{
            "slot": "scsi0:0",
            "file": "disk.vmdk",
            "uuid": "6000c29a102030405060708090a0b0c0",
            "uuid_unknown": false,
            "size_bytes": 1 << 30,
            "mode": null,
            "wwid_matches": null,
        }],
        "findings": [],
    }], "warnings": [], "alarms": []});
    assert_eq!(json(&output), expected);
}

#[test]
fn a_machine_that_is_off_exits_3_and_is_fixed_once() {
    let folder = Folder::new();
    let path = folder.machine("mt", OFF, DISK);
    assert_eq!(mtctl(&[&path]).status.code(), Some(3));
    assert_eq!(fs::read_to_string(&path).unwrap(), OFF);
    for changed in [true, false] {
        let output = mtctl(&[flag("--fix"), flag("--json"), &path]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let machine = &json(&output)["machines"][0];
        assert_eq!((&machine["enable_uuid"], &machine["changed"]), (&true.into(), &changed.into()));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{OFF}{ON}"));
    }
}

#[test]
fn a_running_machine_is_refused_with_exit_4_and_a_hint() {
    let folder = Folder::new();
    let path = folder.machine("mt", OFF, DISK);
    fs::create_dir(path.with_extension("vmx.lck")).unwrap();
    let output = mtctl(&[flag("--fix"), &path]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("the VM is running"), "{}", stderr(&output));
    assert!(stderr(&output).contains("\nhint: "), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&path).unwrap(), OFF);
    let looked = mtctl(&[flag("--json"), &path]);
    assert_eq!(json(&looked)["machines"][0]["running"], true);
}

#[test]
fn clones_are_named_both_and_exit_3_or_4_with_a_fix() {
    let folder = Folder::new();
    let first = folder.machine("a", OFF, DISK);
    let second = folder.machine("b", OFF, DISK);
    for (option, code) in [("--json", 3), ("--fix", 4)] {
        let output = mtctl(&[flag(option), &first, &second]);
        assert_eq!(output.status.code(), Some(code));
        for name in [&first, &second] {
            let text = format!("scsi0:0 (disk.vmdk) of {}", name.display());
            assert!(stderr(&output).contains(&text), "{}", stderr(&output));
        }
        assert_eq!(fs::read_to_string(&first).unwrap(), OFF);
    }
}

#[test]
fn an_unreadable_file_exits_1_and_no_file_exits_2() {
    let folder = Folder::new();
    let path = folder.machine("mt", "what is this\n", DISK);
    let output = mtctl(&[&path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("line 1: "), "{}", stderr(&output));
    assert_eq!(mtctl(&[&folder.0.path().join("none.vmx")]).status.code(), Some(1));
    assert_eq!(mtctl(&[folder.0.path()]).status.code(), Some(1));
    assert_eq!(mtctl(&[]).status.code(), Some(2));
}

#[test]
fn the_report_for_people_fits_100_columns_and_holds_no_escape_sequence() {
    let folder = Folder::new();
    let name = format!("{}|1B[31m-000001.vmdk", "long ".repeat(30));
    let more = "scsi0:1.present = \"TRUE\"\nnvme0.present = \"TRUE\"\n";
    let text = format!("{OFF}{ON}scsi0:1.fileName = \"{name}\"\n{more}");
    let path = folder.machine("mt", &text, DISK);
    let output = mtctl(&[&path]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(!report.contains('\u{1B}'));
    let rows: Vec<&str> = report.lines().skip_while(|line| !line.contains("SLOT")).collect();
    let table: Vec<&&str> = rows.iter().take_while(|line| !line.contains("warn")).collect();
    assert!(table.len() > 5, "{report}");
    assert!(table.iter().all(|line| line.chars().count() <= 100), "{report}");
}

#[test]
fn several_machines_with_a_disk_that_is_not_there_are_fixed_only_when_told() {
    let folder = Folder::new();
    let first = folder.machine("a", OFF, DISK);
    let second = folder.machine("b", &OFF.replace("disk.vmdk", "gone.vmdk"), DISK);
    let looked = mtctl(&[flag("--json"), &first, &second]);
    assert_eq!(json(&looked)["machines"][1]["disks"][0]["uuid_unknown"], true);
    let refused = mtctl(&[flag("--fix"), &first, &second]);
    assert_eq!(refused.status.code(), Some(4));
    let said = stderr(&refused);
    assert!(said.contains("unknown for scsi0:0 (gone.vmdk)"), "{said}");
    assert!(said.contains("--allow-unknown-uuids"), "{said}");
    assert_eq!(fs::read_to_string(&first).unwrap(), OFF);
    let told = mtctl(&[flag("--fix"), flag("--allow-unknown-uuids"), &first, &second]);
    assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
    assert_eq!(fs::read_to_string(&first).unwrap(), format!("{OFF}{ON}"));
}
