//! Completions as a shell asks for them: verbs and options from the command line's definition,
//! groups and points from the host; silent, whatever is wrong, and nothing is touched.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::path::Path;
use std::process::Command;

/// What bash is offered for the last of `words`, by the script that is packaged, and what is told.
fn offered(words: &[&str]) -> (Vec<String>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/completions/mtctl.bash");
    let program = Path::new(env!("CARGO_BIN_EXE_mtctl")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let asked = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        _clap_complete_mtctl mtctl \"${COMP_WORDS[COMP_CWORD]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["-c", asked, "bash"]).arg(script).args(words).env("PATH", path);
    let output = command.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.split(['\n', '\u{b}']).map(|line| line.trim_end().to_owned());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (lines.filter(|line| !line.is_empty()).collect(), said)
}

#[test]
fn verbs_groups_and_points_are_completed_and_nothing_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let stream = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/native/two-volumes.mts");
    for (name, size) in [("db.img", 1 << 30), ("log.img", 8 << 20)] {
        std::fs::File::create(path(name)).unwrap().set_len(size).unwrap();
    }
    let retention = path("retention");
    std::fs::create_dir(&retention).unwrap();
    let place = ["--retention", &retention, "--retention-unmounted"];
    let (db, log) = (format!("db={}", path("db.img")), format!("log={}", path("log.img")));
    let mut apply = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    apply.arg("apply").arg(stream).args(["--map", &db, "--map", &log, "--group", "web"]);
    assert!(apply.args(place).output().unwrap().status.success());
    let create = ["points", "create", "--group", "web"];
    let made = Command::new(env!("CARGO_BIN_EXE_mtctl")).args(create).args(place).output().unwrap();
    assert!(made.status.success());
    let listing = || {
        let files = std::fs::read_dir(Path::new(&retention).join("web")).unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap())
            .map(|file| (file.file_name(), file.metadata().unwrap().modified().unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = listing();
    let ask = |words: &[&str], last: &[&str]| {
        let (offered, said) = offered(&[&["mtctl"], words, &place, last].concat());
        assert_eq!(said, "", "{words:?}");
        offered
    };
    assert_eq!(offered(&["mtctl", "roll"]).0, ["rollback"]);
    assert!(ask(&["group", "show"], &["--group", "w"]).contains(&"web".to_owned()));
    assert_eq!(ask(&["rollback", "--group", "web"], &["--to", "n"]), ["nightly"]);
    assert_eq!(ask(&["points", "pin", "--group", "web"], &["late"]), ["latest", "latest-app"]);
    // A point without a name is offered by its number.
    assert_eq!(ask(&["rollback", "--group", "web"], &["--to", "3"]), ["3"]);
    // Of what is not there, or cannot be read, nothing is offered and nothing said.
    assert_eq!(ask(&["rollback", "--group", "no-such"], &["--to", "n"]), [""; 0]);
    std::fs::write(Path::new(&retention).join("web/lock"), "").unwrap();
    assert_eq!(listing().len(), before.len());
    std::fs::remove_file(Path::new(&retention).join("web/state")).unwrap();
    std::fs::write(Path::new(&retention).join("web/state.copy"), "nonsense").unwrap();
    assert_eq!(ask(&["rollback", "--group", "web"], &["--to", "n"]), [""; 0]);
}
