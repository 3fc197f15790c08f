//! The stream verbs and `apply` as an operator uses them: on a terminal, through pipes, on files
//! that are something else; and the samples of our own format, which no change may make unreadable.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use blockio::extent::Extent;
use blockio::stream::native::{Encoder, EncoderOptions, MAGIC};
use blockio::stream::rbd_diff::{self, Version};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::pty::openpty;

/// 2026-01-02T03:04:05Z.
const TIME: Timestamp = Timestamp(1_767_323_045_000_000_000);

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data")
}

fn mtctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn volume(name: &str, size: u64, from: Option<&str>) -> VolumeHeader {
    let name_of = |text: &str| Name::new(text.as_bytes());
    VolumeHeader {
        name: name_of(name),
        size: Some(ByteCount::new(size)),
        from: from.and_then(name_of),
        to: name_of("monday"),
    }
}

fn mark(kind: MarkKind, name: Option<&str>) -> Mark {
    let name = name.and_then(|name| Name::new(name.as_bytes()));
    Mark { time: TIME, kind, name, group: Name::new(b"web") }
}

/// Two volumes, every kind of extent, two marks.
fn two_volumes() -> Vec<u8> {
    let volumes = vec![volume("db", 1 << 30, Some("friday")), volume("log", 8 << 20, None)];
    let identity = Some(*b"mtctl-sample-0-1");
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity, volumes };
    let options = EncoderOptions { created: Some(TIME), ..EncoderOptions::default() };
    let mut stream = Vec::new();
    let mut encoder = Encoder::new(&mut stream, &header, options).unwrap();
    let (database, log) = (VolumeIndex(0), VolumeIndex(1));
    let extent = |start: u64, length: u64| {
        Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
    };
    encoder.data(database, ByteOffset::new(4096), &[0x5a; 512]).unwrap();
    encoder.zero(database, extent(1 << 20, 64 << 10)).unwrap();
    encoder.mark(&mark(MarkKind::CrashConsistent, None)).unwrap();
    encoder.data(log, ByteOffset::new(0), b"begin").unwrap();
    encoder.discard(log, extent(4 << 20, 4 << 20)).unwrap();
    encoder.mark(&mark(MarkKind::ApplicationConsistent, Some("nightly"))).unwrap();
    encoder.finish(true).unwrap();
    stream
}

/// The same with one byte of payload changed, that of "begin".
fn damaged() -> Vec<u8> {
    let mut stream = two_volumes();
    let place = stream.windows(5).position(|window| window == b"begin").unwrap();
    stream[place] = b'B';
    stream
}

/// A stream that was written once is read for ever: these bytes do not change with the encoder.
#[test]
fn the_encoder_writes_version_1_as_it_always_did() {
    for (name, stream) in [("two-volumes.mts", two_volumes()), ("damaged.mts", damaged())] {
        let path = data().join("native").join(name);
        if std::env::var_os("MTCTL_UPDATE").is_some() {
            fs::write(&path, &stream).unwrap();
        }
        let differs = fs::read(&path).unwrap() != stream;
        assert!(!differs, "{} is not what the encoder writes", path.display());
    }
}

#[test]
fn an_rbd_diff_comes_back_as_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let original = data().join("rbd/odd.o2-o3.rbddiff");
    let (native, back) = (path("native.mts"), path("back.rbd"));
    let convert = |input: &str, to: &str, output: &str| {
        let arguments = ["stream", "convert", input, "--to", to, "--output", output];
        let output = mtctl(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    };
    convert(original.to_str().unwrap(), "native", &native);
    convert(&native, "rbd-diff-v1", &back);
    assert_eq!(fs::read(back).unwrap(), fs::read(original).unwrap());
}

