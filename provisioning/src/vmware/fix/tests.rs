//! Real files are fixed and keep their mode and owner; running machines are refused.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::super::image;
use super::*;

/// A folder on disk with machines in it; the folder is the tree's root.
struct Folder {
    directory: tempfile::TempDir,
    tree: Tree,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::directory(directory.path());
        Self { directory, tree }
    }

    fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.tree.replace(path, bytes.as_ref(), FileWriteMode::Keep).unwrap();
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.tree.read(path).unwrap()
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    fn fix(&self, paths: &[&str]) -> Result<Vec<PathBuf>> {
        run(&self.tree, &Survey::read(&self.tree, paths).unwrap(), UnknownUuids::Refused)
    }
}

const OFF: &[u8] = b".encoding = \"windows-1252\"\r\ndisplayName = \"B\xFCro\"\r\n\
                     disk.EnableUUID = \"false\"\r\n# last";

#[test]
fn a_fix_changes_the_row_keeps_mode_and_owner_and_is_done_once() {
    let folder = Folder::new();
    folder.put("/vm/a.vmx", OFF);
    let path = folder.outside("/vm/a.vmx");
    // Only root may give a file away; for others the owner stays the same anyway.
    let _ = std::os::unix::fs::chown(&path, Some(1234), Some(5678));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o751)).unwrap();
    let owner = std::fs::metadata(&path).unwrap();
    assert_eq!(folder.fix(&["/vm/a.vmx"]).unwrap(), [Path::new("/vm/a.vmx")]);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(after.permissions().mode() & 0o7777, 0o751);
    assert_eq!((after.uid(), after.gid()), (owner.uid(), owner.gid()));
    let expected = b".encoding = \"windows-1252\"\r\ndisplayName = \"B\xFCro\"\r\n\
                     disk.EnableUUID = \"TRUE\"\r\n# last";
    assert_eq!(folder.bytes("/vm/a.vmx"), expected);
    assert_eq!(folder.tree.list("/vm"), ["a.vmx"]);

    assert!(folder.fix(&["/vm/a.vmx"]).unwrap().is_empty());
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), after.ino());
}

#[test]
fn a_machine_that_needs_nothing_may_run() {
    let folder = Folder::new();
    folder.put("/vm/a.vmx", "disk.EnableUUID = \"TRUE\"\n");
    folder.put("/vm/a.vmx.lck/M1.lck", "");
    assert!(folder.fix(&["/vm/a.vmx"]).unwrap().is_empty());
}

