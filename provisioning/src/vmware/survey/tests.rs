//! Several machines together: which disks share a UUID.

use super::*;
use crate::host::{MemoryTree, Node};

const A: &str = "60 00 C2 9a 00 00 00 00-00 00 00 00 00 00 00 0a";
const B: &str = "60 00 C2 9a 00 00 00 00-00 00 00 00 00 00 00 0b";

fn put_machine(memory: &MemoryTree, name: &str, files: &[&str]) {
    let rows = (0..).zip(files).map(|(unit, file)| {
        format!("scsi0:{unit}.fileName = \"{file}\"\nscsi0:{unit}.present = \"TRUE\"\n")
    });
    let rows: String = rows.collect();
    let text = format!("disk.EnableUUID = \"TRUE\"\nscsi0.present = \"TRUE\"\n{rows}");
    memory.put_text(format!("/vm/{name}/{name}.vmx"), text);
}

fn put_disk(memory: &MemoryTree, path: &str, uuid: &str) {
    memory.put_text(path, format!("version=1\nRW 8 VMFS \"f\"\nddb.uuid = \"{uuid}\"\n"));
}

fn survey(memory: &MemoryTree, names: &[&str]) -> Survey {
    let paths: Vec<String> = names.iter().map(|name| format!("/vm/{name}/{name}.vmx")).collect();
    Survey::read(&Tree::memory(memory.clone()), &paths).unwrap()
}

#[test]
fn two_disks_of_one_machine_with_one_uuid_are_named_both() {
    let memory = MemoryTree::new();
    put_machine(&memory, "a", &["a.vmdk", "a_1.vmdk"]);
    put_disk(&memory, "/vm/a/a.vmdk", A);
    put_disk(&memory, "/vm/a/a_1.vmdk", A);
    let survey = survey(&memory, &["a"]);
    assert!(!survey.is_ready());
    let error = survey.clash_error(ErrorKind::NotReady).unwrap();
    assert_eq!(
        error.to_string(),
        "comparing disk UUIDs: disks scsi0:0 (a.vmdk) of /vm/a/a.vmx and scsi0:1 (a_1.vmdk) of \
         /vm/a/a.vmx have the same UUID 6000c29a00000000000000000000000a"
    );
}

#[test]
fn a_clone_of_another_machine_is_a_finding_of_both() {
    let memory = MemoryTree::new();
    put_machine(&memory, "a", &["a.vmdk"]);
    put_machine(&memory, "b", &["b.vmdk", "b_1.vmdk"]);
    put_disk(&memory, "/vm/a/a.vmdk", A);
    put_disk(&memory, "/vm/b/b.vmdk", B);
    put_disk(&memory, "/vm/b/b_1.vmdk", A);
    let survey = survey(&memory, &["a", "b"]);
    let [clash] = &survey.clashes[..] else { panic!("{:?}", survey.clashes) };
    assert_eq!((clash.first.slot.as_str(), clash.second.slot.as_str()), ("scsi0:0", "scsi0:1"));
    assert_eq!(clash.second.machine, Path::new("/vm/b/b.vmx"));
    for machine in &survey.machines {
        assert_eq!(machine.findings.len(), 1);
        assert_eq!(machine.findings[0].id, "duplicate-uuid");
    }
}

#[test]
fn linked_clones_of_one_base_have_one_uuid() {
    let memory = MemoryTree::new();
    for name in ["a", "b"] {
        put_machine(&memory, name, &["d.vmdk"]);
        let text = "version=1\nparentFileNameHint=\"../base/base.vmdk\"\n";
        memory.put_text(format!("/vm/{name}/d.vmdk"), text);
    }
    put_disk(&memory, "/vm/base/base.vmdk", A);
    assert_eq!(survey(&memory, &["a", "b"]).clashes.len(), 1);
}

#[test]
fn different_disks_a_shared_disk_and_a_machine_named_twice_are_no_clash() {
    let memory = MemoryTree::new();
    put_machine(&memory, "a", &["a.vmdk", "/vm/shared/s.vmdk"]);
    put_machine(&memory, "b", &["b.vmdk", "../shared/s.vmdk"]);
    put_disk(&memory, "/vm/a/a.vmdk", A);
    put_disk(&memory, "/vm/b/b.vmdk", B);
    put_disk(&memory, "/vm/shared/s.vmdk", &A.replace("0a", "0c"));
    memory.put("/vm/again/again.vmx", Node::Link("/vm/a/a.vmx".into()));
    let survey = survey(&memory, &["a", "b", "a", "again"]);
    assert_eq!(survey.clashes, []);
    assert_eq!(survey.machines.len(), 2);
    assert!(survey.is_ready() && survey.clash_error(ErrorKind::NotReady).is_none());
}

#[test]
fn what_is_left_in_a_slot_that_is_not_present_is_no_clash() {
    let memory = MemoryTree::new();
    put_machine(&memory, "old", &["d.vmdk"]);
    put_machine(&memory, "new", &["n.vmdk"]);
    for row in ["", "scsi0:1.present = \"FALSE\"\n"] {
        let vmx = "disk.EnableUUID = \"FALSE\"\nscsi0.present = \"TRUE\"\n\
            scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"n.vmdk\"\n\
            scsi0:1.fileName = \"d.vmdk\"\nscsi0:1.mode = \"independent-nonpersistent\"\n";
        memory.put_text("/vm/new/new.vmx", format!("{vmx}{row}"));
        put_disk(&memory, "/vm/new/n.vmdk", B);
        put_disk(&memory, "/vm/new/d.vmdk", A);
        put_disk(&memory, "/vm/old/d.vmdk", A);
        let found = survey(&memory, &["old", "new"]);
        assert_eq!((found.clashes.len(), found.unknown.len()), (0, 0), "{row}");
        assert_eq!(found.machines[1].disks.len(), 1, "{row}");
    }
}
