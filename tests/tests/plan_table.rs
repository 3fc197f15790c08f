//! The plan for the retention disk, for every state that a disk can be in, every way to name it,
//! and everything that can be known about it already.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use blockio::journal::state::GroupState;
use blockio::journal::state_text::print;
use mt_tests::machine::{Distribution, Machine, filesystem, partition_table};
use mt_tests::recorded::{self, RETENTION_UUID, attach, desired, naa};
use mt_tests::sysfs::ScsiDisk;
use provisioning::filesystem::{HiddenFilesystem, RetentionFilesystem, Signature};
use provisioning::multipath::MultipathPolicy;
use provisioning::observe::observe;
use provisioning::record::{self, FormatIntent, Record, RetentionRecord};
use provisioning::retention;
use provisioning::retention::udev_rule::{UDEV_RULE_FILE, udev_rule};
use provisioning::spec::{Desired, DiskName};
use provisioning::step::{Action, Consent};

const GIB: u64 = 1 << 30;
const UUID: &str = "2c1e7d52-6f0b-4b8e-9a51-d3f17c3e90aa";

/// A machine with its system on sda; the disk in question, sdb, is not yet attached.
fn machine() -> Machine {
    let machine = Machine::new(Distribution::Debian12);
    attach(&machine, "sda", "0:0:0:0", 128 * GIB, Some(naa(0)));
    machine.partition("sda", 1, 100 * GIB, filesystem("ext4", "1"));
    machine.mount("sda1", "/", "ext4", "rw");
    machine
}

fn with_disk(change: impl FnOnce(&Machine)) -> Machine {
    let machine = machine();
    attach(&machine, "sdb", "0:0:1:0", 100 * GIB, Some(naa(1)));
    change(&machine);
    machine
}

fn with_other_disk(change: impl FnOnce(ScsiDisk) -> ScsiDisk) -> Machine {
    let machine = machine();
    machine.attach(&change(ScsiDisk::vmware("sdb", "0:0:1:0", 100 * GIB, Some(naa(1)))));
    machine
}

const STATES: [&str; 20] = [
    "blank",
    "empty",
    "small",
    "read-only",
    "nameless",
    "malformed",
    "ours",
    "ext4",
    "xfs",
    "ntfs",
    "swap",
    "pv",
    "md",
    "gpt",
    "ambivalent",
    "bytes",
    "mounted",
    "swapped",
    "held-lvm",
    "held-md",
];

fn in_state(state: &str) -> Machine {
    let sign = |signature: Signature| with_disk(|machine| machine.sign("sdb", signature));
    match state {
        "blank" => with_disk(|_| {}),
        "empty" => with_other_disk(|disk| ScsiDisk { size_bytes: 0, ..disk }),
        "small" => with_other_disk(|disk| ScsiDisk { size_bytes: (64 << 20) - 512, ..disk }),
        "read-only" => with_other_disk(|disk| ScsiDisk { read_only: true, ..disk }),
        "nameless" => with_other_disk(|disk| ScsiDisk {
            page80: None,
            page83: None,
            wwid: None,
            has_diskseq: false,
            ..disk
        }),
        "malformed" => {
            with_other_disk(|disk| ScsiDisk { page83: Some(vec![0, 0x83, 0, 9]), ..disk })
        }
        "ours" => sign(filesystem("ext4", UUID)),
        "pv" => sign(filesystem("LVM2_member", "x")),
        "md" => sign(filesystem("linux_raid_member", "x")),
        "gpt" => sign(partition_table("gpt")),
        "ambivalent" => sign(Signature { is_ambivalent: true, ..Signature::default() }),
        "bytes" => with_disk(|machine| machine.scribble("sdb")),
        "mounted" => with_disk(|machine| {
            machine.sign("sdb", filesystem("ext4", "2"));
            machine.mount("sdb", "/srv", "ext4", "rw");
        }),
        "swapped" => with_disk(|machine| {
            machine.sign("sdb", filesystem("swap", "2"));
            machine.swap_on("sdb");
        }),
        "held-lvm" => with_disk(|machine| {
            machine.sign("sdb", filesystem("LVM2_member", "x"));
            machine.map("vg-lv", 5, "LVM-x", &["sdb"]);
        }),
        "held-md" => with_disk(|machine| machine.array("md0", 0, &["sdb"])),
        other => sign(filesystem(other, "3")),
    }
}

