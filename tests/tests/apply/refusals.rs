//! Targets that must be left alone, and commands that make no sense: every byte stays the same.

use std::fs;

use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, native, native_of, rbd_diff, volume};
use mt_tests::content::Content;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, run, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, apply, disk, file, holds, image, state, state_path};

fn stream_of(machine: &ScratchMachine, size: u64) -> String {
    file(machine, "stream", &native(volume("", size, "", ""), &[Change::data(1000, *b"changed")]))
}

/// Asserts that it is refused with exit code 4 for `reason`, with a hint, with and without a group,
/// and that nothing is changed.
#[track_caller]
fn is_refused(machine: &ScratchMachine, stream: &str, target: &LoopDevice, reason: &str) {
    let before = target.sha256();
    for more in [&[][..], &["--group", "refused"], &["--dry-run"], &["--accept-resize"]] {
        let run = apply(machine, &[&[stream, "--target", target.path()], more].concat());
        run.exits(4).says(reason).says("hint:");
        assert_eq!(run.stdout, "");
        assert_eq!(target.sha256(), before, "{more:?}");
    }
    assert!(fs::metadata(state_path("refused")).is_err(), "a state of what was refused");
}

#[test]
fn a_mounted_target_is_refused() {
    on_a_scratch_machine(|machine| {
        let Some(target) = Content::Ext4.on_a_disk(machine) else { return };
        shell(&format!("mkdir /mnt/used; mount -o ro {} /mnt/used", target.path()));
        is_refused(machine, &stream_of(machine, 64 * MIB), &target, "mounted at /mnt/used");
        run("umount", &["/mnt/used"]);
    });
}

#[test]
fn a_target_that_is_swapped_to_is_refused() {
    on_a_scratch_machine(|machine| {
        let Some(target) = Content::Swap.on_a_disk(machine) else { return };
        run("swapon", &[target.path()]);
        let stream = stream_of(machine, 64 * MIB);
        let run_of = |more: &[&str]| {
            apply(machine, &[&[stream.as_str(), "--target", target.path()], more].concat())
        };
        let refusals = [run_of(&[]), run_of(&["--group", "g"])];
        run("swapoff", &[target.path()]);
        for run in refusals {
            run.exits(4).says("swap").says("hint:");
        }
    });
}

#[test]
fn a_target_that_another_disk_is_made_of_is_refused() {
    on_a_scratch_machine(|machine| {
        let target = machine.disk("below", 64);
        let above = LoopDevice::attach(&[], std::path::Path::new(target.path()));
        is_refused(machine, &stream_of(machine, 64 * MIB), &target, above.path());
        // A file behind a loop device belongs to the disk.
        let file = target.file().to_str().unwrap();
        apply(machine, &[&stream_of(machine, 64 * MIB), "--target", file]).exits(4).says("loop");
    });
}

#[test]
fn a_read_only_target_is_refused() {
    on_a_scratch_machine(|machine| {
        let path = machine.file("disk");
        fs::File::create(&path).unwrap().set_len(MIB).unwrap();
        let target = LoopDevice::attach(&["--read-only"], &path);
        is_refused(machine, &stream_of(machine, MIB), &target, "read-only");
    });
}

#[test]
fn a_disk_smaller_than_its_source_is_refused_whatever_is_said() {
    on_a_scratch_machine(|machine| {
        let target = machine.disk("disk", 1);
        let stream = stream_of(machine, MIB + 512);
        is_refused(machine, &stream, &target, "the source has 1049088 bytes");
    });
}

#[test]
fn an_image_file_smaller_than_its_source_is_grown_when_that_is_accepted() {
    on_a_scratch_machine(|machine| {
        let target = image(machine, "image", MIB);
        let stream = stream_of(machine, 3 * MIB);
        let run = apply(machine, &[&stream, "--target", &target]);
        run.exits(4).says("--accept-resize grows the image file");
        holds(&target, &vec![0; MIB as usize]);
        let accepting = [&stream, "--target", &target, "--accept-resize"];
        apply(machine, &[&accepting[..], &["--dry-run"]].concat()).exits(3);
        holds(&target, &vec![0; MIB as usize]);
        apply(machine, &accepting).exits(0);
        let mut expected = vec![0; 3 * MIB as usize];
        expected[1000..1007].copy_from_slice(b"changed");
        holds(&target, &expected);
    });
}

