//! Only the named disk can be harmed, and no answer can break out of its place.

use proptest::prelude::*;

use super::super::layout::{FIRMWARE_MAX_MIB, PARTITIONS, ROOT_DISK_MIN_MIB};
use super::super::{Answers, Release, Request, first_boot, render};
use super::{DISK, answers, answers_v6, text};

/// The command lines, without comments and sections.
fn commands(text: &str) -> Vec<&str> {
    let mut in_section = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        match line {
            "%end" => in_section = false,
            _ if line.starts_with('%') => in_section = true,
            _ if in_section || line.starts_with('#') || line.is_empty() => {}
            _ => commands.push(line),
        }
    }
    commands
}

/// The value after `option=` in a line.
fn value<'a>(line: &'a str, option: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(option)?.strip_prefix('='))
}

fn assert_confined(text: &str, disk: &str) {
    // The installer reads these as lists and patterns, which would mean several disks.
    assert!(!disk.contains([',', '|', '*', '?', '[', ' ']), "{disk}");
    let commands = commands(text);
    let named = |start: &str, option: &str| {
        let lines = commands
            .iter()
            .filter(|line| line.split(' ').next() == Some(start))
            .collect::<Vec<_>>();
        assert!(!lines.is_empty(), "no {start} in:\n{text}");
        for line in lines {
            assert_eq!(value(line, option), Some(disk), "{line}");
        }
    };
    named("ignoredisk", "--only-use");
    named("clearpart", "--drives");
    named("part", "--ondisk");
    for line in &commands {
        let destructive =
            ["autopart", "raid", "logvol", "volgroup", "btrfs", "mount", "snapshot", "%pre"];
        assert!(!destructive.contains(&line.split(' ').next().unwrap()), "{line}");
        if line.starts_with("bootloader") {
            let drive = value(line, "--boot-drive").or_else(|| value(line, "--driveorder"));
            assert!(drive.is_none_or(|drive| drive == disk), "{line}");
        }
    }
    let position = |start: &str| commands.iter().position(|line| line.starts_with(start));
    assert!(position("ignoredisk") < position("zerombr"));
    assert!(position("ignoredisk") < position("clearpart"));
    for word in ["mkfs", "wipefs", "dd ", "sgdisk", "parted", "%pre", "/dev/sdb"] {
        assert!(!text.contains(word), "{word} in:\n{text}");
    }
}

#[test]
fn the_only_destructive_lines_name_the_disk() {
    for release in Release::ALL {
        for disk in [DISK, "sda", "nvme0n1", "/dev/disk/by-id/scsi-36000c29a"] {
            for base in [answers(release), answers_v6(release)] {
                let answers = Answers { disk: disk.into(), ..base };
                assert_confined(&text(&answers), disk);
            }
        }
    }
}

#[test]
fn the_retention_disk_is_named_to_prepare_and_nowhere_else() {
    let retention = "/dev/disk/by-id/wwn-0x6000c29ffffffffffffffffffffffff0";
    let answers = Answers { retention_disk: Some(retention.into()), ..answers(Release::El10) };
    let text = text(&answers);
    assert_confined(&text, DISK);
    let lines = text.lines().filter(|line| line.contains(retention)).collect::<Vec<_>>();
    assert_eq!(
        lines,
        [format!("ExecStart=/usr/local/bin/mtctl prepare --yes --retention-disk {retention}")]
    );
    // Recorded as done only after success: a retry can only take the same disk.
    assert!(text.contains("\nExecStartPost=/usr/bin/touch /var/lib/mtctl/first-boot-done\n"));
}

#[test]
fn without_a_named_retention_disk_prepare_is_tried_at_the_first_boot_only() {
    let text = text(&answers(Release::El7));
    let done = text.find("ExecStartPre=/usr/bin/touch /var/lib/mtctl/first-boot-done");
    let run = text.find("ExecStart=/usr/local/bin/mtctl prepare --yes\n");
    assert!(done.is_some() && done < run, "{text}");
}

#[test]
fn the_partitions_fit_on_the_smallest_root_disk() {
    let wanted = PARTITIONS.iter().map(|partition| partition.size_mib).sum::<u32>();
    assert!(wanted + FIRMWARE_MAX_MIB <= ROOT_DISK_MIN_MIB, "{wanted}");
    assert_eq!(PARTITIONS.iter().filter(|part| part.grows).count(), 1);
}

#[test]
fn a_kernel_name_loses_its_dev_and_a_link_keeps_it() {
    for (typed, printed) in [("/dev/sda", "sda"), ("vdb", "vdb"), (DISK, DISK)] {
        let answers = Answers { disk: typed.into(), ..answers(Release::El8) };
        assert_confined(&text(&answers), printed);
    }
}

#[test]
fn the_same_answers_print_the_same_text() {
    for release in Release::ALL {
        assert_eq!(text(&answers(release)), text(&answers(release)));
    }
}

