//! Names out of streams on a terminal: whoever sends a stream chooses them, and no verb lets one
//! move the cursor, hide, or pretend to be a line of ours.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::path::Path;
use std::process::{Command, Stdio};

use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};

/// An escape sequence, a line that looks like ours, C1, a turned direction, no width.
const HOSTILE: &str =
    "x\x1b[2J\x1b]0;t\x07\nmtctl: all is well\r\u{9b}31m\u{202e}bd\u{2066}\u{200b}";

fn stream(fill: u8, is_cut: bool) -> Vec<u8> {
    let name = || Name::new(HOSTILE.as_bytes());
    let volume =
        VolumeHeader { name: name(), size: Some(ByteCount::new(1 << 20)), from: None, to: name() };
    let header = StreamHeader {
        format: Format::Native,
        is_in_write_order: true,
        identity: None,
        volumes: vec![volume],
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header, EncoderOptions::default()).unwrap();
    encoder.data(VolumeIndex(0), ByteOffset::new(0), &[fill; 4096]).unwrap();
    let (time, kind) = (Timestamp(1_767_323_045_000_000_000), MarkKind::CrashConsistent);
    encoder.mark(&Mark { time, kind, name: name(), group: name() }).unwrap();
    encoder.finish(true).unwrap();
    bytes.truncate(bytes.len() - if is_cut { 10 } else { 0 });
    bytes
}

/// What the verb printed, both streams; it must say the name, escaped, if `names` is set.
fn run(folder: &Path, verb: &[&str], names: bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    command.args(verb).current_dir(folder).stdin(Stdio::null()).env("COLUMNS", "100");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    let is_harmless = |c: char| blockio::plain::is_plain(c) || c == '\n';
    assert!(text.chars().all(is_harmless), "{verb:?}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("mtctl: all is")), "{verb:?}: {text}");
    // Tables break long names anywhere.
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let is_json = verb.contains(&"--json");
    assert!(!names || is_json || joined.contains("u{1b}"), "{verb:?}: {text}");
    println!("{}: {}", verb.join(" ").escape_debug(), output.status);
}

#[test]
fn a_hostile_name_is_escaped_by_every_verb_that_prints_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (file, bytes) in [("one", stream(1, false)), ("cut", stream(2, true))] {
        std::fs::write(at.join(file), bytes).unwrap();
    }
    std::fs::File::create(at.join("disk")).unwrap().set_len(1 << 20).unwrap();
    std::fs::create_dir(at.join("history")).unwrap();
    let of = ["--group", "g", "--retention", "history", "--retention-unmounted"];
    // A group knows a volume by its name with control characters escaped.
    let shown = Name::new(HOSTILE.as_bytes()).unwrap();
    let (map, other) = (format!("{shown}=disk"), format!("{shown}2=disk"));
    let with = |verb: &[&'static str]| -> Vec<&str> { [verb, &of[..]].concat() };
    let apply = |file: &'static str, map: &str| -> Vec<String> {
        let verb = [&["apply", file, "--map", map][..], &of[..]].concat();
        verb.into_iter().map(str::to_owned).collect()
    };
    let as_text = |verb: &[String], names| {
        run(at, &verb.iter().map(String::as_str).collect::<Vec<_>>(), names);
    };
    run(at, &["stream", "inspect", "one"], true);
    run(at, &["stream", "inspect", "one", "--json"], true);
    run(at, &["stream", "inspect", "cut"], true);
    as_text(&apply("one", &other), true);
    as_text(&apply("one", &map), false);
    as_text(&apply("one", &map), false);
    as_text(&apply("cut", &map), false);
    for (verb, names) in [
        (&["points", "list"][..], true),
        (&["points", "list", "--json"], true),
        (&["points", "show", "latest"], true),
        (&["group", "show"], true),
        (&["group", "show", "--json"], true),
        (&["journal", "check"], false),
        (&["journal", "dump", "--extents"], true),
        (&["digest", "--to", "latest"], false),
        (&["rollback", "--to", "latest", "--dry-run"], true),
        (&["rollback", "--to", "latest", "--yes"], true),
        (&["export", "--to", "latest", "--volume", "none", "--socket", "s"], true),
        (&["points", "show", "none"], false),
        (&["commit", "--to", "latest", "--yes"], false),
    ] {
        run(at, &with(verb), names);
    }
    run(at, &["group", "list", "--retention", "history", "--retention-unmounted"], false);
}