/// `format` with its consent, `refused` with the reason, or the other actions.
fn verdict(machine: &Machine, desired: &Desired) -> String {
    let observed = observe(&machine.host(), desired).unwrap();
    let first = retention::plan(&observed, desired);
    assert_eq!(first, retention::plan(&observed, desired), "a plan is pure");
    match first {
        Err(refusal) => {
            assert!(!refusal.hint.is_empty(), "{}", refusal.reason);
            format!("refused: {}", refusal.reason)
        }
        Ok(actions) => match actions.first() {
            Some(Action::Format(format)) => {
                let consent = match format.consent {
                    Consent::Blank => "blank",
                    Consent::Destroy => "destroy",
                    Consent::Unfinished => "unfinished",
                };
                format!("format {consent} {}", format.path.display())
            }
            Some(other) => other.to_string(),
            None => "nothing".to_owned(),
        },
    }
}

fn named(destroy: bool) -> Desired {
    let name = DiskName::Path("/dev/sdb".into());
    let destroy = destroy.then(|| name.clone());
    Desired { retention_disk: Some(name), destroy, ..desired() }
}

fn begin_format(machine: &Machine, size_bytes: u64) {
    let host = machine.host();
    let wwid = provisioning::scsi::Wwid::parse_operator(&format!("naa.{:032x}", naa(1))).unwrap();
    let intent = FormatIntent {
        machine: provisioning::platform::machine(&host),
        disk: provisioning::disk::DiskIdentity::Wwid(wwid),
        size_bytes,
        filesystem: RetentionFilesystem::Ext4,
        uuid: RETENTION_UUID,
        replaces: filesystem("ntfs", "3"),
    };
    record::store(&host, &Record { formatting: Some(intent), ..Record::default() }).unwrap();
}

/// The expected verdict for a named disk: without --destroy, with it, and without it but begun
/// earlier.
fn expected(state: &str) -> [&'static str; 3] {
    let blank = "format blank /dev/sdb";
    let (destroy, unfinished) = ("format destroy /dev/sdb", "format unfinished /dev/sdb");
    let content = "is not blank";
    match state {
        "blank" => [blank; 3],
        "empty" => ["no capacity"; 3],
        "small" => ["too small"; 3],
        "read-only" => ["is read-only"; 3],
        "nameless" => ["no identity"; 3],
        "malformed" => ["could not be examined"; 3],
        "mounted" | "swapped" => ["in use|carries the running system"; 3],
        "held-lvm" | "held-md" => ["in use"; 3],
        // Bytes that no program recognises, and our own new filesystem that nobody has used.
        // Content whose destruction was agreed to and that still exists is not among them: it may
        // have changed since.
        "bytes" | "ours" => [content, destroy, unfinished],
        _ => [content, destroy, content],
    }
}

fn assert_verdict(got: &str, wanted: &str, what: &str) {
    let is_one = |wanted: &str| match wanted.starts_with("format") {
        true => got == wanted,
        false => got.starts_with("refused: ") && got.contains(wanted),
    };
    assert!(wanted.split('|').any(is_one), "{what}: {got}, not {wanted}");
}

#[test]
fn every_state_of_a_named_disk_has_its_verdict() {
    for state in STATES {
        let [plain, destroy, begun] = expected(state);
        assert_verdict(&verdict(&in_state(state), &named(false)), plain, state);
        assert_verdict(&verdict(&in_state(state), &named(true)), destroy, state);
        let machine = in_state(state);
        begin_format(&machine, 100 * GIB);
        assert_verdict(&verdict(&machine, &named(false)), begun, state);
        let machine = in_state(state);
        begin_format(&machine, 99 * GIB);
        assert_verdict(&verdict(&machine, &named(false)), plain, "begun when it had another size");
    }
}

