//! Real filesystems, changed in rounds; the changes are captured by comparing images, applied, and
//! judged by the filesystem's own checker and by the hash of every file.

use std::fs;
use std::path::{Path, PathBuf};

use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{difference, native, rbd_diff, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::has_program;

use crate::{MIB, apply, file, state};

/// What is done to the mounted filesystem, in its root directory.
const ROUNDS: [&str; 4] = [
    "mkdir -p a/b c
     for n in $(seq 200); do echo \"file $n\" >a/b/$n; done
     head -c 3000000 /dev/urandom >c/large; truncate -s 5M c/sparse; ln -s c/large link",
    "rm a/b/1? a/b/2??; mv a/b/30 a/renamed; mv c d
     dd if=/dev/urandom of=d/large bs=4096 seek=100 count=50 conv=notrunc status=none
     truncate -s 1000001 d/large; echo more >>a/b/40; ln a/b/41 hard",
    "fallocate -p -o 40960 -l 81920 d/large; head -c 2000000 /dev/zero >zeros
     for n in $(seq 300 420); do head -c 5000 /dev/urandom >a/b/$n; done; rm d/sparse",
    "rm -r a; mkdir -m 700 e; echo last >e/last; chmod 600 d/large; truncate -s 0 zeros",
];

/// A source disk with a filesystem, and its state at the previous point.
struct Source<'a> {
    machine: &'a ScratchMachine,
    disk: LoopDevice,
    before: PathBuf,
    mib: u64,
}

impl<'a> Source<'a> {
    fn new(machine: &'a ScratchMachine, mkfs: &str, mib: u64) -> Self {
        let disk = machine.disk("source", mib);
        let before = machine.file("before");
        shell(&format!("truncate -s {mib}M {}; {mkfs} {}", before.display(), disk.path()));
        Self { machine, disk, before, mib }
    }

    /// Runs `script` in the mounted filesystem; with `frozen`, the disk is copied while it is
    /// mounted and frozen, as a snapshot would be.
    fn change(&self, script: &str, frozen: bool) -> PathBuf {
        let now = self.machine.file("now");
        let copy = format!(
            "blockdev --flushbufs {}; cp --sparse=always {} {}",
            self.disk.path(),
            self.disk.file().display(),
            now.display()
        );
        shell("mkdir -p /mnt/source");
        run("mount", &[self.disk.path(), "/mnt/source"]);
        shell(&format!("cd /mnt/source; {script}"));
        if frozen {
            shell(&format!("fsfreeze -f /mnt/source; {copy}; fsfreeze -u /mnt/source"));
        }
        run("umount", &["/mnt/source"]);
        if !frozen {
            shell(&copy);
        }
        now
    }

    /// The stream from the previous point to `now`, which becomes the previous point.
    fn stream(&self, round: usize, now: &Path, format: &str) -> String {
        let changes = difference(&self.before, now);
        assert!(!changes.is_empty());
        fs::rename(now, &self.before).unwrap();
        let from = if round == 0 { String::new() } else { format!("s{}", round - 1) };
        let of = volume("", self.mib * MIB, &from, &format!("s{round}"));
        let bytes = match format {
            "native" => native(of, &changes),
            "v2" => rbd_diff(Version::V2, &of, &changes),
            _ => rbd_diff(Version::V1, &of, &changes),
        };
        file(self.machine, &format!("delta-{round}"), &bytes)
    }
}

/// Every file, directory and link of the filesystem on `disk`, with its contents.
fn tree(disk: &str, options: &str) -> String {
    run("mount", &["-o", options, disk, "/mnt/source"]);
    let tree = shell(
        "cd /mnt/source; find . -mindepth 1 -not -name lost+found -printf '%P %M %n %l ' \
         \\( -type f -printf '%s' -o -true \\) -printf '\\n' | sort
         find . -type f | sort | xargs -r -d '\\n' sha256sum",
    );
    run("umount", &["/mnt/source"]);
    tree
}

fn follows_its_source(source: &Source<'_>, format: &str, options: &str, check: fn(&str)) {
    let machine = source.machine;
    let target = machine.disk("target", source.mib);
    let onto = |stream: &str, more: &[&str]| {
        let arguments = [stream, "--target", target.path(), "--group", "g", "--json"];
        apply(machine, &[&arguments, more].concat())
    };
    let mut streams = Vec::new();
    for (round, script) in ROUNDS.iter().enumerate() {
        // A frozen xfs has a log to replay, which its checker does not do.
        let frozen = round == 2 && format == "v1";
        let now = source.change(script, frozen);
        let format = if round % 2 == 1 && format == "v1" { "v2" } else { format };
        streams.push(source.stream(round, &now, format));
        if round == 0 {
            assert_eq!(onto(&streams[0], &[]).exits(0).json()["complete"], true);
        }
        if round == 2 {
            let gap = onto(&streams[2], &[]);
            gap.exits(4).says(r#"begins at \"s1\""#).says(r#"the volume is at \"s0\""#);
            let both = [streams[2].as_str(), "--verify"];
            assert_eq!(onto(&streams[1], &both).exits(0).json()["complete"], true);
        }
        if round > 0 && round != 1 {
            let run = onto(&streams[round], &[]);
            assert!(run.exits(0).json()["complete"] == true, "{run:?}");
            check(target.path());
        }
    }
    assert_eq!(state("g")["volumes"][""]["ends_at"], "s3");
    target.sha256();
    assert_eq!(difference(&source.before, target.file()), []);
    let (from, to) = (tree(source.disk.path(), options), tree(target.path(), options));
    assert!(from.contains("e/last") && from.lines().count() > 5, "{from}");
    assert_eq!(from, to);
    let again = onto(&streams[3], &[]);
    assert_eq!(again.exits(0).json()["inputs_left_out"], 1);
    assert_eq!(again.json()["extents"], 0);
    assert_eq!(difference(&source.before, target.file()), []);
}

#[test]
fn an_ext4_that_follows_its_source_by_rbd_diffs_is_clean_and_has_the_same_files() {
    if !has_program("mkfs.ext4") {
        return;
    }
    on_a_scratch_machine(|machine| {
        let source = Source::new(machine, "mkfs.ext4 -q -F", 48);
        let check = |disk: &str| drop(run("e2fsck", &["-fn", disk]));
        follows_its_source(&source, "v1", "ro", check);
    });
}

#[test]
fn an_xfs_that_follows_its_source_by_native_streams_is_clean_and_has_the_same_files() {
    if !has_program("mkfs.xfs") {
        return;
    }
    on_a_scratch_machine(|machine| {
        let source = Source::new(machine, "mkfs.xfs -q -f", 300);
        let check = |disk: &str| drop(run("xfs_repair", &["-n", disk]));
        follows_its_source(&source, "native", "ro,norecovery", check);
    });
}
