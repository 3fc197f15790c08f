//! Which states are found, and which are not understood.

use super::*;
use crate::host::{MemoryTree, RecordedHost};
use crate::observe::mount_table;

fn state(target: &str) -> String {
    let json = format!(r#"{{"version":1,"volumes":{{"":{{"target":"{target}"}}}}}}"#);
    format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()))
}

fn groups(files: &[(&str, &str)]) -> Groups {
    let tree = MemoryTree::new();
    let rows = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                2 1 8:16 / /mnt/retention rw - ext4 /dev/sdb rw\n\
                3 1 8:32 / /srv/other rw - xfs /dev/sdc rw\n\
                4 1 0:40 / /srv/far rw - nfs4 far:/ rw\n";
    tree.put_text("/proc/self/mountinfo", rows);
    tree.put_text("/etc/fstab", "UUID=1-2 /mnt/retention ext4 defaults,x-mtctl 0 2\n");
    for (path, text) in files {
        tree.put_text(path, *text);
    }
    let host = Host::recorded(RecordedHost::new("", &tree, Vec::new()));
    observe(&host, mount_table(&host).unwrap().mounts())
}

#[test]
fn states_are_found_in_var_on_mounted_volumes_and_where_the_registry_says() {
    let good = state("/dev/sdd");
    for (path, group) in [
        ("/var/lib/mtctl/groups/web/state", "web"),
        ("/mnt/retention/db/state", "db"),
        ("/srv/other/mail/state", "mail"),
        ("/opt/elsewhere/of/x/state", "x"),
    ] {
        let found = groups(&[(path, &good), (registry::REGISTRY_PATH, "x /opt/elsewhere/of/x\n")]);
        let expected = Claim { group: group.into(), state: path.into(), target: "/dev/sdd".into() };
        assert_eq!((found.claims, found.unreadable), (vec![expected], vec![]), "{path}");
    }
    // Filesystems that may not answer are not read.
    assert_eq!(groups(&[("/srv/far/web/state", &good)]), Groups::default());
}

#[test]
fn a_state_that_is_not_understood_is_told_and_other_peoples_files_are_passed_over() {
    let newer = state("/dev/sdd").replace("\"version\":1", "\"version\":2");
    for (files, is_told) in [
        (vec![("/var/lib/mtctl/groups/web/state", "")], true),
        (vec![("/mnt/retention/db/state", "\0\0\0")], true),
        (vec![("/srv/other/mail/state", newer.as_str())], true),
        (vec![("/srv/other/mail/state", ""), ("/srv/other/mail/lock", "")], true),
        (vec![("/srv/other/logrotate/state", "logrotate state -- version 2\n")], false),
        (vec![("/opt/state", "x")], false),
        (vec![(registry::REGISTRY_PATH, "nonsense")], true),
    ] {
        let found = groups(&files);
        assert_eq!(found.claims, [], "{files:?}");
        assert_eq!(found.unreadable.len(), usize::from(is_told), "{files:?}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "makes what the door then looks at")]
fn what_stands_where_a_state_belongs_and_is_none_is_told() {
    let here = tempfile::tempdir().unwrap();
    let at = |path: &str| here.path().join(path.trim_start_matches('/'));
    let tree = Tree::directory(here.path());
    let group = "/var/lib/mtctl/groups/web";
    let nowhere = |path: &Path| std::os::unix::fs::symlink("/no/such/place", path).unwrap();
    let file = |path: &Path| std::fs::write(path, "x").unwrap();
    let read = || {
        let mut reader = Reader { groups: Groups::default(), seen: BTreeSet::new() };
        reader.read_system(&tree);
        reader.groups.unreadable.len()
    };
    let clear = || {
        let _ = std::fs::remove_dir_all(at("/var"));
        std::fs::create_dir_all(at("/var/lib/mtctl")).unwrap();
    };
    clear();
    assert_eq!(read(), 0, "there is no group");
    std::fs::create_dir_all(at(group)).unwrap();
    assert_eq!(read(), 0, "a directory without a state");
    let state = at(group).join("state");
    nowhere(&state);
    assert_eq!(read(), 1, "a dangling link");
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    assert_eq!(read(), 1, "a directory");
    std::fs::remove_dir(&state).unwrap();
    nix::unistd::mkfifo(&state, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(read(), 1, "a pipe");
    std::fs::remove_file(&state).unwrap();
    std::fs::write(at(group).join("segment-0000000000000007"), "").unwrap();
    assert_eq!(read(), 1, "a history whose state is lost");
    for (what, path) in [("groups", GROUPS_PATH), ("group", group)] {
        for (how, make) in [("a link", &nowhere as &dyn Fn(&Path)), ("a file", &file)] {
            clear();
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            make(&at(path));
            assert_eq!(read(), 1, "{how} where {what} belong");
        }
    }
}
