//! Holding and releasing kernel updates around the operator's own text, udev rules, io_uring's
//! state.

use super::*;
use proptest::prelude::*;

fn held(text: &str) -> String {
    KernelHold::Dnf.held(text).unwrap()
}

fn released(text: &str) -> String {
    KernelHold::Dnf.released(text).unwrap()
}

#[test]
fn a_file_without_excludes_gets_a_block_behind_the_header() {
    let text = "[main]\ngpgcheck=1\n[other]\nexclude=kernel*\n";
    let wanted = "[main]\n# BEGIN mtctl\nexclude=kernel*\n# END mtctl\n\
        gpgcheck=1\n[other]\nexclude=kernel*\n";
    assert!(!KernelHold::Dnf.is_held(text), "excluded in another section");
    assert_eq!(held(text), wanted);
    assert_eq!(held(wanted), wanted);
    assert_eq!(released(wanted), text);
}

#[test]
fn a_file_without_the_section_gets_one() {
    let wanted = "# x\n# BEGIN mtctl\n[main]\nexclude=kernel*\n# END mtctl\n";
    assert_eq!(held("# x\n"), wanted);
    assert_eq!(held(wanted), wanted);
    assert_eq!(released(wanted), "# x\n");
    assert_eq!(held("[main]"), format!("[main]\n{}", &held("").replace("[main]\n", "")));
}

#[test]
fn an_existing_list_gets_one_more_package_and_is_given_back() {
    const MARK: &str = "# mtctl: kernel* was added to the next line";
    for (list, with_kernel) in [
        ("exclude=foo bar", "exclude=kernel* foo bar"),
        ("exclude = foo,bar ", "exclude = kernel* foo,bar "),
        ("excludepkgs=", "excludepkgs=kernel* "),
        ("exclude=\n  foo\n\tbar", "exclude=kernel* \n  foo\n\tbar"),
        ("exclude=foo ; why", "exclude=kernel* foo ; why"),
        ("exclude=kernel-headers", "exclude=kernel* kernel-headers"),
        ("exclude=kernel*x", "exclude=kernel* kernel*x"),
    ] {
        let text = format!("[main]\r\na=1\r\n{list}\r\nb=2");
        let wanted = format!("[main]\r\na=1\r\n{MARK}\r\n{with_kernel}\r\nb=2");
        assert_eq!(held(&text), wanted);
        assert_eq!(held(&wanted), wanted);
        assert_eq!(released(&wanted), text);
    }
}

#[test]
fn a_hold_by_somebody_else_is_left_alone() {
    for list in ["exclude=a,kernel*", "exclude=a\n# c\n b kernel*", "excludepkgs: kernel* a"] {
        let text = format!("[main]\n{list}\n");
        assert!(KernelHold::Yum.is_held(&text), "{text}");
        assert_eq!((held(&text), released(&text)), (text.clone(), text));
    }
}

#[test]
fn a_list_that_somebody_added_behind_ours_is_merged_since_the_last_one_counts() {
    let text = held("[main]\n") + "exclude=foo\n";
    assert!(!KernelHold::Yum.is_held(&text));
    let again = held(&text);
    assert!(KernelHold::Yum.is_held(&again));
    assert_eq!(released(&again), "[main]\nexclude=foo\n");
}

#[test]
fn a_mark_whose_line_was_rewritten_goes_away_alone() {
    let text = held("[main]\nexclude=foo\n").replace("exclude=kernel* foo", "exclude=foo");
    assert_eq!(released(&text), "[main]\nexclude=foo\n");
    assert_eq!(released(&text.replace("exclude=foo\n", "")), "[main]\n");
}

#[test]
fn apt_preferences_are_a_file_of_ours() {
    let text = KernelHold::Apt.held("").unwrap();
    assert!(KernelHold::Apt.is_held(&text) && !KernelHold::Apt.is_held(""));
    assert!(text.contains("\nPin-Priority: -1\n"));
    assert_eq!(KernelHold::Apt.released(&text).unwrap(), "");
}

#[test]
fn every_rule_matches_first_and_assigns_last() {
    let rules = UDEV_RULES.replace("\\\n  ", "");
    for rule in rules.lines().filter(|line| !line.starts_with('#')) {
        let mut assigning = false;
        for part in rule.split(", ") {
            let (key, value) = part.split_once('"').unwrap();
            assert!(value.ends_with('"') && !value[..value.len() - 1].contains('"'), "{part}");
            let assigns = !key.ends_with("==") && !key.ends_with("!=");
            assert!(key.ends_with('=') && (assigns || !assigning), "{rule}");
            assigning = assigns;
        }
        assert!(assigning, "{rule}");
        assert!(rule.starts_with("ACTION"), "removed devices have no attributes: {rule}");
    }
    let timeout = format!("ATTR{{timeout}}=\"{DISK_TIMEOUT_SECONDS}\"\n");
    assert!(UDEV_RULES.contains(&timeout));
}

proptest! {
    #[test]
    fn a_hold_is_put_once_and_can_be_taken_back(
        text in "((\\[main\\]|\\[x\\]|exclude ?= ?(a,b)?|excludepkgs=|[ \t]c d?|# e|;|f=1|)\
            \r?\n){0,7}",
    ) {
        let once = held(&text);
        prop_assert!(KernelHold::Dnf.is_held(&once), "{}", once);
        prop_assert_eq!(&held(&once), &once);
        prop_assert_eq!(released(&once), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\[main\\]\n|exclude|kernel\\*|[=: ,#é\r\n\t])*") {
        let _ = held(&text);
        let _ = released(&text);
    }
}
