//! The texts that provisioning writes, read by the programs they are written for. A private mount
//! namespace puts each text where its program looks for it; nothing on the host changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;
use provisioning::fstab::{Fstab, Mark, RetentionRow};
use provisioning::lvm::configuration::settings;
use provisioning::lvm::{DeviceSelection, OwnLvm, with_guard};
use provisioning::multipath::configuration::{Configuration, FindMultipaths};
use provisioning::multipath::{
    MultipathGeneration, MultipathPolicy, OwnDisks, OwnMap, minimal_main_file, policy_text,
};
use provisioning::tuning::{KernelHold, UDEV_RULES};
use tempfile::TempDir;

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .output()
        .unwrap_or_else(|error| panic!("running {program}: {error}"))
}

/// Runs the command with `directory` mounted at `place`, in namespaces of its own.
fn run_with(directory: &Path, place: &str, command: &str) -> Output {
    let script = format!("mount --bind \"$1\" {place} && exec {command}");
    let directory = directory.to_str().unwrap();
    let namespaces = ["--map-root-user", "--mount", "sh", "-c"];
    let arguments = [&namespaces[..], &[&script, "sh", directory]].concat();
    run("unshare", &arguments)
}

fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn own_disks() -> OwnDisks {
    OwnDisks {
        mapped: vec![OwnMap {
            wwid: "36000c2900000000000000000000000aa".to_owned(),
            name: "mpatha".to_owned(),
        }],
        plain: vec!["nvme.15ad-564d+x".to_owned()],
    }
}

