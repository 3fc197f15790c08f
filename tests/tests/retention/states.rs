//! The state of a group that is lost, damaged, or written by an earlier version: it is reported,
//! nothing is lost because of it, and there is a verb that repairs it.

use std::fs;

use mt_tests::program::{Run, command, finish, mtctl, run};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::accidents::{Epochs, SIZE, all_points_hold, apply, epochs, segments};
use crate::{blank, holds, image, points, retention, rollback};

pub(crate) const COPIES: [&str; 2] = ["/mnt/retention/g/state", "/mnt/retention/g/state.copy"];

/// A group with four points, and the contents of its target at each.
pub(crate) fn group(machine: &ScratchMachine, seed: u64) -> (String, Epochs) {
    let mut random = Random::new(seed);
    let target = blank(machine, "target.img", SIZE);
    let epochs = epochs(machine, &mut random, SIZE, 4);
    apply(machine, &epochs.stream, &target).exits(0);
    (target, epochs)
}

#[test]
fn what_is_no_segment_is_passed_over_and_nobody_waits_for_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 99);
        run("mkfifo", &["/mnt/retention/g/segment-0000000000000099"]);
        fs::create_dir("/mnt/retention/g/segment-0000000000000098").unwrap();
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
        all_points_hold(machine, &target, &epochs);
        let needed = segments().remove(0);
        fs::rename(&needed, "/mnt/retention/needed").unwrap();
        run("mkfifo", &[&needed]);
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(5).says("segment-missing");
        rollback(machine, "start").exits(5);
        fs::remove_file(&needed).unwrap();
        fs::rename("/mnt/retention/needed", &needed).unwrap();
        fs::rename("/mnt/retention/g/lock", "/mnt/retention/lock").unwrap();
        run("mkfifo", &["/mnt/retention/g/lock"]);
        rollback(machine, "e1").exits(1).says("move away what is in its place");
        fs::remove_file("/mnt/retention/g/lock").unwrap();
        rollback(machine, "e1").exits(0);
    });
}

