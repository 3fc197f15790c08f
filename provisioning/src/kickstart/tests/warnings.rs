//! Answers that are allowed but deserve a warning.

use super::super::{Answers, Release, Request};
use super::answers;

fn warnings(answers: &Answers) -> Vec<String> {
    Request::from_answers(answers).expect("the answers are right").warnings()
}

#[test]
fn a_careful_operator_is_told_nothing() {
    for release in [Release::El7, Release::El8, Release::El9, Release::El10] {
        assert!(warnings(&answers(release)).is_empty());
    }
}

#[test]
fn a_kernel_name_is_warned_about() {
    let answers = Answers { disk: "/dev/sda".into(), ..answers(Release::El9) };
    let warnings = warnings(&answers);
    assert!(warnings[0].contains("not an identity"), "{warnings:?}");
}

#[test]
fn a_password_alone_is_warned_about_where_sshd_refuses_it() {
    for release in Release::ALL {
        let answers = Answers { ssh_key: None, ..answers(release) };
        let warned = warnings(&answers).iter().any(|text| text.contains("ssh"));
        assert_eq!(warned, release >= Release::El9, "{release}");
    }
}

#[test]
fn release_6_says_that_it_cannot_run_mtctl() {
    let warnings = warnings(&answers(Release::El6));
    assert!(warnings[0].contains("--root"), "{warnings:?}");
}
