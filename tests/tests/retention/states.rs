//! The state of a group that is lost, damaged, older than its history, or of an earlier program: it
//! is told, nothing is lost by it, and a verb leads on.

use std::fs;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::program::{Run, command, finish, mtctl, run};
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::accidents::{Epochs, SIZE, all_points_hold, apply, epochs, segments};
use crate::{MIB, Part, blank, holds, image, points, retention, rollback, stream};

const COPIES: [&str; 2] = ["/mnt/retention/g/state", "/mnt/retention/g/state.copy"];

/// A group with four points, and what its target held at each.
fn group(machine: &ScratchMachine, seed: u64) -> (String, Epochs) {
    let mut random = Random::new(seed);
    let target = blank(machine, "target.img", SIZE);
    let epochs = epochs(machine, &mut random, SIZE, 4);
    apply(machine, &epochs.stream, &target).exits(0);
    (target, epochs)
}

#[test]
fn a_state_that_is_older_than_its_history_is_refused_and_made_anew() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 91);
        let last_night = COPIES.map(|path| fs::read(path).unwrap());
        rollback(machine, "e2").exits(0);
        // By it the disk is at e4.
        COPIES.iter().zip(last_night).for_each(|(path, text)| fs::write(path, text).unwrap());
        let all = segments();
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(5).says("state-older");
        machine.mtctl(&["group", "list"]).exits(5).says("newer than the state");
        machine.mtctl(&["points", "list", "--group", "g"]).exits(5);
        let digest = ["digest", "--group", "g", "--to", "e1"];
        machine.mtctl(&digest).exits(5).says("newer than the state").says("journal rebuild");
        rollback(machine, "e1").exits(5).says("newer than the state");
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(5).says("journal rebuild");
        apply(machine, &epochs.stream, &target).exits(5);
        holds(&target, &epochs.held[2]);
        assert_eq!(segments(), all, "nothing was removed");
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--dry-run"]).exits(0);
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(5);
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
        // Where the disk is was in the state alone.
        apply(machine, &epochs.stream, &target).exits(4).says("rollback");
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn last_nights_state_is_refused_however_little_was_done_since() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, held) = (blank(machine, "target.img", SIZE), vec![7; SIZE as usize]);
        let mut steps = ["", "a", "b"].windows(2).map(|names| {
            let change = Change::data(4096, &held[..4096 * names[1].len()]);
            let volumes = vec![volume("", SIZE, names[0], names[1])];
            let parts = [
                Part::Change(0, &change),
                Part::Mark(MarkKind::CrashConsistent, names[1]),
                Part::Change(0, &change),
            ];
            stream(machine, names[1], volumes, &parts)
        });
        apply(machine, &steps.next().unwrap(), &target).exits(0);
        let last_night = COPIES.map(|path| fs::read(path).unwrap());
        let before = segments();
        apply(machine, &steps.next().unwrap(), &target).exits(0);
        // That of the point alone: less there cannot be.
        assert_eq!(segments().len(), before.len() + 1);
        COPIES.iter().zip(last_night).for_each(|(path, text)| fs::write(path, text).unwrap());
        let told = "newer than the state";
        machine.mtctl(&["points", "list", "--group", "g"]).exits(5).says(told);
        rollback(machine, "a").exits(5).says(told).says("journal rebuild --group g");
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(5).says("state-older");
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        rollback(machine, "a").exits(0);
        rollback(machine, "b").exits(0);
    });
}

/// Both copies without the last so many saves that were appended to them.
fn take_back_saves(count: usize) {
    for path in COPIES {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        assert!(lines.len() > 2 * count, "{} lines", lines.len());
        fs::write(path, lines[..lines.len() - 2 * count].concat()).unwrap();
    }
}

#[test]
fn a_point_that_a_crash_left_to_the_journal_alone_is_there_and_stays() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 93);
        machine.mtctl(&["points", "create", "--group", "g", "--name", "by-hand"]).exits(0);
        take_back_saves(1);
        machine.mtctl(&["points", "list", "--group", "g"]).exits(0).says("by-hand");
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(0).does_not_say("no point");
        let digest = |to: &str| {
            machine.mtctl(&["digest", "--group", "g", "--to", to]).exits(0).stdout.clone()
        };
        assert_eq!(digest("by-hand").split(' ').next(), digest("e4").split(' ').next());
        // Neither a command that only pins nor one that is refused takes it away.
        machine.mtctl(&["points", "pin", "e1", "--group", "g"]).exits(0);
        let wrong = blank(machine, "wrong.img", SIZE);
        apply(machine, &epochs.stream, &wrong).exits(4);
        rollback(machine, "e2").exits(0);
        holds(&target, &epochs.held[2]);
        rollback(machine, "by-hand").exits(0);
        holds(&target, &epochs.held[4]);
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
    });
}

#[test]
fn points_that_the_journal_alone_says_are_given_up_do_not_come_again() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 94);
        let to = ["rollback", "--group", "g", "--to", "e2", "--without-undo", "--yes"];
        machine.mtctl(&to).exits(0);
        holds(&target, &epochs.held[2]);
        // That it is there, and before that, that it is on its way.
        take_back_saves(2);
        let names: Vec<_> = points(machine).iter().map(|point| point["name"].clone()).collect();
        assert_eq!(names, ["e1", "e2"]);
        machine.mtctl(&["digest", "--group", "g", "--to", "e4"]).exits(2);
        machine.mtctl(&["group", "list"]).exits(0).says("rolling back");
        apply(machine, &epochs.stream, &target).exits(4);
        machine.mtctl(&["recover", "--group", "g", "--yes"]).exits(0);
        holds(&target, &epochs.held[2]);
        all_points_hold(machine, &target, &epochs);
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
    });
}