#[test]
fn without_a_name_only_the_one_blank_disk_is_taken() {
    for state in STATES {
        let wanted =
            if state == "blank" { "format blank /dev/sdb" } else { "there is no blank disk" };
        assert_verdict(&verdict(&in_state(state), &desired()), wanted, state);
    }
    assert_verdict(&verdict(&machine(), &desired()), "there is no blank disk", "no disk");
    let several = in_state("blank");
    attach(&several, "sdc", "0:0:2:0", GIB, Some(naa(2)));
    assert_verdict(
        &verdict(&several, &desired()),
        "there are 2 blank disks: /dev/sdb, /dev/sdc",
        "",
    );
    assert_verdict(&verdict(&several, &named(false)), "format blank /dev/sdb", "named");
}

#[test]
fn the_system_disk_is_refused_however_it_is_named() {
    let name = DiskName::Path("/dev/sda".into());
    let wanted = Desired { retention_disk: Some(name.clone()), destroy: Some(name), ..desired() };
    assert_verdict(&verdict(&in_state("blank"), &wanted), "carries the running system", "sda");
    let part = Desired { retention_disk: Some(DiskName::Path("/dev/sda1".into())), ..desired() };
    assert_verdict(&verdict(&in_state("blank"), &part), "is a part of a disk", "sda1");
}

/// What exists already: a mount, an fstab row, a record, the volume itself.
fn already(mounted: bool, row: bool, recorded: bool, attached: bool) -> Machine {
    let machine = if attached { in_state("ours") } else { in_state("gpt") };
    if row {
        let row = format!(
            "UUID={UUID} /mnt/retention ext4 defaults,nofail,x-systemd.device-timeout=90s,noatime,\
             errors=remount-ro,x-mtctl 0 2\n"
        );
        machine.tree().put_text("/etc/fstab", row);
    }
    if recorded {
        let host = machine.host();
        let wwid = provisioning::scsi::Wwid::parse_operator(&format!("naa.{:032x}", naa(1)));
        let retention = RetentionRecord {
            disk: provisioning::disk::DiskIdentity::Wwid(wwid.unwrap()),
            filesystem: RetentionFilesystem::Ext4,
            uuid: RETENTION_UUID.to_string(),
        };
        let record = Record { retention: Some(retention), ..Record::default() };
        record::store(&host, &record).unwrap();
    }
    let rule = udev_rule(RetentionFilesystem::Ext4, UUID);
    machine.tree().put_text(UDEV_RULE_FILE, rule);
    if mounted {
        machine.tree().put("/mnt/retention", provisioning::host::Node::Directory);
        machine.mount("sdb", "/mnt/retention", "ext4", "rw");
    }
    machine
}

#[test]
fn what_is_there_already_is_kept_and_only_what_is_missing_is_done() {
    for case in 0..16_u8 {
        let bit = |number: u8| case >> number & 1 == 1;
        let (mounted, row, recorded, attached) = (bit(0), bit(1), bit(2), bit(3));
        if mounted && !attached {
            continue;
        }
        let got = verdict(&already(mounted, row, recorded, attached), &desired());
        let wanted = match (mounted, row, recorded, attached) {
            (true, true, _, _) => "nothing",
            (true, false, _, _) => "edit /etc/fstab",
            (false, false, false, _) => "refused: there is no blank disk",
            (false, _, _, true) => "make directory /mnt/retention",
            (false, _, _, false) => "refused: ",
        };
        assert!(got.starts_with(wanted), "{mounted} {row} {recorded} {attached}: {got}");
        assert!(!got.starts_with("format"), "{got}");
    }
}

/// The disk is taken for both a ZFS pool and ext4, or for a RAID member, like a volume that retains
/// data of such disks.
fn hidden_signatures() -> [Signature; 2] {
    let uuid = UUID.to_owned();
    let hidden = Some(HiddenFilesystem { filesystem: RetentionFilesystem::Ext4, uuid });
    let ambivalent =
        Signature { is_ambivalent: true, hidden: hidden.clone(), ..Signature::default() };
    [ambivalent, Signature { hidden, ..filesystem("linux_raid_member", "c0ffee") }]
}