#[test]
fn a_target_larger_than_its_source_gives_a_warning_and_keeps_the_rest() {
    on_a_scratch_machine(|machine| {
        let target = disk(machine, "disk", &vec![7; 2 * MIB as usize], "512");
        let stream = stream_of(machine, MIB);
        let run = apply(machine, &[&stream, "--target", target.path()]);
        run.exits(0).says("warning:").says("the rest of the target stays");
        target.sha256();
        assert!(fs::read(target.file()).unwrap()[1007..].iter().all(|byte| *byte == 7));
    });
}

#[test]
fn a_source_of_another_size_than_before_is_refused_unless_accepted() {
    on_a_scratch_machine(|machine| {
        let target = image(machine, "image", 4 * MIB);
        let diff = |name: &str, size, from: &str, to: &str, byte: u8| {
            let change = [Change::data(size - 1, [byte])];
            file(machine, name, &rbd_diff(Version::V1, &volume("", size, from, to), &change))
        };
        let one = diff("one", 4 * MIB, "", "s1", 1);
        let smaller = diff("smaller", 3 * MIB, "s1", "s2", 2);
        let larger = diff("larger", 5 * MIB, "s2", "s3", 3);
        let onto = |stream: &str, more: &[&str]| {
            apply(machine, &[&[stream, "--target", &target, "--group", "g"], more].concat())
        };
        onto(&one, &[]).exits(0);
        let before = fs::read(&target).unwrap();
        onto(&smaller, &[]).exits(4).says("had 4194304").says("--accept-resize");
        holds(&target, &before);
        onto(&smaller, &["--accept-resize"]).exits(0);
        assert_eq!(state("g")["volumes"][""]["source_bytes"], 3 * MIB);
        onto(&larger, &[]).exits(4);
        onto(&larger, &["--accept-resize"]).exits(0);
        let found = fs::read(&target).unwrap();
        assert_eq!(found.len() as u64, 5 * MIB);
        // The part that only the larger source has reads as zeros, whatever was there before.
        assert_eq!((found[4 * MIB as usize - 1], found[3 * MIB as usize - 1]), (0, 2));
    });
}

#[test]
fn another_disk_than_the_one_that_the_group_knows_is_refused() {
    on_a_scratch_machine(|machine| {
        let (first, second) = (image(machine, "first", MIB), image(machine, "second", MIB));
        let next = |byte: u8| {
            file(machine, "next", &native(volume("", MIB, "", ""), &[Change::data(0, [byte])]))
        };
        apply(machine, &[&next(1), "--target", &first, "--group", "g"]).exits(0);
        let run = apply(machine, &[&next(2), "--target", &second, "--group", "g"]);
        run.exits(4).says(&first).says(&second);
        holds(&second, &vec![0; MIB as usize]);
    });
}

/// A stream with the volumes db and log.
fn of_two(machine: &ScratchMachine) -> String {
    let changes = [Change::data(0, *b"db"), Change::data(0, *b"log")];
    let volumes = vec![volume("db", MIB, "", ""), volume("log", MIB, "", "")];
    file(machine, "of-two", &native_of(volumes, &[(0, &changes[0]), (1, &changes[1])]))
}

#[test]
fn volumes_without_a_target_and_targets_named_twice_are_usage_errors() {
    on_a_scratch_machine(|machine| {
        let stream = of_two(machine);
        let (one, two) = (image(machine, "one", MIB), image(machine, "two", MIB));
        let [db, log, twice, other] = [("db", &one), ("log", &two), ("log", &one), ("data", &two)]
            .map(|(source, target)| format!("{source}={target}"));
        let with = |maps: &[&str]| -> Run {
            let maps = maps.iter().flat_map(|map| ["--map", map]);
            apply(machine, &[stream.as_str()].into_iter().chain(maps).collect::<Vec<_>>())
        };
        with(&[&db]).exits(2).says("\"log\"").says("--map SOURCE=DEVICE");
        with(&[&db, &other]).exits(2).says("\"log\"");
        with(&[&db, &twice]).exits(2).says("are the same");
        with(&["db"]).exits(2);
        apply(machine, &[&stream, "--target", &one]).exits(2).says("--map SOURCE=DEVICE");
        apply(machine, &[&stream]).exits(2);
        let link = machine.file("link");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        with(&[&db, &format!("log={}", link.display())]).exits(2).says("are the same");
        for image in [&one, &two] {
            holds(image, &vec![0; MIB as usize]);
        }
        with(&[&db, &log]).exits(0);
        assert_eq!(&fs::read(&two).unwrap()[..3], b"log");
    });
}

