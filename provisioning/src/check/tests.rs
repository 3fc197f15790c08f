//! What happens to findings after they are made; the findings themselves are tested in
//! `tests/tests/findings.rs`.

use std::collections::BTreeSet;

use crate::host::{Host, MemoryTree, RecordedHost};
use crate::observe;

use super::*;

fn observed(desired: &Desired) -> Observed {
    let host = Host::recorded(RecordedHost::new("", &MemoryTree::new(), Vec::new()));
    observe::observe(&host, desired).unwrap()
}

#[test]
fn a_file_that_may_not_be_read_skips_what_rests_on_it_and_nothing_else() {
    let desired = Desired::default();
    let before = observed(&desired);
    let mut after = before.clone();
    after.unreadable = BTreeSet::from(["/etc/multipath.conf".into()]);
    let findings = [&before, &after].map(|observed| check(observed, &desired).findings);
    for (before, after) in findings[0].iter().zip(&findings[1]) {
        if before.id == "multipath" {
            assert_eq!(after.status, Status::Skip);
            assert!(after.message.contains("/etc/multipath.conf"), "{after:?}");
        } else {
            assert_eq!(before, after);
        }
    }
}

#[test]
fn a_command_to_copy_carries_what_was_typed() {
    let desired = Desired {
        multipath: MultipathPolicy::Require,
        profile: Profile::Asr,
        retention_mount: "/srv/my retention".into(),
        ..Desired::default()
    };
    let mut observed = observed(&desired);
    observed.image = Some("/mnt/image".into());
    let rows = [
        (
            "mtctl prepare --only lvm",
            "mtctl prepare --root /mnt/image --multipath require --profile asr \
             --retention-mount '/srv/my retention' --only lvm",
        ),
        (
            "mtctl prepare --only tuning --profile asr --multipath off",
            "mtctl prepare --root /mnt/image --retention-mount '/srv/my retention' \
             --only tuning --profile asr --multipath off",
        ),
        ("sudo mtctl check", "sudo mtctl check"),
    ];
    for (hint, expected) in rows {
        let finding = Finding::fail("lvm", "x", "y").hint(hint);
        assert_eq!(with_same_options(finding, &observed, &desired).hint, expected);
    }
    let plain = Finding::fail("lvm", "x", "y").hint("mtctl prepare --only lvm");
    observed.image = None;
    assert_eq!(with_same_options(plain.clone(), &observed, &Desired::default()), plain);
}