#[test]
fn a_volume_is_known_by_its_own_superblock_whatever_else_is_seen_on_it() {
    for (mounted, recorded, hidden) in
        [(true, false, 0), (true, true, 1), (false, true, 0), (false, false, 1)]
    {
        let machine = already(mounted, true, recorded, true);
        machine.sign("sdb", hidden_signatures()[hidden].clone());
        let got = verdict(&machine, &desired());
        let wanted = if mounted { "nothing" } else { "make directory /mnt/retention" };
        assert!(got.starts_with(wanted), "{mounted} {hidden}: {got}");
        // A volume made before the rule existed gets it, and the event is for its disk only.
        machine.tree().remove(UDEV_RULE_FILE);
        let observed = observe(&machine.host(), &desired()).unwrap();
        let actions = retention::plan(&observed, &desired()).unwrap();
        let said: Vec<_> = actions.iter().map(ToString::to_string).collect();
        let said = said.join("; ");
        assert!(said.contains(&format!("make {UDEV_RULE_FILE}; ")), "{said}");
        let trigger = "run udevadm trigger --action=change --subsystem-match=block \
                       --sysname-match=sdb (udev links the volume); ";
        assert!(said.contains(trigger) && !said.contains("format"), "{said}");
    }
}

#[test]
fn destruction_of_the_known_volume_is_refused_even_if_it_is_named() {
    let sdb = || Some(DiskName::Path("/dev/sdb".into()));
    for (row, recorded) in [(true, false), (false, true), (true, true)] {
        for hidden in [None, Some(0), Some(1)] {
            let machine = already(false, row, recorded, true);
            let signature = hidden
                .map_or(filesystem("ext4", UUID), |at: usize| hidden_signatures()[at].clone());
            machine.sign("sdb", signature);
            let destroy = Desired { retention_disk: sdb(), destroy: sdb(), ..desired() };
            let xfs = Desired { filesystem: Some(RetentionFilesystem::Xfs), ..destroy.clone() };
            let got = verdict(&machine, &xfs);
            assert!(got.starts_with("refused: ") && !got.contains("--destroy"), "{got}");
            // Naming this filesystem changes nothing: the volume already has it.
            let got = verdict(&machine, &destroy);
            assert!(got.starts_with("make directory") && !got.contains("format"), "{got}");
        }
    }
}

#[test]
fn a_volume_that_is_mounted_elsewhere_is_not_moved() {
    let machine = already(true, true, true, true);
    let elsewhere = Desired { retention_mount: "/mnt/elsewhere".into(), ..desired() };
    let got = verdict(&machine, &elsewhere);
    assert!(got.starts_with("refused: ") && got.contains("is mounted on /mnt/retention"), "{got}");
}

#[test]
fn a_known_volume_is_not_made_anew_on_another_disk() {
    let machine = already(false, true, true, false);
    attach(&machine, "sdc", "0:0:2:0", 100 * GIB, Some(naa(2)));
    let got = verdict(&machine, &desired());
    assert!(got.starts_with("refused: "), "the volume is missing: {got}");
}

#[test]
fn a_clone_of_the_volume_and_another_filesystem_are_refused() {
    let machine = already(false, true, true, true);
    attach(&machine, "sdc", "0:0:2:0", 100 * GIB, Some(naa(2)));
    machine.sign("sdc", filesystem("ext4", UUID));
    assert_verdict(&verdict(&machine, &desired()), "both carry the retention volume", "clone");
    for mounted in [false, true] {
        let machine = already(mounted, true, true, true);
        let xfs = Desired { filesystem: Some(RetentionFilesystem::Xfs), ..desired() };
        assert_verdict(&verdict(&machine, &xfs), "is ext4, not xfs", "xfs wanted");
    }
}

