//! A state that was restored from a copy of any earlier time: it is refused, or the journal's later
//! records count, and no point is lost or reads differently.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{Format, MarkKind, StreamHeader, VolumeIndex};
use blockio::units::ByteOffset;
use mt_tests::change_stream::{Change, volume};
use mt_tests::program::{command, mtctl};
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::accidents::{SIZE, all_points_hold, apply, segments};
use crate::states::{COPIES, group};
use crate::{MIB, Part, blank, holds, image, points, retention, rollback, stream};

#[test]
fn a_state_that_is_older_than_its_history_is_refused_and_made_anew() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (target, epochs) = group(machine, 91);
        let last_night = COPIES.map(|path| fs::read(path).unwrap());
        rollback(machine, "e2").exits(0);
        // According to it, the disk is at e4.
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
        // Only the state contained the place of the disk.
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
        // Only the segment of the point: the least there can be.
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

/// Removes the last `count` saves that were appended to both copies.
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
        // Neither a command that only pins nor a refused command removes it.
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
        // The save of its arrival, and the one before that, of its departure.
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
        let told = "the history that the state describes is missing";
        let is_told = |group: &str| {
            machine.mtctl(&["points", "list", "--group", group]).exits(0).says(told);
            machine.mtctl(&["group", "list"]).says("ALARM").says(told);
            machine.mtctl(&["digest", "--group", group, "--to", "e1"]).exits(5);
            machine.mtctl(&["journal", "check", "--group", group]).exits(5);
        };
        machine.mtctl(&["points", "list", "--group", "g"]).exits(0).does_not_say(told);
        // The state of another group.
        let other = blank(machine, "other.img", SIZE);
        let to_other = ["apply", &epochs.stream, "--group", "h", "--target", &other];
        machine.mtctl(&to_other).exits(0);
        let of_h = COPIES.map(|path| path.replace("/g/", "/h/"));
        of_h.iter().zip(&of_g).for_each(|(path, text)| fs::write(path, text).unwrap());
        is_told("h");
        // A state from before a commit.
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        COPIES.iter().zip(&of_g).for_each(|(path, text)| fs::write(path, text).unwrap());
        is_told("g");
        rollback(machine, "e1").exits(5);
        holds(&target, &epochs.held[4]);
    });
}

/// The bytes of a stream of two volumes with one change each, and the offset of the second change.
fn of_two_volumes() -> (Vec<u8>, usize) {
    let volumes = ["a", "b"].map(|name| volume(name, SIZE, "", "")).to_vec();
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    // One batch for each change.
    let options = EncoderOptions { batch_bytes: 4096, ..EncoderOptions::default() };
    let mut encoder = Encoder::new(&mut bytes, &header, options).unwrap();
    encoder.data(VolumeIndex(0), ByteOffset::new(0), &[1; 4096]).unwrap();
    encoder.data(VolumeIndex(1), ByteOffset::new(8192), &[2; 4096]).unwrap();
    encoder.finish(true).unwrap();
    let begin = bytes.windows(4096).position(|window| window == [2; 4096]).unwrap();
    (bytes, begin)
}

#[test]
fn a_volume_that_begins_after_a_state_that_was_put_back_is_gone_back_with() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let targets = ["a", "b"].map(|name| image(machine, name, &vec![7; SIZE as usize]));
        let (bytes, second) = of_two_volumes();
        let maps = ["a", "b"].map(|name| format!("{name}={}", targets[usize::from(name == "b")]));
        let words =
            ["apply", "-", "--group", "g", "--map", &maps[0], "--map", &maps[1]].map(str::to_owned);
        let mut apply = command(mtctl(), &words);
        let mut child = apply.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&bytes[..second]).unwrap();
        // The first volume is saved before there is an image of it.
        while !fs::read_to_string(COPIES[1]).unwrap_or_default().contains("capacity_bytes") {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        let earlier = COPIES.map(|path| fs::read(path).unwrap());
        // Everything except its end, so that no point is made.
        pipe.write_all(&bytes[second..second + 4096]).unwrap();
        while fs::read(&targets[1]).unwrap()[8192] != 2 {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The preview shows data that was not saved.
        let preview = ["rollback", "--group", "g", "--to", "start", "--dry-run", "--json"];
        let preview = machine.mtctl(&preview).exits(3).json();
        let bytes = preview["volumes"].as_array().unwrap().iter().map(|one| &one["bytes"]);
        assert_eq!(bytes.collect::<Vec<_>>(), [4096, 4096]);
        COPIES.iter().zip(earlier).for_each(|(path, text)| fs::write(path, text).unwrap());
        rollback(machine, "start").exits(0);
        targets.iter().for_each(|target| holds(target, &vec![7; SIZE as usize]));
        machine.mtctl(&["journal", "check", "--group", "g"]).exits(0);
    });
}

#[test]
fn a_history_that_began_after_a_state_that_was_put_back_is_refused() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let (_, epochs) = group(machine, 98);
        let target = blank(machine, "other.img", SIZE);
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0);
        let committed = COPIES.map(|path| fs::read(path).unwrap());
        machine.mtctl(&["group", "release", "--group", "g", "--yes"]).exits(0);
        apply(machine, &epochs.stream, &target).exits(0);
        let all = segments();
        COPIES.iter().zip(committed).for_each(|(path, text)| fs::write(path, text).unwrap());
        for words in [
            &["points", "list"][..],
            &["group", "show"],
            &["recover"],
            &["rollback", "--to", "e1", "--yes"],
            &["digest", "--to", "e1"],
            &["commit", "--yes"],
        ] {
            machine.mtctl(&[words, &["--group", "g"]].concat()).exits(5).says("journal rebuild");
        }
        assert_eq!(segments(), all, "nothing was removed");
        machine.mtctl(&["journal", "rebuild", "--group", "g", "--yes"]).exits(0);
        all_points_hold(machine, &target, &epochs);
    });
}

#[test]
fn nothing_to_do_is_not_said_by_a_state_that_was_put_back() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 128);
        let size = 16 * MIB;
        let target = blank(machine, "target.img", size);
        // At none of the places by which the contents of a target are recognised.
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
        // A write by somebody else is equivalent to one by a run that the state does not know
        // about.
        let mut held = fs::read(&target).unwrap();
        held[1403 * 4096 + 7] ^= 1;
        fs::write(&target, &held).unwrap();
        rollback(machine, "a").exits(0).does_not_say("nothing to do");
        held[1403 * 4096 + 7] ^= 1;
        holds(&target, &held);
    });
}
