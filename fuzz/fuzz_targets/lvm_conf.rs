//! Feeds arbitrary text to the editors of LVM's and MD's files and to the reader of multipath's:
//! what they put they find again, and it can be taken away.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provisioning::lvm::{self, DeviceSelection, OwnLvm};
use provisioning::multipath::configuration::Configuration;
use provisioning::{marked_block, md};

fuzz_target!(|text: &str| {
    let own = OwnLvm {
        physical_volumes: vec!["/dev/disk/by-id/wwn-0x6000c293-part2".to_owned()],
        volume_groups: vec!["rl".to_owned()],
    };
    for selection in [DeviceSelection::Filter, DeviceSelection::DevicesFile] {
        let Ok(guarded) = lvm::with_guard(text, selection, &own) else { continue };
        assert_eq!(lvm::with_guard(&guarded, selection, &own).as_ref(), Ok(&guarded));
        assert!(marked_block::remove(&guarded).is_ok());
    }
    let _ = lvm::parse_devices_file(text);
    let _ = lvm::parse_physical_volumes(text);
    let arrays = ["0d1e2f30:41526374:8596a7b8:c9daebfc".to_owned()];
    if let Ok(edited) = md::with_auto_off(text, &arrays) {
        let again = md::with_auto_off(&edited, &arrays);
        assert_eq!(again.as_ref(), Ok(&edited));
    }
    let _ = Configuration::parse([text].into_iter());
});