#[test]
fn a_state_that_was_made_anew_knows_what_the_disks_hold_or_says_that_it_does_not() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 96);
        let unknown = "what the disks held is unknown";
        let rebuild = || {
            COPIES.iter().for_each(|path| fs::remove_file(path).unwrap());
            let run = machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]);
            run.exits(0);
            run
        };
        rebuild().does_not_say(unknown);
        fs::write(&target, Random::new(97).bytes(SIZE as usize)).unwrap();
        rollback(machine, "e2").exits(4).says("does not hold what the group left there");
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(4);
        machine.mtctl(&["recover", "--group", "g", "--yes"]).exits(4).says("does not hold");
        let create = ["points", "create", "--group", "g", "--name", "wrong"];
        machine.mtctl(&create).exits(4).says("--accept-target");
        machine.mtctl(&["digest", "--group", "g", "--to", "e2"]).exits(0).says("another disk");
        fs::write(&target, &epochs.held[4]).unwrap();
        rollback(machine, "e2").exits(0);
        // Data was overwritten since the newest point.
        rebuild().says(unknown);
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn a_state_that_is_lost_takes_no_history_with_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 92);
        let all = segments();
        COPIES.iter().for_each(|path| fs::remove_file(path).unwrap());
        for verb in ["points list", "rollback --to start --yes", "group show"] {
            let mut words: Vec<_> = verb.split(' ').collect();
            words.extend(["--group", "g"]);
            machine.mtctl(&words).exits(5).says("journal rebuild");
        }
        apply(machine, &epochs.stream, &target).exits(5);
        machine.mtctl(&["group", "list"]).says("g");
        assert_eq!(segments(), all, "nothing was removed");
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn one_copy_of_the_state_is_enough_and_the_other_is_told() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 93);
        let long_ago = fs::read(COPIES[0]).unwrap();
        rollback(machine, "e1").exits(0);
        rollback(machine, "e4").exits(0);
        type Spoil<'a> = &'a dyn Fn(&str);
        let spoilt: [(&str, Spoil<'_>); 6] = [
            ("checksum", &|path| fs::write(path, "half a st").unwrap()),
            ("is missing", &|path| fs::remove_file(path).unwrap()),
            ("it is older", &|path| fs::write(path, &long_ago).unwrap()),
            ("it is a dangling link", &|path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/nowhere/at/all", path).unwrap();
            }),
            ("it is too large for a state", &|path| {
                fs::File::create(path).unwrap().set_len(40 << 30).unwrap();
            }),
            ("it is no file", &|path| {
                fs::remove_file(path).unwrap();
                run("mkfifo", &[path]);
            }),
        ];
        for path in COPIES {
            for (why, spoil) in spoilt {
                spoil(path);
                let told = format!("{path}: ");
                let check = machine.mtctl(&["journal", "check", "--group", "g"]);
                check.exits(5).says("state-copy-wrong").says("every point can still be reached");
                for words in ["points list --group g", "digest --group g --to e2", "group list"] {
                    let words: Vec<_> = words.split(' ').collect();
                    machine.mtctl(&words).exits(0).says(&told).says(why);
                }
                rollback(machine, "e2").exits(0).says(&told).says("the next change writes both");
                machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
                holds(&target, &epochs.held[2]);
            }
        }
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn a_directory_in_the_place_of_a_copy_is_named_and_a_rebuild_moves_it_away() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 95);
        // The second time, the other copy had already been kept.
        for (path, kept) in COPIES.into_iter().zip(["before-rebuild", "before-rebuild-2"]) {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            machine.mtctl(&["points", "list", "--group", "g"]).exits(0).says(path);
            let refused = rollback(machine, "e2");
            refused
                .exits(1)
                .says(&format!("group g, {path}: "))
                .says("move away what is in its place");
            holds(&target, &epochs.held[4]);
            machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
            assert!(fs::metadata(format!("{path}.{kept}")).unwrap().is_dir());
            machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
        }
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn rebuilds_that_come_to_nothing_keep_what_was_there_once() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 96);
        let before = fs::read(COPIES[0]).unwrap();
        let words = ["journal", "rebuild", "--group", "g", "--yes"];
        let directory = "/mnt/retention/g";
        for _ in 0..3 {
            // It cannot write a file, and is killed when it tries.
            let program = mtctl().to_str().unwrap();
            let words = [&["--fsize=0", program][..], &words].concat();
            assert_ne!(finish(&mut command("prlimit", &words)).code, Some(0));
        }
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = |name: &String| name.contains("before-rebuild");
        let mut kept: Vec<_> = names.map(|name| name.into_string().unwrap()).filter(kept).collect();
        kept.sort();
        assert_eq!(kept, ["state.before-rebuild", "state.copy.before-rebuild"]);
        machine.mtctl(&words).exits(0);
        assert_eq!(fs::read(format!("{directory}/state.before-rebuild")).unwrap(), before);
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn a_directory_for_the_state_that_was_given_once_and_forgotten_loses_nothing() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let mut random = Random::new(94);
        let target = blank(machine, "target.img", SIZE);
        let epochs = epochs(machine, &mut random, SIZE, 4);
        let elsewhere = machine.file("elsewhere").to_str().unwrap().to_owned();
        let words = ["apply", &epochs.stream, "--target", &target, "--group", "g"];
        machine.mtctl(&[&words[..], &["--state-dir", &elsewhere]].concat()).exits(0);
        apply(machine, &epochs.stream, &target).exits(0);
        assert_eq!(points(machine).len(), 4);
        rollback(machine, "e1").exits(0);
        holds(&target, &epochs.held[1]);
        // And the other way round: the older state at the usual place does not count.
        let words = ["rollback", "--group", "g", "--to", "e3", "--yes", "--state-dir", &elsewhere];
        machine.mtctl(&words).exits(0);
        holds(&target, &epochs.held[3]);
        all_points_hold(machine, &target, &epochs);
    });
}

/// Where histories of earlier versions are unpacked: their targets are known by that path.
const OLD: &str = "/mnt/old";

/// A history made by an earlier version, with three whole images applied to a target of 256 KiB.
struct Old<'a>(&'a ScratchMachine);