#[test]
fn one_machine_that_may_not_be_touched_keeps_all_from_being_touched() {
    let clone = "version=1\nddb.uuid = \"60 00 C2 9a 00 00 00 00-00 00 00 00 00 00 00 0a\"\n";
    let attached = "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"gone.vmdk\"\n";
    let cases: [(&str, &[(&str, &str)]); 5] = [
        ("unknown for scsi0:0 (gone.vmdk) of /vm/b.vmx", &[("/vm/b.vmx", attached)]),
        ("is running", &[("/vm/b.vmx", "a = 1\n"), ("/vm/b.vmx.lck/M1.lck", "")]),
        ("is suspended", &[("/vm/b.vmx", "checkpoint.vmState = \"b.vmss\"\n")]),
        ("are encrypted", &[("/vm/b.vmx", "encryption.data = \"x\"\n")]),
        (
            "have the same UUID",
            &[
                (
                    "/vm/b.vmx",
                    "scsi0:0.fileName = \"b.vmdk\"\nscsi0:1.fileName = \"c.vmdk\"\n\
                     scsi0:0.present = \"TRUE\"\nscsi0:1.present = \"TRUE\"\n",
                ),
                ("/vm/b.vmdk", clone),
                ("/vm/c.vmdk", clone),
            ],
        ),
    ];
    for (words, files) in cases {
        let folder = Folder::new();
        folder.put("/vm/a.vmx", OFF);
        files.iter().for_each(|(path, text)| folder.put(path, text));
        let before = folder.bytes("/vm/b.vmx");
        let error = folder.fix(&["/vm/a.vmx", "/vm/b.vmx"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{words}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().is_some());
        assert_eq!(folder.bytes("/vm/a.vmx"), OFF);
        assert_eq!(folder.bytes("/vm/b.vmx"), before);
    }
}

#[test]
fn a_machine_started_after_the_survey_is_refused() {
    let folder = Folder::new();
    folder.put("/vm/a.vmx", OFF);
    let survey = Survey::read(&folder.tree, &["/vm/a.vmx"]).unwrap();
    folder.put("/vm/a.vmx.lck/M1.lck", "");
    let error = run(&folder.tree, &survey, UnknownUuids::Refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(folder.bytes("/vm/a.vmx"), OFF);
}

#[test]
fn an_edit_made_after_the_survey_is_not_lost() {
    let folder = Folder::new();
    folder.put("/vm/a.vmx", "a = 1\n");
    let survey = Survey::read(&folder.tree, &["/vm/a.vmx"]).unwrap();
    folder.put("/vm/a.vmx", "a = 2\n");
    run(&folder.tree, &survey, UnknownUuids::Refused).unwrap();
    assert_eq!(folder.bytes("/vm/a.vmx"), b"a = 2\ndisk.EnableUUID = \"TRUE\"\n");
}

#[test]
fn a_folder_that_takes_no_new_file_is_an_error_and_the_file_is_as_it_was() {
    // The name of a temporary file would be longer than this one, which leaves just enough room for
    // the lock's ending below the limit on names. A read-only folder would not stop root, who runs
    // the tests.
    let name = format!("/vm/{}.vmx", "n".repeat(255 - ".vmem.lck".len()));
    let folder = Folder::new();
    std::fs::create_dir(folder.outside("/vm")).unwrap();
    std::fs::write(folder.outside(&name), OFF).unwrap();
    let error = folder.fix(&[&name]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().starts_with("writing /vm/nnn"), "{error}");
    assert_eq!(folder.bytes(&name), OFF);
    assert_eq!(folder.tree.list("/vm").len(), 1);
}

#[test]
fn a_failure_after_the_first_file_does_not_say_that_nothing_was_touched() {
    let folder = Folder::new();
    folder.put("/vm/a.vmx", OFF);
    folder.put("/vm/b.vmx", OFF);
    let survey = Survey::read(&folder.tree, &["/vm/a.vmx", "/vm/b.vmx"]).unwrap();
    folder.put("/vm/b.vmx.lck/M1.lck", "");
    let error = run(&folder.tree, &survey, UnknownUuids::Refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.to_string(), "fixing /vm/b.vmx, 1 done");
}

#[test]
fn a_descriptor_inside_a_sparse_disk_on_disk_is_read_from_its_head() {
    let folder = Folder::new();
    let text = "version=1\nddb.uuid = \"60 00 C2 9a 00 00 00 00-00 00 00 00 00 00 00 0a\"\n";
    let mut disk = b"KDMV".to_vec();
    disk.resize(28, 0);
    disk.extend(1u64.to_le_bytes());
    disk.extend(20u64.to_le_bytes());
    disk.resize(512, 0);
    disk.extend(text.as_bytes());
    folder.put("/vm/a.vmdk", disk);
    // Far larger than the largest file that the tree reads as a whole.
    let file = std::fs::OpenOptions::new().write(true).open(folder.outside("/vm/a.vmdk")).unwrap();
    file.set_len(1 << 40).unwrap();
    let attached = "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"a.vmdk\"\n";
    folder.put("/vm/a.vmx", attached);
    let machine = machine::read(&folder.tree, Path::new("/vm/a.vmx")).unwrap();
    let disks: Vec<&image::Disk> = machine.disks.iter().collect();
    assert!(disks[0].uuid.is_some(), "{:?}", machine.findings);
}

#[test]
fn one_machine_alone_and_several_by_consent_are_fixed_without_their_disks() {
    let off = "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"gone.vmdk\"\n";
    let folder = Folder::new();
    folder.put("/vm/a.vmx", off);
    folder.put("/vm/b.vmx", off);
    assert_eq!(folder.fix(&["/vm/a.vmx"]).unwrap().len(), 1);
    let both = Survey::read(&folder.tree, &["/vm/a.vmx", "/vm/b.vmx"]).unwrap();
    let error = run(&folder.tree, &both, UnknownUuids::Refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(run(&folder.tree, &both, UnknownUuids::Allowed).unwrap(), [Path::new("/vm/b.vmx")]);
    let none_needs_it = Survey::read(&folder.tree, &["/vm/a.vmx", "/vm/b.vmx"]).unwrap();
    assert!(run(&folder.tree, &none_needs_it, UnknownUuids::Refused).unwrap().is_empty());
}

/// A machine from a Windows host with a Chinese code page: its name is 数据服务器.
fn gbk(directory_entry: &[u8]) -> (Folder, Vec<u8>) {
    let name = b"\xCA\xFD\xBE\xDD\xB7\xFE\xCE\xF1\xC6\xF7";
    let vmx = [
        b".encoding = \"GBK\"\r\nscsi0.present = \"TRUE\"\r\nscsi0:0.present = \"TRUE\"\r\n\
          scsi0:0.fileName = \"",
        &name[..],
        b".vmdk\"\r\ndisplayName = \"",
        name,
        b"\"\r\ndisk.EnableUUID = \"FALSE\"\r\n",
    ]
    .concat();
    let folder = Folder::new();
    folder.put("/vm/mt.vmx", &vmx);
    let disk = "version=1\nencoding=\"GBK\"\nCID=11223344\nRW 8 FLAT \"x-flat.vmdk\" 0\n\
                ddb.uuid = \"60 00 C2 9a 01 02 03 04-05 06 07 08 09 0a 0b 0c\"\n";
    let entry = std::os::unix::ffi::OsStringExt::from_vec(directory_entry.to_vec());
    let entry: std::ffi::OsString = entry;
    std::fs::write(folder.outside("/vm").join(entry), disk).unwrap();
    (folder, vmx)
}

#[test]
fn a_disk_is_found_by_the_bytes_of_its_name_and_by_its_name_in_utf_8() {
    let raw = b"\xCA\xFD\xBE\xDD\xB7\xFE\xCE\xF1\xC6\xF7.vmdk";
    for entry in [&raw[..], "数据服务器.vmdk".as_bytes()] {
        let (folder, before) = gbk(entry);
        let machine = machine::read(&folder.tree, Path::new("/vm/mt.vmx")).unwrap();
        let uuid = machine.disks[0].uuid.as_ref().map(|uuid| uuid.as_str().to_owned());
        assert_eq!(uuid.as_deref(), Some("6000c29a0102030405060708090a0b0c"));
        assert_eq!(machine.disks[0].attachment.file.as_str(), "数据服务器.vmdk");
        assert_eq!(folder.fix(&["/vm/mt.vmx"]).unwrap().len(), 1);
        let on = [&before[..before.len() - 8], b"TRUE\"\r\n"].concat();
        assert_eq!(folder.bytes("/vm/mt.vmx"), on, "every other byte is as it was");
    }
}

#[test]
fn two_files_that_could_be_the_disk_are_neither() {
    let raw = b"\xCA\xFD\xBE\xDD\xB7\xFE\xCE\xF1\xC6\xF7.vmdk";
    let (folder, _) = gbk(raw);
    folder.put("/vm/数据服务器.vmdk", "version=1\n");
    let machine = machine::read(&folder.tree, Path::new("/vm/mt.vmx")).unwrap();
    assert!(machine.disks[0].is_unknown && machine.disks[0].uuid.is_none());
    assert!(machine.findings.iter().any(|one| one.message.contains("both exist")));
}
