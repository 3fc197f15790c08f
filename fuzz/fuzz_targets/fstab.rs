//! Feeds arbitrary text to the fstab editor: what is read is written again byte for byte, and our
//! row can be put, and put again without a change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provisioning::fstab::{Fstab, Mark, RetentionRow};

fuzz_target!(|text: &str| {
    let fstab = Fstab::parse(text);
    assert_eq!(fstab.to_string(), text);
    for mark in [Mark::XOption, Mark::Comment] {
        let row = RetentionRow {
            uuid: "2c1e7d52-6f0b-4b8e-9a51-d3f17c3e90aa".to_owned(),
            mount_point: "/mnt/retention".to_owned(),
            filesystem: "ext4".to_owned(),
            mark,
        };
        let Ok(with_row) = fstab.with_retention(&row, |_| false) else { continue };
        let read = Fstab::parse(&with_row.to_string());
        let (_, ours) = read.ours().expect("our row is there");
        assert_eq!(ours.mount_point, row.mount_point);
        let again = read.with_retention(&row, |_| false).expect("our own row is no conflict");
        assert_eq!(again.to_string(), with_row.to_string());
    }
});