impl<'a> Old<'a> {
    fn unpack(machine: &'a ScratchMachine, archive: &str) -> Self {
        fs::create_dir_all(OLD).unwrap();
        run("tar", &["-xzf", archive, "-C", OLD]);
        Self(machine)
    }

    fn target(&self) -> String {
        format!("{OLD}/target.img")
    }

    fn run(&self, words: &[&str]) -> Run {
        let history = format!("{OLD}/retention");
        let place = ["--group", "g", "--retention", &history, "--retention-unmounted"];
        self.0.mtctl(&[words, &place].concat())
    }

    fn state(&self) -> String {
        fs::read_to_string(format!("{OLD}/retention/g/state")).unwrap()
    }

    fn digests(&self) -> [String; 4] {
        ["start", "1", "2", "3"].map(|point| {
            let run = self.run(&["digest", "--to", point, "--volume", ""]);
            run.exits(0).stdout.split(' ').next().unwrap().to_owned()
        })
    }
}

/// Made by version 1, with three whole images applied to a target of 256 KiB.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/journal/version-1.tar.gz");

#[test]
fn a_history_of_version_1_goes_on_and_each_of_its_points_is_what_it_was() {
    on_a_scratch_machine(|machine| {
        let old = Old::unpack(machine, VERSION_1);
        let (target, held) = (old.target(), fs::read(old.target()).unwrap());
        let (on, digests) = (|words: &[&str]| old.run(words), || old.digests());
        let before = digests();
        on(&["journal", "check"]).exits(0);
        // It contains too little to be rebuilt, and that is reported.
        on(&["journal", "rebuild", "--dry-run"]).exits(5).says("earlier version");
        on(&["rollback", "--to", "1", "--yes"]).exits(0);
        assert_eq!(digests(), before);
        let state = old.state();
        assert!(state.starts_with("{\"version\":3,"), "{state}");
        on(&["rollback", "--to", "3", "--yes"]).exits(0);
        holds(&target, &held);
        let image = image(machine, "image.raw", &vec![7; held.len()]);
        on(&["apply", &image, "--format", "raw", "--target", &target]).exits(0);
        assert_eq!(digests(), before);
        on(&["journal", "check"]).exits(0);
        // By now there is enough; points that only old segments contain have lost their names.
        on(&["journal", "rebuild", "--yes"]).exits(0);
        assert_eq!(digests(), before);
        on(&["rollback", "--to", "start", "--yes"]).exits(0);
        on(&["journal", "check"]).exits(0);
    });
}

/// Made by version 2, which wrote the whole state at each save: the same, with point 2 pinned.
const VERSION_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/journal/version-2.tar.gz");

#[test]
fn a_history_whose_state_was_always_written_whole_goes_on_and_is_appended_to() {
    on_a_scratch_machine(|machine| {
        let old = Old::unpack(machine, VERSION_2);
        let (target, held) = (old.target(), fs::read(old.target()).unwrap());
        let (on, digests) = (|words: &[&str]| old.run(words), || old.digests());
        let state = || old.state();
        assert!(state().starts_with("{\"version\":2,"));
        let before = digests();
        on(&["journal", "check"]).exits(0);
        let image = image(machine, "image.raw", &vec![7; held.len()]);
        on(&["apply", &image, "--format", "raw", "--target", &target]).exits(0);
        assert!(state().starts_with("{\"version\":3,"));
        assert!(state().lines().count() > 2, "nothing was appended: {}", state());
        assert_eq!(digests(), before);
        on(&["points", "list"]).exits(0).says("pinned");
        on(&["rollback", "--to", "3", "--yes"]).exits(0);
        holds(&target, &held);
        on(&["journal", "check"]).exits(0);
        for copy in ["state", "state.copy"] {
            fs::remove_file(format!("{OLD}/retention/g/{copy}")).unwrap();
        }
        on(&["journal", "rebuild", "--yes"]).exits(0);
        assert_eq!(digests(), before);
        on(&["rollback", "--to", "start", "--yes"]).exits(0);
        assert!(fs::read(&target).unwrap().iter().all(|byte| *byte == 0));
    });
}