#[test]
fn a_converted_stream_says_whether_it_is_in_the_order_of_the_writes() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let diff = data().join("rbd/odd.o2-o3.rbddiff").to_str().unwrap().to_owned();
    let [ours, kept, lost, again] = ["ours.mts", "kept.mts", "lost.mts", "again.mts"].map(place);
    fs::write(&ours, two_volumes()).unwrap();
    for (from, to) in [(&ours, &kept), (&diff, &lost), (&lost, &again)] {
        let arguments = ["stream", "convert", from, "--to", "native", "--output", to];
        let output = mtctl(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let found = [&ours, &kept, &diff, &lost, &again].map(|path| {
        let output = mtctl(&["stream", "inspect", path, "--json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["streams"][0]["in_write_order"].as_bool().unwrap()
    });
    assert_eq!(found, [true, true, false, false, false]);
    let output = mtctl(&["stream", "inspect", &again]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("not in the order of the source's writes"), "{told}");
}

#[test]
fn what_was_there_stays_when_the_input_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.mts");
    fs::write(&output, "from before").unwrap();
    let input = data().join("native/damaged.mts");
    let mut command = mtctl(&["stream", "convert", "--to", "native", "--output"]);
    let ran = command.arg(&output).arg("--force").arg(&output).arg(input).output().unwrap();
    assert_eq!(ran.status.code(), Some(5), "{}", said(&ran));
    assert_eq!(fs::read_to_string(&output).unwrap(), "from before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn convert_replaces_no_file_but_the_one_that_force_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [input, image, link, other] = ["in.mts", "disk.img", "link", "other"].map(path);
    fs::write(&input, two_volumes()).unwrap();
    fs::write(&image, "somebody's disk").unwrap();
    fs::write(&other, "").unwrap();
    std::os::unix::fs::symlink(&input, &link).unwrap();
    let convert = |output: &str, force: &[&str]| {
        let arguments = ["stream", "convert", &input, "--to", "native", "--output", output];
        let ran = mtctl(&[&arguments[..], force].concat()).output().unwrap();
        (ran.status.code(), said(&ran))
    };
    for (output, force, code, told) in [
        (&image, &[][..], 4, "is not empty"),
        (&image, &["--force", &other], 2, "--force names another file"),
        (&input, &[], 4, "it is also read"),
        (&input, &["--force", &input], 4, "it is also read"),
        (&link, &["--force", &link], 4, "it is also read"),
    ] {
        let (found, said) = convert(output, force);
        assert_eq!(found, Some(code), "{output} {force:?}: {said}");
        assert!(said.contains(told) && said.contains("hint: "), "{output} {force:?}: {said}");
    }
    assert_eq!(fs::read_to_string(&image).unwrap(), "somebody's disk");
    assert_eq!(fs::read(&input).unwrap(), two_volumes());
    // A program that works on the file goes on with what has no name any more.
    let held = File::open(&image).unwrap();
    let held = Flock::lock(held, FlockArg::LockExclusive).unwrap();
    let (code, said) = convert(&image, &["--force", &image]);
    assert!(code == Some(4) && said.contains("locked"), "{said}");
    drop(held);
    for output in [&image, &other] {
        let (code, said) = convert(output, &["--force", output]);
        assert_eq!(code, Some(0), "{said}");
        assert!(fs::read(output).unwrap().starts_with(&MAGIC), "{output}");
    }
    // Wherever a group lies: nothing is put beside its state, and its state is not replaced.
    fs::create_dir(path("web")).unwrap();
    let [state, beside] = ["web/state", "web/new"].map(path);
    fs::write(&state, "a state").unwrap();
    fs::write(path("web/lock"), "").unwrap();
    for (output, force) in [(&state, &["--force", &state][..]), (&beside, &[])] {
        let (code, said) = convert(output, force);
        assert!(code == Some(4) && said.contains("is the directory of a group"), "{said}");
    }
    assert_eq!(fs::read_to_string(&state).unwrap(), "a state");
    assert!(!Path::new(&beside).exists());
}

/// As QEMU locks an image that it only reads.
#[test]
fn convert_does_not_replace_an_image_that_somebody_reads_under_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [input, image] = ["in.mts", "disk.img"].map(path);
    fs::write(&input, two_volumes()).unwrap();
    fs::write(&image, vec![7; 4096]).unwrap();
    let convert = ["stream", "convert", &input, "--to", "native", "--output", &image];
    let convert = [&convert[..], &["--force", &image]].concat();
    let held = File::open(&image).unwrap();
    let byte = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 100,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&held, FcntlArg::F_OFD_SETLK(&byte)).unwrap();
    let ran = mtctl(&convert).output().unwrap();
    assert_eq!(ran.status.code(), Some(4), "{}", said(&ran));
    assert!(said(&ran).contains("locked by another program"), "{}", said(&ran));
    assert_eq!(fs::read(&image).unwrap(), vec![7; 4096]);
    drop(held);
    let ran = mtctl(&convert).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
}

#[test]
fn a_record_replaces_no_file_but_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [record, image] = ["host.json", "disk.img"].map(path);
    fs::write(&image, "somebody's disk").unwrap();
    let record_into = |file: &str| mtctl(&["disks", "--record", file]).output().unwrap();
    // The second time there is a record to be replaced.
    for _ in 0..2 {
        let ran = record_into(&record);
        assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    }
    for (file, code) in [(&*image, 4), ("/dev/null", 2), ("/no/such/directory/file", 2)] {
        let ran = record_into(file);
        assert_eq!(ran.status.code(), Some(code), "{file}: {}", said(&ran));
    }
    assert_eq!(fs::read_to_string(&image).unwrap(), "somebody's disk");
}

