//! Disks that fail during an apply: the volume is abandoned and reported once, the others are
//! completed, and the same command continues when the disk is repaired.

use std::fs;

use mt_tests::change_stream::{Change, native, native_of, volume};
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::shell;
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, after, apply, disk, file, holds, state};

const SIZE: u64 = 8 * MIB;

/// A disk of [`SIZE`] backed by only 3 MiB of space, in a file system at /mnt/small.
fn small_disk() -> LoopDevice {
    shell("mkdir -p /mnt/small; mount -t tmpfs -o size=3m none /mnt/small");
    let path = std::path::Path::new("/mnt/small/behind");
    fs::File::create(path).unwrap().set_len(SIZE).unwrap();
    LoopDevice::attach(&["--direct-io=on"], path)
}

/// Changes that cover the whole disk, in pieces and in order.
fn everything(random: &mut Random) -> Vec<Change> {
    (0..SIZE).step_by(256 << 10).map(|at| Change::data(at, random.bytes(256 << 10))).collect()
}

fn stream_of_two(machine: &ScratchMachine, name: &str, changes: &[Vec<Change>; 2]) -> String {
    let volumes = vec![volume("log", SIZE, "", ""), volume("db", SIZE, "", "")];
    let [log, db] = changes;
    let mixed: Vec<_> = log.iter().zip(db).flat_map(|(log, db)| [(0, log), (1, db)]).collect();
    file(machine, name, &native_of(volumes, &mixed))
}

#[test]
fn a_volume_whose_disk_fails_is_told_once_and_the_other_one_is_completed() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(31);
        let changes = [everything(&mut random), everything(&mut random)];
        let stream = stream_of_two(machine, "stream", &changes);
        let zeros = vec![0; SIZE as usize];
        let [full, blank] = changes.each_ref().map(|changes| after(&zeros, changes));
        for engine in ["uring", "blocking"] {
            let (log, db) = (small_disk(), disk(machine, "db", &zeros, "512"));
            let maps = [format!("log={}", log.path()), format!("db={}", db.path())];
            let (group, map) = (engine, "--map");
            let arguments = [
                &stream, map, &maps[0], map, &maps[1], "--group", group, "--engine", engine,
                "--json",
            ];
            let run = apply(machine, &arguments);
            let json = run.exits(1).json();
            assert_eq!(json["complete"], false);
            assert_eq!(json["failed_volumes"].as_array().unwrap().len(), 1);
            let place = format!("log on {}: writing bytes", log.path());
            assert_eq!(run.stderr.matches(&place).count(), 1, "{run:#?}");
            run.says("(sectors ").says("os error").says("\"hint\":\"the volume is left as it is");
            db.sha256();
            holds(db.file(), &blank);
            let known = &state(group)["volumes"];
            assert_eq!(known["db"]["in_between"], serde_json::Value::Null);
            let reached = known["log"]["in_between"]["position"].as_u64().unwrap();

            // It fails again as long as there is no space.
            apply(machine, &arguments).exits(1).says("log on");
            shell("mount -o remount,size=30m /mnt/small");
            let run = apply(machine, &arguments);
            let resumed = run.exits(0).json()["resumed_from"].as_u64().unwrap_or(0);
            assert!(resumed >= reached, "{resumed} {reached}");
            log.sha256();
            holds(log.file(), &full);
            drop(log);
            shell("umount /mnt/small");
            // The next disk has the same path, and is backed by a file of the same name.
            let release = ["group", "release", "--group", group, "--retention", "none", "--yes"];
            machine.mtctl(&release).exits(0);
        }
    });
}

#[test]
fn a_volume_that_failed_in_one_stream_keeps_no_other_one_from_the_next_streams() {
    on_a_scratch_machine(|machine| {
        let mut random = Random::new(33);
        let first = [everything(&mut random), everything(&mut random)];
        let second = [everything(&mut random), everything(&mut random)];
        let streams =
            [stream_of_two(machine, "first", &first), stream_of_two(machine, "second", &second)];
        let zeros = vec![0; SIZE as usize];
        let (log, db) = (small_disk(), disk(machine, "db", &zeros, "512"));
        let maps = [format!("log={}", log.path()), format!("db={}", db.path())];
        let arguments = [
            &streams[0],
            &streams[1],
            "--map",
            &maps[0],
            "--map",
            &maps[1],
            "--group",
            "g",
            "--json",
        ];
        let run = apply(machine, &arguments);
        run.exits(1);
        assert_eq!(run.stderr.matches("{\"error\":").count(), 1, "{run:#?}");
        db.sha256();
        holds(db.file(), &after(&zeros, &second[1]));
        shell("mount -o remount,size=30m /mnt/small");
        apply(machine, &arguments).exits(0);
        for (disk, changes) in [(&log, &second[0]), (&db, &second[1])] {
            disk.sha256();
            holds(disk.file(), &after(&zeros, changes));
        }
        let known = &state("g")["volumes"];
        assert_eq!(known["log"]["applied"].as_array().unwrap().len(), 2);
        drop(log);
        shell("umount /mnt/small");
    });
}

#[test]
fn the_only_disk_that_fails_ends_it_with_the_place_and_what_the_kernel_said() {
    on_a_scratch_machine(|machine| {
        let changes = everything(&mut Random::new(32));
        let stream = file(machine, "stream", &native(volume("", SIZE, "", ""), &changes));
        let target = small_disk();
        let run = apply(machine, &[&stream, "--target", target.path()]);
        run.exits(1).says("writing bytes").says("os error").does_not_say("panicked");
        drop(target);
        // An image file that cannot grow on a full file system.
        shell("rm /mnt/small/behind; truncate -s 8M /mnt/small/image");
        let run = apply(machine, &[&stream, "--target", "/mnt/small/image"]);
        run.exits(1).says("os error 28");
        shell("umount /mnt/small");
    });
}

#[test]
fn a_state_that_cannot_be_written_ends_it_before_anything_is() {
    on_a_scratch_machine(|machine| {
        let stream =
            file(machine, "stream", &native(volume("", SIZE, "", ""), &[Change::data(0, *b"x")]));
        let target = disk(machine, "disk", &vec![0; SIZE as usize], "512");
        shell("mkdir -p /mnt/small; mount -t tmpfs -o size=4k,nr_inodes=3 none /mnt/small");
        shell("mkdir /mnt/small/g");
        let arguments =
            [&stream, "--target", target.path(), "--group", "g", "--state-dir", "/mnt/small/g"];
        let run = apply(machine, &arguments);
        run.exits(1).says("/mnt/small/g/state").says("os error 28");
        target.sha256();
        holds(target.file(), &vec![0; SIZE as usize]);
        shell("mount -o remount,nr_inodes=100,size=1m /mnt/small");
        apply(machine, &arguments).exits(0);
        shell("umount /mnt/small");
    });
}
