//! The text of each policy for each generation, and configurations that are parsed.

use super::configuration::{Configuration, FindMultipaths};
use super::*;
use proptest::prelude::*;

const GENERATIONS: [MultipathGeneration; 3] =
    [MultipathGeneration::MainFileOnly, MultipathGeneration::YesNo, MultipathGeneration::Named];

fn own() -> OwnDisks {
    OwnDisks {
        mapped: vec![OwnMap { wwid: "36000c29aa".to_owned(), name: "mpatha".to_owned() }],
        plain: vec!["nvme.15ad+x".to_owned()],
    }
}

/// The number of settings in a text of ours.
fn rows(text: &str) -> usize {
    let is_row = |line: &&str| line.starts_with('\t') && !line.ends_with(['{', '}']);
    text.lines().filter(is_row).count()
}

fn blacklist(read: &Configuration) -> Vec<(&str, &str)> {
    let listed = read.settings().iter().filter(|row| row.section[0] == "blacklist");
    listed.map(|row| (&*row.keyword, &*row.value)).collect()
}

#[test]
fn policies_are_read_as_they_are_printed() {
    for policy in MultipathPolicy::ALL {
        assert_eq!(policy.to_string().parse::<MultipathPolicy>().unwrap(), policy);
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, format!("\"{policy}\""));
    }
    let error = "On".parse::<MultipathPolicy>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn each_policy_claims_what_it_says_on_each_generation() {
    use MultipathPolicy::{Auto, Off, Require};
    for (policy, generation, words) in [
        (Off, 0, None),
        (Off, 2, None),
        (Auto, 0, Some("yes")),
        (Auto, 1, Some("yes")),
        (Auto, 2, Some("strict")),
        (Require, 0, Some("no")),
        (Require, 1, Some("no")),
        (Require, 2, Some("greedy")),
    ] {
        let generation = GENERATIONS[generation];
        let text = policy_text(policy, generation, &OwnDisks::default()).unwrap();
        let read = Configuration::parse([text.as_str()]);
        assert_eq!(read.settings().len(), rows(&text), "{text}");
        assert_eq!(read.default_value("find_multipaths"), words, "{text}");
        assert_eq!(read.default_value("user_friendly_names"), Some("no"));
        if words.is_some() {
            assert_eq!(read.claims_single_paths(generation), policy == Require);
        }
    }
}

#[test]
fn off_excludes_every_disk_but_the_maps_the_host_runs_on() {
    let named = MultipathGeneration::Named;
    let text = policy_text(MultipathPolicy::Off, named, &OwnDisks::default()).unwrap();
    let read = Configuration::parse([text.as_str()]);
    assert_eq!(blacklist(&read), [("devnode", ".*")]);

    let text = policy_text(MultipathPolicy::Off, named, &own()).unwrap();
    let read = Configuration::parse([text.as_str()]);
    assert_eq!(blacklist(&read), [("wwid", ".*")]);
    let kept = read.settings().iter();
    let kept = kept.filter(|setting| setting.section == ["blacklist_exceptions"]);
    let kept: Vec<_> = kept.map(|setting| setting.value.as_str()).collect();
    assert_eq!(kept, ["^36000c29aa$"]);
}

#[test]
fn require_leaves_the_hosts_own_disks_as_they_are() {
    let text = policy_text(MultipathPolicy::Require, MultipathGeneration::Named, &own()).unwrap();
    let read = Configuration::parse([text.as_str()]);
    assert_eq!(blacklist(&read), [("wwid", "^nvme[.]15ad[+]x$")]);
    assert_eq!(read.default_value("skip_kpartx"), Some("yes"));
    let map: Vec<_> = read.settings().iter().rev().take(3).collect();
    let map: Vec<_> = map.iter().map(|row| (&*row.keyword, &*row.value)).collect();
    let wanted = [("skip_kpartx", "no"), ("alias", "mpatha"), ("wwid", "36000c29aa")];
    assert_eq!(map, wanted);
}