#[test]
fn a_standard_output_that_is_closed_or_full_has_no_stream() {
    let sample = data().join("native/two-volumes.mts").display().to_string();
    let program = env!("CARGO_BIN_EXE_mtctl");
    let convert = format!("{program} stream convert {sample} --to native --output -");
    for (typed, code, told) in [
        (format!("{convert} >&-"), 2, "standard output is closed"),
        (format!("{convert} > /dev/full"), 1, "writing to standard output: No space left"),
        (format!("{convert} > /dev/null"), 0, "wrote 517 B"),
        (format!("{program} --help > /dev/full"), 1, "writing to standard output: No space left"),
        (format!("{program} disks > /dev/full"), 1, "writing to standard output: No space left"),
    ] {
        let ran = Command::new("sh").args(["-c", &typed]).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{typed}: {}", said(&ran));
        assert!(said(&ran).contains(told), "{typed}: {}", said(&ran));
    }
}

#[test]
fn a_size_has_a_unit_and_is_not_another_than_the_input_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [image, target, out, native] = ["image", "target", "out", "native.mts"].map(path);
    for file in [&image, &target] {
        File::create(file).unwrap().set_len(1 << 20).unwrap();
    }
    let diff = data().join("rbd/odd.o2-o3.rbddiff").display().to_string();
    fs::write(&native, two_volumes()).unwrap();
    let inspect = ["stream", "inspect", &image, "--format", "raw", "--size"];
    let apply = ["apply", &image, "--format", "raw", "--target", &target, "--size"];
    let convert = ["stream", "convert", &diff, "--to", "native", "-o", &out, "--size"];
    for (typed, size, code, told) in [
        (&inspect[..], "1M", 0, ""),
        (&inspect, "2MiB", 2, "has 1048576 bytes"),
        (&inspect, "1MB", 2, "not a unit"),
        (&apply, "1024k", 0, ""),
        (&apply, "1G", 2, "has 1048576 bytes"),
        (&["apply", &native, "--target", &target, "--size"], "1G", 2, "omit the option"),
        (&convert, "1G", 2, "the input says that its disk has 104858149 bytes"),
        (&convert, "104858149", 0, ""),
    ] {
        let ran = mtctl(&[typed, &[size]].concat()).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{typed:?} {size}: {}", said(&ran));
        assert!(said(&ran).contains(told), "{typed:?} {size}: {}", said(&ran));
    }
}

#[test]
fn a_path_that_only_root_may_open_is_told_to_be_opened_by_root() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [image, stream, closed, program] = ["image", "stream", "closed", "mtctl"].map(path);
    let mode = |path: &str, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    // Where it was built may be nobody else's to read.
    fs::copy(env!("CARGO_BIN_EXE_mtctl"), &program).unwrap();
    mode(&folder.path().display().to_string(), 0o755);
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    fs::write(&stream, two_volumes()).unwrap();
    fs::create_dir(&closed).unwrap();
    [&image, &stream, &closed].iter().for_each(|path| mode(path, 0o600));
    let place = format!("{closed}/g");
    for typed in [
        &["digest", &image][..],
        &["stream", "inspect", &stream],
        &["stream", "convert", &stream, "--to", "native", "--output", "/proc/out.mts"],
        &["apply", &stream, "--group", "g", "--state-dir", &place, "--target", &image],
        &["points", "list", "--group", "g", "--retention", "none", "--state-dir", &place],
        &["journal", "check", "--group", "g", "--retention", "none", "--state-dir", &place],
    ] {
        let mut command = Command::new(&program);
        let ran = command.args(typed).uid(65534).gid(65534).stdin(Stdio::null()).output().unwrap();
        assert_eq!(ran.status.code(), Some(1), "{typed:?}: {}", said(&ran));
        assert!(said(&ran).contains("ermission denied"), "{typed:?}: {}", said(&ran));
        assert!(said(&ran).contains("hint: run it as root: sudo mtctl"), "{}", said(&ran));
    }
}