/// How `multipath -t` interprets our drop-in, and its complaints.
fn multipath_reads(text: &str) -> (Configuration, String) {
    let etc = TempDir::new().unwrap();
    fs::create_dir_all(etc.path().join("multipath/conf.d")).unwrap();
    fs::write(etc.path().join("multipath.conf"), minimal_main_file()).unwrap();
    fs::write(etc.path().join("multipath/conf.d/mtctl.conf"), text).unwrap();
    let output = run_with(etc.path(), "/etc", "multipath -t");
    let read = Configuration::parse([stdout(&output).as_str()]);
    (read, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn multipath_takes_every_policy_without_a_complaint() {
    for policy in MultipathPolicy::ALL {
        for own in [OwnDisks::default(), own_disks()] {
            let text = policy_text(policy, MultipathGeneration::Named, &own).unwrap();
            let (read, complaints) = multipath_reads(&text);
            assert_eq!(complaints, "", "{text}");
            let friendly = read.default_value("user_friendly_names");
            assert_eq!(friendly, Some("no"), "{text}");
            let wanted = match policy {
                MultipathPolicy::Off | MultipathPolicy::Auto => FindMultipaths::Strict,
                MultipathPolicy::Require => FindMultipaths::Greedy,
            };
            assert_eq!(read.find_multipaths(), Some(wanted), "{text}");
        }
    }
}

#[test]
fn multipath_keeps_own_maps_and_leaves_own_disks_alone() {
    let named = MultipathGeneration::Named;
    let text = policy_text(MultipathPolicy::Require, named, &own_disks()).unwrap();
    let (read, _) = multipath_reads(&text);
    let has = |section: &[&str], keyword: &str, value: &str| {
        read.settings().iter().any(|setting| {
            setting.section == section && setting.keyword == keyword && setting.value == value
        })
    };
    assert!(has(&["blacklist"], "wwid", "^nvme[.]15ad-564d[+]x$"));
    assert!(has(&["multipaths", "multipath"], "alias", "mpatha"));
    assert!(has(&["multipaths", "multipath"], "skip_kpartx", "no"));
    assert!(has(&["defaults"], "skip_kpartx", "yes"));
}

#[test]
fn multipath_complains_of_a_text_that_is_wrong() {
    let (_, complaints) = multipath_reads("defaults {\n\tno_such_keyword yes\n}\n");
    assert!(complaints.contains("invalid keyword"), "{complaints}");
}

fn lvmconfig(directory: &Path, argument: &str) -> Output {
    let directory = format!("LVM_SYSTEM_DIR={}", directory.to_str().unwrap());
    run("env", &[&directory, "lvmconfig", argument])
}

#[test]
fn lvm_takes_the_guard_and_our_reader_agrees_with_lvm() {
    let directory = TempDir::new().unwrap();
    let own = OwnLvm {
        physical_volumes: vec!["/dev/disk/by-id/scsi-36000c29a.b+c-part2".to_owned()],
        volume_groups: vec!["vg_system".to_owned(), "data.1".to_owned()],
    };
    let local = "# local\nlocal {\n\thost_id = 7\n}\n";
    let main = "devices {\n\tglobal_filter = [ \"a|.*|\" ]\n\tscan = \"/dev\"\n}\n";
    let text = with_guard(local, DeviceSelection::Filter, &own).unwrap();
    fs::write(directory.path().join("lvm.conf"), main).unwrap();
    fs::write(directory.path().join("lvmlocal.conf"), text).unwrap();
    assert!(stdout(&lvmconfig(directory.path(), "--validate")).contains("configuration valid"));
    let merged = lvmconfig(directory.path(), "--merged");
    assert_eq!(String::from_utf8_lossy(&merged.stderr), "");
    let found = settings(&stdout(&merged)).unwrap();
    let value = |path: &str| {
        let setting = found.iter().find(|setting| setting.path == path);
        setting.unwrap().values.clone()
    };
    let filter = ["a|^/dev/disk/by-id/scsi-36000c29a[.]b[+]c-part2$|", "r|.*|"];
    assert_eq!(value("devices/global_filter"), filter);
    let groups = ["vg_system", "data.1"];
    assert_eq!(value("activation/auto_activation_volume_list"), groups);
    assert_eq!(value("local/host_id"), ["7"]);
}

/// The last value of each setting, by path: the effect of a text.
fn came_to(text: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let found = settings(text).ok()?.into_iter();
    Some(found.map(|setting| (setting.path, setting.values)).collect())
}

/// LVM's own interpretation of a configuration: `None` if it refuses it. LVM prints no section and
/// no setting that it does not know.
fn lvm_reads(text: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("lvm.conf"), text).unwrap();
    let output = lvmconfig(directory.path(), "--typeconfig=current");
    let failed = String::from_utf8_lossy(&output.stderr).contains("Failed to load config file");
    (!failed).then(|| came_to(&String::from_utf8_lossy(&output.stdout)).unwrap())
}

/// A text without any setting is equivalent to none, and LVM fails to load some of these. LVM reads
/// an unclosed string without its last byte: nothing can be appended to such a text.
fn is_read_alike(text: &str) -> Result<(), String> {
    if settings(text).is_err_and(|error| error.problem == "a string is not closed") {
        return Ok(());
    }
    let (ours, theirs) = (came_to(text), lvm_reads(text));
    let is_nothing = ours.as_ref().is_some_and(BTreeMap::is_empty);
    let is_same = ours == theirs || (is_nothing && theirs.is_none());
    if is_same { Ok(()) } else { Err(format!("{text:?}: {ours:?}, but LVM: {theirs:?}")) }
}

#[test]
fn lvm_reads_every_form_of_its_syntax_as_we_do() {
    let mut texts: Vec<String> = ["single", "single-hash", "single-braces", "quoted-key"]
        .map(|name| format!("../provisioning/src/lvm/fixtures/{name}.conf"))
        .map(|path| fs::read_to_string(path).unwrap())
        .into();
    let rows = [
        "devices/filter=\"a\"\ndevices/filter=\"b\"",
        "'devices' { 'scan'='/dev' }",
        "devices { filter += [ \"a\" ] }",
        "devices{filter=[\"a#b{}\" # c }\n,\"x\\\"y\\\\z\"]}",
        "devices { filter = @tag }",
        "devices { filter = [ \"a\", , \"b\" ] }",
        "devices { filter = [ \"a\" \"b\", ] }",
        "devices { filter = [] }",
        "devices {",
        "}",
        "devices { filter = \"a\nb\" }",
        "/devices//filter = \"z\"",
        "devices { \"filter/x\" = 1 }",
        "devices { filter = \"unterminated }",
        "devices { filter = 'it\\'s' }",
        "devices { use_devicesfile=0x }",
        "devices { filter=\"a\" }\r\n",
        "devices filter = 1",
        "devices { filter = [\"a\"], }",
        "devices#c\n{#d\nfilter#e\n=#f\n\"x\"#g\n}",
        "devices { dir = a\"b\" scan = a,b }",
        "devices { dir = a}b = 1",
        "devices { scan = [ abc def ] }",
        "devices { scan = [ @x, 12 ] }",
        "devices { dir = 'a'use_devicesfile = 1 }",
        "devices { use_devicesfile = 1dir = 'x' }",
        "\"\" = 1",
        "a[b = 1\n+x = 2\n1 = 2",
        "devices { dir = \"a\u{a0}\" scan = x\u{a0}y }",
        "",
    ];
    texts.extend(rows.map(str::to_owned));
    for text in texts {
        is_read_alike(&text).unwrap();
    }
}

// No `scan`: one that is a number makes LVM give up before it prints anything.
proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn lvm_reads_random_texts_of_its_tokens_as_we_do(
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "devices {", "dir", " ", "\n", "}", "=", " = ", "[", "]", ",", "1", "23", "'y'",
                "'", "\"", "\"{#\\\"\"", "# c\n", "devices { filter = ", "devices/dir = ", "\\",
                "z",
            ]),
            0..14,
        ),
    ) {
        let text = tokens.concat();
        // LVM prints the contents of an unknown section without the section's name, and
        // `devices/devices` is one.
        let is_of_no_section =
            |path: &String| path.rsplit_once('/').is_some_and(|(section, _)| section != "devices");
        prop_assume!(!came_to(&text).iter().flat_map(BTreeMap::keys).any(is_of_no_section));
        is_read_alike(&text).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn lvm_takes_the_guard_of_a_host_without_lvm() {
    let directory = TempDir::new().unwrap();
    let text = with_guard("", DeviceSelection::Filter, &OwnLvm::default()).unwrap();
    fs::write(directory.path().join("lvm.conf"), "").unwrap();
    fs::write(directory.path().join("lvmlocal.conf"), text).unwrap();
    let merged = stdout(&lvmconfig(directory.path(), "--merged"));
    let found = settings(&merged).unwrap();
    let values: Vec<_> = found.iter().map(|setting| &setting.values[..]).collect();
    assert_eq!(values, [&["r|.*|".to_owned()][..], &[]]);
}

#[test]
fn udev_takes_every_rule_without_a_complaint() {
    let complaints = |rules: &str| {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("61-mtctl.rules"), rules).unwrap();
        // The null device matches no rule, so the rules are only read.
        let command = "udevadm test /sys/class/mem/null";
        let output = run_with(directory.path(), "/etc/udev/rules.d", command);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("/etc/udev/rules.d/61-mtctl.rules"), "not read: {said}");
        said.contains("61-mtctl.rules:")
    };
    assert!(!complaints(UDEV_RULES));
    assert!(complaints(&format!("{UDEV_RULES}NO_SUCH_KEY==\"x\"\n")));
}

