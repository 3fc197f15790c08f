//! A machine's folder as ESXi writes it, and each thing that can be wrong with it.

use super::*;
use crate::finding::Status;
use crate::host::{MemoryTree, Node};
use crate::vmware::devices::Controller;

const VMX: &str = include_str!("../fixtures/esxi/mt01.vmx");
const BASE: &str = include_str!("../fixtures/esxi/mt01.vmdk");
const DIFFERENCE: &str = include_str!("../fixtures/esxi/mt01-000001.vmdk");
const RETENTION: &str = include_str!("../fixtures/esxi/mt01_1.vmdk");
const VMSD: &str = include_str!("../fixtures/esxi/mt01.vmsd");
const PATH: &str = "/vmfs/volumes/ds/mt01/mt01.vmx";

/// The machine of the fixtures, powered off, with disk.EnableUUID as given by `setting`.
fn host(setting: &str) -> MemoryTree {
    let memory = MemoryTree::new();
    memory.put_text(PATH, format!("{VMX}{setting}"));
    memory.put_text("/vmfs/volumes/ds/mt01/mt01.vmdk", BASE);
    memory.put_text("/vmfs/volumes/retention/mt01/mt01_1.vmdk", RETENTION);
    memory
}

const ON: &str = "disk.EnableUUID = \"TRUE\"\n";

fn machine(memory: &MemoryTree) -> Machine {
    read(&Tree::memory(memory.clone()), Path::new(PATH)).unwrap()
}

fn ids(machine: &Machine) -> Vec<(&str, Status)> {
    let findings = machine.findings.iter();
    findings.map(|finding| (finding.id, finding.status)).collect()
}