#[test]
fn a_stream_is_not_its_own_target() {
    on_a_scratch_machine(|machine| {
        let stream = stream_of(machine, MIB);
        let before = fs::read(&stream).unwrap();
        let link = machine.file("link");
        fs::hard_link(&stream, &link).unwrap();
        for target in [stream.as_str(), link.to_str().unwrap()] {
            let run = apply(machine, &[&stream, "--target", target, "--accept-resize"]);
            run.exits(4).says("both a stream and a target");
            holds(&stream, &before);
        }
        let disk = machine.disk("disk", 1);
        let raw = [disk.path(), "--format", "raw", "--target", disk.path()];
        apply(machine, &raw).exits(4).says("both a stream and a target");
    });
}

#[test]
fn no_image_is_grown_when_another_volume_of_the_stream_is_refused() {
    on_a_scratch_machine(|machine| {
        let stream = of_two(machine);
        let small = image(machine, "small", MIB / 2);
        let path = machine.file("disk");
        fs::File::create(&path).unwrap().set_len(MIB / 2).unwrap();
        let disk = LoopDevice::attach(&[], &path);
        let maps = [format!("db={small}"), format!("log={}", disk.path())];
        let arguments = [&stream, "--map", &maps[0], "--map", &maps[1], "--accept-resize"];
        apply(machine, &arguments).exits(4).says("grow the disk, or name a larger one");
        holds(&small, &vec![0; MIB as usize / 2]);
    });
}

#[test]
fn the_same_volume_mapped_twice_is_a_usage_error() {
    on_a_scratch_machine(|machine| {
        let stream = of_two(machine);
        let [one, two, three] = ["one", "two", "three"].map(|name| image(machine, name, MIB));
        let maps = [format!("db={one}"), format!("log={two}"), format!("db={three}")];
        let run =
            apply(machine, &[&stream, "--map", &maps[0], "--map", &maps[1], "--map", &maps[2]]);
        run.exits(2).says("db");
        for image in [&one, &two, &three] {
            holds(image, &vec![0; MIB as usize]);
        }
    });
}

#[test]
fn a_map_for_a_volume_that_no_stream_has_is_told() {
    on_a_scratch_machine(|machine| {
        let stream = of_two(machine);
        let [one, two, three] = ["one", "two", "three"].map(|name| image(machine, name, MIB));
        let maps = [format!("db={one}"), format!("log={two}"), format!("lgo={three}")];
        let run =
            apply(machine, &[&stream, "--map", &maps[0], "--map", &maps[1], "--map", &maps[2]]);
        run.exits(0).says("warning: lgo on").says("no stream contained this volume");
        holds(&three, &vec![0; MIB as usize]);
    });
}

#[test]
fn streams_targets_and_groups_that_are_not_there_are_usage_errors() {
    on_a_scratch_machine(|machine| {
        let stream = stream_of(machine, MIB);
        let target = image(machine, "target", MIB);
        apply(machine, &["/no/such/stream", "--target", &target]).exits(2).says("/no/such/stream");
        apply(machine, &[&stream, "--target", "/no/such/disk"]).says("/no/such/disk");
        let bad = ["--target", &target, "--group", "../up"];
        apply(machine, &[&[stream.as_str()], &bad[..]].concat())
            .exits(2)
            .says("not a valid group name");
        apply(machine, &[&stream, "--target", &target, "--resume"]).exits(2).says("--group");
        apply(machine, &[&stream, "--target", "/dev/null"]).exits(2).says("/dev/null");
        holds(&target, &vec![0; MIB as usize]);
    });
}