#[test]
fn libmount_reads_the_table_as_we_do() {
    let text = "# comment\nUUID=\"aa\"\t/srv/a\\040b xfs defaults\n\n\
        LABEL=odd /mnt/o\\134dd/ ext4 ro,nofail 0 2\r\n\
        //server/share /mnt/share cifs _netdev 0 0\n/dev/x none swap sw 0 0";
    let row = RetentionRow {
        uuid: "0c5be9c7-3a0c-4ac9-9d1f-0b2f0c1c7c11".to_owned(),
        mount_point: "/mnt/my retention".to_owned(),
        filesystem: "ext4".to_owned(),
        mark: Mark::XOption,
    };
    let table = Fstab::parse(text).with_retention(&row, |_| false).unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("fstab");
    fs::write(&path, table.to_string()).unwrap();
    let columns = "SOURCE,TARGET,FSTYPE,OPTIONS,FREQ,PASSNO";
    let path = path.to_str().unwrap();
    let output = run("findmnt", &["--tab-file", path, "--json", "-o", columns]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let theirs = json["filesystems"].as_array().unwrap();
    let ours: Vec<_> = table.entries().collect();
    assert_eq!(theirs.len(), ours.len(), "{json}");
    for (row, (_, entry)) in theirs.iter().zip(ours) {
        let target = entry.mount_point.trim_end_matches('/');
        // findmnt shows the quotes of a tag, which libmount drops when it looks up the disk.
        let source = row["source"].as_str().unwrap().replace('"', "");
        assert_eq!(source, entry.source, "{json}");
        assert_eq!(row["target"].as_str().unwrap().trim_end_matches('/'), target);
        assert_eq!(row["fstype"], *entry.filesystem);
        assert_eq!(row["options"], entry.options.join(","));
        assert_eq!(row["passno"], entry.pass);
    }
}

#[test]
fn apt_holds_the_kernel_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("mtctl-kernel");
    let ours = KernelHold::Apt.held("").unwrap();
    fs::write(&path, &ours).unwrap();
    let option = format!("Dir::Etc::preferences={}", path.to_str().unwrap());
    let policy = |package: &str| {
        let output = run("apt-cache", &["-o", &option, "policy", package]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        stdout(&output)
    };
    // Without package lists, apt knows no kernel; in that case it has only read the file.
    let kernel = policy("linux-image-amd64");
    assert!(kernel.is_empty() || kernel.contains("Candidate: (none)"), "{kernel}");
    assert!(!policy("bash").contains("Candidate: (none)"));
}