#[test]
fn a_machine_that_is_ready_has_its_disks_with_uuid_and_size_and_no_finding() {
    let machine = machine(&host(ON));
    assert_eq!(machine.findings, []);
    assert!(machine.is_ready() && !machine.is_running());
    let names: Vec<String> = machine.controllers.iter().map(Controller::name).collect();
    assert_eq!(names, ["scsi0", "scsi1", "sata0"]);
    let disks: Vec<_> = machine
        .disks
        .iter()
        .map(|disk| {
            (
                disk.attachment.slot.as_str(),
                disk.uuid.as_ref().map(|uuid| uuid.as_str()),
                disk.capacity_bytes,
                disk.attachment.mode.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        disks,
        [
            ("scsi0:0", Some("6000c29a102030405060708090a0b0c0"), Some(100 << 30), None),
            (
                "scsi1:0",
                Some("6000c293e4b5a1b2c3d4e5f60718293a"),
                Some(1 << 40),
                Some("independent-persistent"),
            ),
        ]
    );
}

#[test]
fn a_machine_without_the_setting_is_not_ready_and_the_hint_can_be_run() {
    for setting in ["", "disk.EnableUUID = \"FALSE\"\n"] {
        let machine = machine(&host(setting));
        assert_eq!(ids(&machine), [("enable-uuid", Status::Fail)]);
        assert_eq!(machine.findings[0].hint, format!("mtctl vmx --fix {PATH}"));
    }
}

#[test]
fn a_lock_of_the_vmx_its_memory_or_a_disk_means_that_it_runs() {
    let locks = [
        "/vmfs/volumes/ds/mt01/mt01.vmx.lck/M41723.lck",
        "/vmfs/volumes/ds/mt01/mt01.vmx.lck",
        "/vmfs/volumes/ds/mt01/mt01.vmem.lck/M1.lck",
        "/vmfs/volumes/ds/mt01/mt01.vmdk.lck/M1.lck",
        "/vmfs/volumes/retention/mt01/mt01_1.vmdk.lck/M1.lck",
        "/vmfs/volumes/ds/mt01/.lck-0a00000000000000",
    ];
    for lock in locks {
        let memory = host(ON);
        memory.put_text(lock, "");
        assert!(machine(&memory).is_running(), "{lock}");
    }
    let memory = host(ON);
    memory.put_text("/vmfs/volumes/ds/mt01/mt010.vmx.lck/M1.lck", "");
    memory.put_text("/vmfs/volumes/ds/mt01/mt01.vmx~", "");
    assert!(!machine(&memory).is_running());
}

#[test]
fn the_locks_beside_the_file_count_where_the_vmx_is_named_by_a_link() {
    let memory = host(ON);
    memory.put("/root/vm.vmx", Node::Link(PATH.into()));
    memory.put_text("/vmfs/volumes/ds/mt01/mt01.vmx.lck", "");
    let machine = read(&Tree::memory(memory), Path::new("/root/vm.vmx")).unwrap();
    assert!(machine.is_running());
    assert_eq!(machine.path, Path::new("/root/vm.vmx"));
    assert!(machine.disks.iter().all(|disk| disk.uuid.is_some()));
}

#[test]
fn a_snapshot_is_named_and_its_difference_has_the_uuid_of_its_base() {
    let memory = host(ON);
    let vmx = format!("{VMX}{ON}").replace("\"mt01.vmdk\"", "\"mt01-000001.vmdk\"");
    memory.put_text(PATH, vmx);
    memory.put_text("/vmfs/volumes/ds/mt01/mt01-000001.vmdk", DIFFERENCE);
    let without_list = machine(&memory);
    assert_eq!(without_list.snapshots, ["mt01-000001.vmdk"]);
    let uuid = without_list.disks[0].uuid.as_ref().map(ToString::to_string);
    assert_eq!(uuid.as_deref(), Some("6000c29a102030405060708090a0b0c0"));
    assert_eq!(without_list.disks[0].create_type.as_deref(), Some("seSparse"));
    memory.put_text("/vmfs/volumes/ds/mt01/mt01.vmsd", VMSD);
    let with_list = machine(&memory);
    assert_eq!(with_list.snapshots, ["before \"prepare\""]);
    assert_eq!(ids(&with_list), [("snapshot", Status::Warn)]);
    assert!(with_list.is_ready());
}

#[test]
fn trouble_with_the_files_of_a_disk_is_a_finding_about_its_slot() {
    let path = "/vmfs/volumes/ds/mt01/mt01.vmdk";
    let circle = "version=1\nparentFileNameHint=\"mt01.vmdk\"\n";
    let cases = [
        (None, Status::Warn, "does not exist"),
        (Some(Node::File(b"\x00\x01".to_vec())), Status::Fail, "not a VMDK descriptor"),
        (Some(Node::File(b"COWD\x01".to_vec())), Status::Fail, "an extent"),
        (Some(Node::Directory), Status::Fail, "not a regular file"),
        (Some(Node::File(circle.into())), Status::Fail, "parents"),
        (Some(Node::File(b"version=1\n".to_vec())), Status::Warn, "no ddb.uuid"),
    ];
    for (node, status, words) in cases {
        let memory = host(ON);
        memory.remove(path);
        if let Some(node) = node {
            memory.put(path, node);
        }
        let machine = machine(&memory);
        let [finding] = &machine.findings[..] else { panic!("{:?}", machine.findings) };
        assert_eq!((finding.status, finding.subject.as_str()), (status, "scsi0:0"), "{words}");
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

#[test]
fn disks_on_other_buses_and_on_other_systems_are_warned_of() {
    let vmx = "disk.EnableUUID = \"1\"\nsata0:0.fileName = \"C:\\VMs\\a.vmdk\"\n\
               sata0:0.present = \"TRUE\"\n";
    let memory = MemoryTree::new();
    memory.put_text(PATH, vmx);
    let machine = machine(&memory);
    assert_eq!(ids(&machine), [("disk", Status::Warn), ("disk", Status::Warn)]);
    assert!(machine.disks[0].path.is_none());
}

#[test]
fn a_key_set_twice_a_suspended_and_an_encrypted_machine_are_found() {
    let twice = machine(&host("disk.EnableUUID = \"TRUE\"\ndisk.enableUUID = \"TRUE\"\n"));
    assert_eq!(ids(&twice), [("duplicate-key", Status::Fail)]);
    assert_eq!(twice.findings[0].message.split(':').next(), Some("set on lines 32, 33"));
    let memory = MemoryTree::new();
    memory.put_text(PATH, "checkpoint.vmState = \"mt01.vmss\"\ndisk.EnableUUID = TRUE\n");
    assert_eq!(ids(&machine(&memory)), [("suspended", Status::Warn)]);
    memory.put_text(PATH, "encryption.keySafe = \"k\"\nencryption.data = \"d\"\n");
    assert_eq!(ids(&machine(&memory)), [("encrypted", Status::Fail)]);
}

#[test]
fn a_vmsd_that_cannot_be_read_is_a_warning() {
    let memory = host(ON);
    memory.put_text("/vmfs/volumes/ds/mt01/mt01.vmsd", "<snapshots/>");
    assert_eq!(ids(&machine(&memory)), [("snapshot", Status::Warn)]);
}

#[test]
fn a_vmx_that_is_none_is_an_error_that_names_it_and_the_line() {
    let memory = MemoryTree::new();
    let tree = Tree::memory(memory.clone());
    assert!(read(&tree, Path::new(PATH)).is_err());
    memory.put_text(PATH, "a = \"b\"\nc = \"d\n");
    let error = read(&tree, Path::new(PATH)).unwrap_err();
    assert_eq!(error.to_string(), format!("reading {PATH}"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "line 2: the quote after the = is never closed");
}

#[test]
fn a_machine_with_a_virtual_tpm_shows_its_settings() {
    let vmx = "vmx.encryptionType = \"partial\"\nencryptedVM.guid = \"{0}\"\n\
        encryption.keySafe = \"vmware:key/list/(pair/(phrase/abc%3d))\"\n\
        encryption.data = \"AAAABBBBCCCC\"\nvtpm.present = \"TRUE\"\n\
        disk.EnableUUID = \"FALSE\"\n";
    let memory = MemoryTree::new();
    memory.put_text(PATH, vmx);
    let found = machine(&memory);
    assert!(!found.is_encrypted);
    assert_eq!(ids(&found), [("enable-uuid", Status::Fail)]);
    assert!(found.edited.is_some());
}

#[test]
fn a_parent_whose_absolute_path_is_gone_is_found_beside_its_child_if_it_is_the_one() {
    let folder = "/vmfs/volumes/ds/mt01";
    for hint in ["/vmfs/volumes/old/mt01/mt01.vmdk", "C:\\VMs\\mt01\\mt01.vmdk"] {
        for (content_id, is_known) in [("8b10d2f4", true), ("8B10D2F4", true), ("11111111", false)]
        {
            let memory = host(ON);
            let vmx = format!("{VMX}{ON}").replace("\"mt01.vmdk\"", "\"mt01-000001.vmdk\"");
            memory.put_text(PATH, vmx);
            let child = DIFFERENCE.replace("Hint=\"mt01.vmdk\"", &format!("Hint=\"{hint}\""));
            memory.put_text(format!("{folder}/mt01-000001.vmdk"), child);
            let base: String = BASE
                .lines()
                .filter(|row| !row.starts_with("CID="))
                .map(|row| format!("{row}\n"))
                .collect();
            memory.put_text(format!("{folder}/mt01.vmdk"), format!("{base}CID={content_id}\n"));
            let disk = &machine(&memory).disks[0];
            assert_eq!((disk.uuid.is_some(), disk.is_unknown), (is_known, !is_known), "{hint}");
        }
    }
}

#[test]
fn disks_that_need_consolidation_are_told() {
    let memory = host(ON);
    let vmsd = "snapshot.numSnapshots = \"0\"\nsnapshot.needConsolidate = \"TRUE\"\n";
    memory.put_text("/vmfs/volumes/ds/mt01/mt01.vmsd", vmsd);
    let found = machine(&memory);
    assert_eq!(ids(&found), [("consolidate", Status::Warn)]);
    assert!(found.is_ready());
}