#[test]
fn a_terminal_is_no_stream_and_takes_none() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target.img");
    File::create(&target).unwrap().set_len(1 << 20).unwrap();
    let target = target.display().to_string();
    let sample = data().join("rbd/odd.o2-o3.rbddiff").display().to_string();
    let convert = ["stream", "convert", &sample, "--to", "native", "--output", "-"];
    for arguments in
        [&["apply", "-", "--target", &target][..], &["stream", "inspect", "-"], &convert]
    {
        // Waiting for somebody to type a stream would be for ever.
        let terminal = openpty(None, None).unwrap();
        let mut command = mtctl(arguments);
        command.stdin(terminal.slave.try_clone().unwrap()).stdout(terminal.slave);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("is a terminal"), "{}", said(&output));
        assert!(said(&output).contains("hint: "), "{}", said(&output));
    }
}

#[test]
fn a_reader_that_went_away_does_not_change_the_exit_code_of_inspect() {
    for (sample, code) in [("two-volumes.mts", 0), ("damaged.mts", 5)] {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let mut command = mtctl(&["stream", "inspect"]);
        let output = command.arg(data().join("native").join(sample)).stdout(OwnedFd::from(writer));
        assert_eq!(output.output().unwrap().status.code(), Some(code), "{sample}");
    }
}

#[test]
fn nothing_of_a_damaged_batch_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, size) in [("db", 1 << 30), ("log", 8 << 20)] {
        File::create(path(name)).unwrap().set_len(size).unwrap();
    }
    let sample = data().join("native/damaged.mts").display().to_string();
    let [database, log] = ["db", "log"].map(|name| format!("{name}={}", path(name)));
    let arguments = ["apply", &sample, "--map", &database, "--map", &log];
    let output = mtctl(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("byte "), "no place is named: {}", said(&output));
    // The batch before it was good.
    let mut written = [0; 512];
    File::open(path("db")).unwrap().read_exact_at(&mut written, 4096).unwrap();
    assert_eq!(written, [0x5a; 512]);
    assert!(fs::read(path("log")).unwrap().iter().all(|byte| *byte == 0));
}

/// The volumes of the only stream in `path`, as `stream inspect --json` has them, and its marks.
fn inspected(path: &str) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
    let output = mtctl(&["stream", "inspect", path, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |key: &str| json["streams"][0][key].as_array().unwrap().clone();
    (list("volumes"), list("marks"))
}

#[test]
fn a_volume_without_a_name_is_named_where_it_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let [output, other] =
        ["db.mts", "other.mts"].map(|name| folder.path().join(name).display().to_string());
    let diff = data().join("rbd/odd.o2-o3.rbddiff").display().to_string();
    let convert = |input: &str, volume: &str, to: &str, output: &str| {
        let words = ["stream", "convert", input, "--volume", volume, "--to", to];
        mtctl(&words).args(["--output", output]).output().unwrap()
    };
    let converted = convert(&diff, "db", "native", &output);
    assert_eq!(converted.status.code(), Some(0), "{}", said(&converted));
    assert_eq!(inspected(&output).0[0]["name"], "db");
    let two = data().join("native/two-volumes.mts").display().to_string();
    for (input, to, why) in [
        (&two, "native", "the stream has 2 volumes"),
        (&output, "native", "the stream calls it \"db\""),
        (&diff, "rbd-diff-v1", "does not name its volume"),
    ] {
        let refused = convert(input, "log", to, &other);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains(why), "{}", said(&refused));
    }
}