#[test]
fn words_that_would_break_the_file_are_refused() {
    for word in ["", "a\"b", "a\nb", "a b", "é", "a\\b", "^", "a]"] {
        let own = OwnDisks { plain: vec![word.to_owned()], ..OwnDisks::default() };
        let generation = MultipathGeneration::Named;
        let error = policy_text(MultipathPolicy::Off, generation, &own).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{word:?}");
    }
}

#[test]
fn our_own_files_are_known_and_others_are_not() {
    let text =
        policy_text(MultipathPolicy::Auto, MultipathGeneration::MainFileOnly, &OwnDisks::default());
    assert!(is_ours(&text.unwrap()));
    assert!(is_ours(&minimal_main_file()));
    assert!(!is_ours("defaults {\n}\n"));
    assert!(!is_ours(""));
}

const TEXT: &str = "# a comment\n\
    defaults {\n\
    \tfind_multipaths \"no\" # greedy\n\
    \tconfig_dir /etc/multipath/conf.d\n\
    \tuser_friendly_names yes\r\n\
    }\n\
    blacklist {\n\
    \tdevnode \"!^(sd[a-z]|nvme[0-9])\"\n\
    \tdevice {\n\
    \t\tvendor \"VMware\"\n\
    \t\tproduct \"2.5\"\" SSD #1\"\n\
    \t}\n\
    \tdevice { ! comment\n\
    \t\tvendor IBM\n\
    \t}\n\
    \tproperty SCSI_IDENT_\n\
    \tprotocol scsi:sas\n\
    }\n";

#[test]
fn an_existing_configuration_is_read() {
    let read = Configuration::parse([TEXT]);
    assert_eq!(read.default_value("config_dir"), Some("/etc/multipath/conf.d"));
    assert_eq!(read.find_multipaths(), Some(FindMultipaths::No));
    let wanted = [
        ("devnode", "!^(sd[a-z]|nvme[0-9])"),
        ("vendor", "VMware"),
        ("product", "2.5\" SSD #1"),
        ("vendor", "IBM"),
        ("property", "SCSI_IDENT_"),
        ("protocol", "scsi:sas"),
    ];
    assert_eq!(blacklist(&read), wanted);
}

#[test]
fn a_drop_in_has_the_last_word() {
    let drop_in = "defaults {\nfind_multipaths strict\n}\n";
    let read = Configuration::parse([TEXT, drop_in]);
    assert_eq!(read.find_multipaths(), Some(FindMultipaths::Strict));
    assert!(!read.claims_single_paths(MultipathGeneration::Named));
}

#[test]
fn silence_is_greedy_on_old_generations_only() {
    let read = Configuration::parse([]);
    let claims: Vec<_> =
        GENERATIONS.into_iter().map(|generation| read.claims_single_paths(generation)).collect();
    assert_eq!(claims, [true, true, false]);
}

#[test]
fn strange_lines_are_passed_over() {
    let text = "}\ndefaults {\nverbosity \"2\nfind_multipaths\na b c\n{\n}\n";
    let read = Configuration::parse([text]);
    assert_eq!(read.settings().len(), 1);
    let unknown = FindMultipaths::Unknown(String::new());
    assert_eq!(read.find_multipaths(), Some(unknown));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-c{}\"#! \t\r\né]*") {
        let _ = Configuration::parse([text.as_str()]);
    }

    #[test]
    fn every_text_we_write_is_read_without_a_strange_line(
        wwid in "[!-~]{1,12}", name in "[a-z0-9_.-]{1,8}", which in 0usize..9,
    ) {
        let own = OwnDisks { mapped: vec![OwnMap { wwid: wwid.clone(), name }], plain: vec![wwid] };
        let policy = MultipathPolicy::ALL[which / 3];
        if let Ok(text) = policy_text(policy, GENERATIONS[which % 3], &own) {
            let read = Configuration::parse([text.as_str()]);
            prop_assert_eq!(read.settings().len(), rows(&text), "{}", text);
        }
    }
}