#[test]
fn a_state_whose_history_is_not_there_is_told_by_whoever_looks() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 95);
        let of_g = COPIES.map(|path| fs::read(path).unwrap());
        let told = "the history that the state is of is not there";
        let is_told = |group: &str| {
            machine.mtctl(&["points", "list", "--group", group]).exits(0).says(told);
            machine.mtctl(&["group", "list"]).says("ALARM").says(told);
            machine.mtctl(&["digest", "--group", group, "--to", "e1"]).exits(5);
            machine.mtctl(&["journal", "check", "--group", group]).exits(5);
        };
        machine.mtctl(&["points", "list", "--group", "g"]).exits(0).does_not_say(told);
        // Another group's.
        let other = blank(machine, "other.img", SIZE);
        let to_other = ["apply", &epochs.stream, "--group", "h", "--target", &other];
        machine.mtctl(&to_other).exits(0);
        let of_h = COPIES.map(|path| path.replace("/g/", "/h/"));
        of_h.iter().zip(&of_g).for_each(|(path, text)| fs::write(path, text).unwrap());
        is_told("h");
        // One of before a commit.
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        COPIES.iter().zip(&of_g).for_each(|(path, text)| fs::write(path, text).unwrap());
        is_told("g");
        rollback(machine, "e1").exits(5);
        holds(&target, &epochs.held[4]);
    });
}

#[test]
fn nothing_to_do_is_not_said_by_a_state_that_was_put_back() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let size = 16 * MIB;
        let target = blank(machine, "target.img", size);
        // At none of the places by which the content of a target is known again.
        let changes = [[1; 4096], [2; 4096]].map(|bytes| Change::data(1403 * 4096, bytes));
        let names = ["", "a", "b"];
        let streams = [0, 1].map(|at| {
            let volumes = vec![volume("", size, names[at], names[at + 1])];
            let mark = Part::Mark(MarkKind::CrashConsistent, names[at + 1]);
            let parts = [Part::Change(0, &changes[at]), mark];
            stream(machine, names[at + 1], volumes, &parts)
        });
        streams.iter().for_each(|stream| _ = apply(machine, stream, &target).exits(0));
        rollback(machine, "a").exits(0);
        let before = COPIES.map(|path| fs::read(path).unwrap());
        rollback(machine, "a").exits(0).says("nothing to do");
        COPIES.iter().zip(&before).for_each(|(path, text)| fs::write(path, text).unwrap());
        // What somebody else wrote is as good as what a run did that the state does not know of.
        let mut held = fs::read(&target).unwrap();
        held[1403 * 4096 + 7] ^= 1;
        fs::write(&target, &held).unwrap();
        rollback(machine, "a").exits(0).does_not_say("nothing to do");
        held[1403 * 4096 + 7] ^= 1;
        holds(&target, &held);
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
            ("it is not there", &|path| fs::remove_file(path).unwrap()),
            ("it is older", &|path| fs::write(path, &long_ago).unwrap()),
            ("it is a link that leads nowhere", &|path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/nowhere/at/all", path).unwrap();
            }),
            ("it is larger than any state", &|path| {
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
        // The second time the other copy was kept before.
        for (path, kept) in COPIES.into_iter().zip(["before-rebuild", "before-rebuild-2"]) {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            machine.mtctl(&["points", "list", "--group", "g"]).exits(0).says(path);
            let refused = rollback(machine, "e2");
            refused.exits(1).says(&format!("group g, {path}: ")).says("move away the directory");
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
            // It can write no file, and is killed where it tries.
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
        // And the other way round: the older one that is there does not count.
        let words = ["rollback", "--group", "g", "--to", "e3", "--yes", "--state-dir", &elsewhere];
        machine.mtctl(&words).exits(0);
        holds(&target, &epochs.held[3]);
        all_points_hold(machine, &target, &epochs);
    });
}

/// Where histories of earlier versions are unpacked: their targets are known by that path.
const OLD: &str = "/mnt/old";

/// A history of an earlier version, with three whole images applied to a target of 256 KiB.
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

/// Made by the version before, with three whole images applied to a target of 256 KiB.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/journal/version-1.tar.gz");

#[test]
fn a_history_of_version_1_goes_on_and_each_of_its_points_is_what_it_was() {
    on_a_scratch_machine(|machine| {
        let old = Old::unpack(machine, VERSION_1);
        let (target, held) = (old.target(), fs::read(old.target()).unwrap());
        let (on, digests) = (|words: &[&str]| old.run(words), || old.digests());
        let before = digests();
        on(&["journal", "check"]).exits(0);
        // It says too little to be made anew, and says so.
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
        // By now there is enough: what only old segments say has lost its name.
        on(&["journal", "rebuild", "--yes"]).exits(0);
        assert_eq!(digests(), before);
        on(&["rollback", "--to", "start", "--yes"]).exits(0);
        on(&["journal", "check"]).exits(0);
    });
}

/// Made by the version before this one, which wrote the whole state for each save: the same, and
/// point 2 is pinned.
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