#[test]
fn a_map_is_formatted_and_its_paths_are_refused() {
    let machine = recorded::two_paths();
    let with = |path: &str| Desired {
        retention_disk: Some(DiskName::Path(path.into())),
        multipath: MultipathPolicy::Require,
        ..desired()
    };
    assert_verdict(
        &verdict(&machine, &with("/dev/mapper/mpatha")),
        "format blank /dev/mapper/mpatha",
        "",
    );
    assert_verdict(
        &verdict(&machine, &with("/dev/sda")),
        "is a path of the multipath map mpatha",
        "",
    );
    assert_verdict(&verdict(&machine, &with("/dev/sdb")), "is not a multipath map", "");
    let wwid = DiskName::parse(&format!("naa.{:032x}", naa(0))).unwrap();
    let by_wwid = Desired { retention_disk: Some(wwid), ..with("/dev/sda") };
    assert_verdict(&verdict(&machine, &by_wwid), "format blank /dev/mapper/mpatha", "by WWID");
    let off = Desired { multipath: MultipathPolicy::Off, ..with("/dev/sdb") };
    assert_verdict(&verdict(&machine, &off), "format blank /dev/sdb", "off");
}

#[test]
fn one_of_two_clones_is_not_formatted() {
    let machine = recorded::clones();
    assert_verdict(&verdict(&machine, &named(true)), "have the same WWID", "clones");
}

/// Writes the state of a group web with this target to the machine.
fn write_state(machine: &Machine, target: &str) {
    let mut state = GroupState::default();
    state.volumes.entry(blockio::volume_name::VolumeName::unnamed()).or_default().target =
        Some(target.to_owned());
    machine.tree().put_text("/var/lib/mtctl/groups/web/state", print(&state));
}

#[test]
fn a_disk_that_a_group_writes_to_is_refused_by_whatever_the_group_knows_it() {
    let wwid = format!("naa.{:032x}", naa(1));
    let link = format!("/dev/disk/by-id/wwn-0x{:032x}", naa(1));
    let malformed = with_other_disk(|disk| ScsiDisk { page83: Some(vec![0, 0x83, 0, 9]), ..disk });
    let is_groups = "/dev/sdb is a target of the protection group web";
    for (machine, target) in [
        (in_state("blank"), wwid.as_str()),
        (in_state("blank"), "/dev/sdb"),
        (in_state("blank"), &link),
        (in_state("ext4"), &wwid),
        // Its page cannot be read, but its link identifies it.
        (malformed, &wwid),
    ] {
        write_state(&machine, target);
        for destroy in [false, true] {
            assert_verdict(&verdict(&machine, &named(destroy)), is_groups, target);
        }
        assert_verdict(&verdict(&machine, &desired()), "there is no blank disk", target);
    }
    let other = in_state("blank");
    write_state(&other, &format!("naa.{:032x}", naa(7)));
    assert_verdict(&verdict(&other, &named(false)), "format blank /dev/sdb", "another's");
}

#[test]
fn a_map_of_which_a_group_knows_a_path_or_the_map_is_refused() {
    let wwid = format!("naa.{:032x}", naa(0));
    for target in ["/dev/mapper/mpatha", "/dev/sda", &wwid] {
        let machine = recorded::two_paths();
        write_state(&machine, target);
        let path = DiskName::Path("/dev/mapper/mpatha".into());
        let wanted = Desired { retention_disk: Some(path), ..desired() };
        let expected = "/dev/mapper/mpatha is a target of the protection group web";
        assert_verdict(&verdict(&machine, &wanted), expected, target);
    }
}

#[test]
fn while_a_groups_state_is_not_understood_no_disk_is_formatted() {
    let machine = in_state("blank");
    machine.tree().put_text("/var/lib/mtctl/groups/web/state", "{}\n");
    for wanted in [named(false), named(true), desired()] {
        let said = verdict(&machine, &wanted);
        assert_verdict(&said, "it is unknown which disks a protection group writes to", "");
        assert!(said.contains("/var/lib/mtctl/groups/web/state"), "{said}");
    }
}