#[test]
fn streams_of_several_volumes_become_one_with_one_common_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let diff = data().join("rbd/odd.o2-o3.rbddiff").display().to_string();
    let two = data().join("native/two-volumes.mts").display().to_string();
    let output = path("out.mts");
    let merge = |inputs: &[&str], more: &[&str]| {
        let words = ["stream", "merge", "--json", "--output", &output];
        mtctl(&words).args(inputs).args(more).output().unwrap()
    };
    let (odd, copy) = (format!("odd={diff}"), format!("copy={diff}"));
    let merged = merge(&[&odd, &copy], &[]);
    assert_eq!(merged.status.code(), Some(0), "{}", said(&merged));
    let json: serde_json::Value = serde_json::from_slice(&merged.stdout).unwrap();
    assert_eq!((&json["data_bytes"], &json["marks"]), (&74.into(), &1.into()), "{json}");
    let (volumes, marks) = inspected(&output);
    for (volume, name) in volumes.iter().zip(["odd", "copy"]) {
        assert_eq!(volume["name"], name);
        assert_eq!((&volume["from"], &volume["to"]), (&"o2".into(), &"o3".into()), "{volume}");
    }
    assert_eq!((marks.len(), &marks[0]["name"]), (1, &"o3".into()));
    // What they do not agree on is asked for, and nothing is written.
    fs::remove_file(&output).unwrap();
    for (inputs, why) in [
        (&[&*two, &*odd][..], "ends at \\\"monday"),
        (&[&diff, &copy], "it does not name its volume"),
        (&[&odd, &odd], "odd.o2-o3.rbddiff: the previous one ends at"),
    ] {
        let refused = merge(inputs, &[]);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains(why), "{}", said(&refused));
    }
    assert!(!Path::new(&output).exists());
    let named = merge(&[&two, &odd], &["--mark", "together", "--kind", "app"]);
    assert_eq!(named.status.code(), Some(0), "{}", said(&named));
    let json: serde_json::Value = serde_json::from_slice(&named.stdout).unwrap();
    assert_eq!((&json["marks"], &json["marks_lost"]), (&1.into(), &1.into()), "{json}");
    let (volumes, marks) = inspected(&output);
    assert_eq!(volumes.len(), 3);
    let last = (&marks[0]["name"], &marks[0]["kind"]);
    assert_eq!(last, (&"together".into(), &"application-consistent".into()));
}

#[test]
fn a_disk_that_becomes_smaller_is_not_joined_into_one_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let diff = |name: &str, size: u64, from: Option<&str>| {
        let volume = VolumeHeader { to: Name::new(name.as_bytes()), ..volume("", size, from) };
        let mut encoder = rbd_diff::Encoder::new(Vec::new(), Version::V1, &volume).unwrap();
        encoder.data(ByteOffset::new(size - 4096), &[7; 4096]).unwrap();
        fs::write(path(name), encoder.finish().unwrap()).unwrap();
        path(name)
    };
    let (one, smaller) = (diff("one", 4 << 20, None), diff("smaller", 2 << 20, Some("one")));
    let (larger, output) = (diff("larger", 6 << 20, Some("one")), path("out.mts"));
    let join = |inputs: &[&str]| {
        let words = ["stream", "convert", "--to", "native", "--output", &output];
        mtctl(&words).args(inputs).output().unwrap()
    };
    let refused = join(&[&one, &smaller]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("write each to a file of its own"), "{}", said(&refused));
    assert!(!Path::new(&output).exists());
    let joined = join(&[&one, &larger]);
    assert_eq!(joined.status.code(), Some(0), "{}", said(&joined));
    assert_eq!(inspected(&output).0[0]["size_bytes"], 6 << 20);
}

#[test]
fn what_a_disk_has_more_after_it_grew_is_zeros_in_one_stream_of_several() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let diff = |name: &str, size: u64, from: Option<&str>| {
        let volume = VolumeHeader { to: Name::new(name.as_bytes()), ..volume("", size, from) };
        let mut encoder = rbd_diff::Encoder::new(Vec::new(), Version::V1, &volume).unwrap();
        encoder.data(ByteOffset::new(size - 512), &[7; 512]).unwrap();
        fs::write(path(name), encoder.finish().unwrap()).unwrap();
        path(name)
    };
    let (small, large) =
        (diff("small", 2 << 20, Some("more")), diff("large", 6 << 20, Some("small")));
    let named = [&small, &large].map(|input| format!("db={input}"));
    let output = path("out.mts");
    for words in [
        vec!["convert", "--to", "native", &small, &large],
        vec!["convert", "--to", "rbd-diff-v1", &small, &large],
        vec!["merge", "--mark", "m", &named[0], &named[1]],
    ] {
        let written = mtctl(&["stream", words[0], "--output", &output]).args(&words[1..]).output();
        let written = written.unwrap();
        assert_eq!(written.status.code(), Some(0), "{}", said(&written));
        let volume = &inspected(&output).0[0];
        let bytes = (&volume["size_bytes"], &volume["data_bytes"], &volume["zero_bytes"]);
        // The target may hold there what it had before the first of them.
        assert_eq!(bytes, (&(6 << 20).into(), &1024.into(), &(4 << 20).into()), "{words:?}");
        fs::remove_file(&output).unwrap();
    }
}