#[test]
fn a_quote_in_a_shell_word_stays_in_it() {
    assert_eq!(first_boot::shell_word("a'b"), r"'a'\''b'");
    assert_eq!(first_boot::shell_word("$(reboot)"), "'$(reboot)'");
}

/// Strings that somebody might try to inject: shell, kickstart and glob syntax, control characters.
fn hostile() -> impl Strategy<Value = String> {
    let breakers = prop::sample::select(vec![
        "\n",
        "\r",
        " ",
        "\t",
        "'",
        "\"",
        "`",
        "$(",
        ";",
        "|",
        "&",
        "*",
        "?",
        "[",
        "#",
        "\\",
        "%",
        ",",
        "\0",
        "\u{7f}",
        "é",
        "\n%post\n",
        "\n%end\n",
        "\nclearpart --all\n",
        " --drives=sdb",
    ]);
    ("[a-z0-9./:-]{0,12}", breakers, "[a-z0-9./:-]{0,12}")
        .prop_map(|(before, breaker, after)| format!("{before}{breaker}{after}"))
}

/// Puts one hostile string into one answer.
type Slip = fn(&mut Answers, &str);

const SLIPS: [Slip; 18] = [
    |to, text| to.hostname = text.into(),
    |to, text| to.disk = text.into(),
    |to, text| to.disk.push_str(text),
    |to, text| to.address = text.into(),
    |to, text| to.gateway = text.into(),
    |to, text| to.dns = vec![text.into()],
    |to, text| to.timezone = text.into(),
    |to, text| to.timezone = format!("Europe/{text}"),
    |to, text| to.interface = Some(text.into()),
    |to, text| to.root_password_hash = Some(text.into()),
    |to, text| to.root_password_hash = Some(format!("{}{text}", super::HASH)),
    |to, text| to.ssh_key = Some(text.into()),
    |to, text| to.ssh_key = Some(format!("{}{text}x", super::rsa_key(2048))),
    |to, text| to.install_from = Some(text.into()),
    |to, text| to.install_from = Some(format!("https://a/{text}")),
    |to, text| to.retention_disk = Some(text.into()),
    |to, text| {
        to.mtctl_url = Some(format!("https://a/{text}"));
        to.mtctl_sha256 = Some(super::SHA256.into());
    },
    |to, text| {
        to.mtctl_url = Some("https://a/b".into());
        to.mtctl_sha256 = Some(text.into());
    },
];

/// The answers with `text` substituted for each of them in turn.
fn with_each_answer(release: Release, text: &str) -> Vec<Answers> {
    SLIPS
        .iter()
        .map(|slip| {
            let mut answers = answers(release);
            slip(&mut answers, text);
            answers
        })
        .collect()
}

fn release() -> impl Strategy<Value = Release> {
    prop::sample::select(Release::ALL.to_vec())
}

proptest! {
    /// Refused, or printed with the structure of the file unchanged: the same sections, the same
    /// commands, the same disk.
    #[test]
    fn a_hostile_answer_is_refused_or_stays_in_its_place(release in release(), text in hostile()) {
        let plain = shape(&super::text(&answers(release)));
        for answers in with_each_answer(release, &text) {
            if let Ok(request) = Request::from_answers(&answers) {
                let printed = render(&request);
                assert_confined(&printed, request.disk.in_kickstart());
                let same_tail = answers.mtctl_url.is_some();
                prop_assert!(
                    same_tail || shape(&printed) == plain,
                    "{:?} changed the shape:\n{}", text, printed
                );
                prop_assert!(!printed.contains("\n%post\n"));
            }
        }
    }

    #[test]
    fn no_answer_makes_it_panic(release in release(), text in any::<String>()) {
        for answers in with_each_answer(release, &text) {
            let _ = Request::from_answers(&answers).map(|request| render(&request));
        }
    }

    #[test]
    fn every_printed_host_name_is_one_word_of_rfc_1123(text in "[a-zA-Z0-9.-]{1,70}") {
        let answers = Answers { hostname: text.clone(), ..answers(Release::El9) };
        if Request::from_answers(&answers).is_ok() {
            prop_assert!(text.len() <= 64);
            for label in text.split('.') {
                prop_assert!((1..=63).contains(&label.len()));
                prop_assert!(!label.starts_with('-') && !label.ends_with('-'));
            }
        }
    }

    #[test]
    fn a_gateway_that_is_taken_shares_the_network(address: u32, gateway: u32, prefix in 1_u8..=31) {
        let answers = Answers {
            address: format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(address)),
            gateway: std::net::Ipv4Addr::from_bits(gateway).to_string(),
            ..answers(Release::El9)
        };
        if Request::from_answers(&answers).is_ok() {
            let shift = 32 - u32::from(prefix);
            prop_assert_eq!(address.checked_shr(shift), gateway.checked_shr(shift));
            prop_assert_ne!(address, gateway);
        }
    }
}

/// The first word of every line.
fn shape(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .map(|word| if word == "url" { "cdrom".to_owned() } else { word })
        .collect()
}
