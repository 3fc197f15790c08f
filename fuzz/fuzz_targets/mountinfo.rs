//! Feeds arbitrary text to the readers of the kernel's tables: mountinfo, swaps and mdstat.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provisioning::md;
use system::mount::{MountTable, parse_swaps};

fuzz_target!(|text: &str| {
    if let Ok(table) = MountTable::parse(text) {
        let rows = text.lines().filter(|row| !row.is_empty()).count();
        assert_eq!(table.mounts().len(), rows);
        for mount in table.mounts() {
            assert!(table.of_device(mount.device).any(|one| one == mount));
            // Walking down must end, whatever cycles the table has.
            let _ = (table.topmost(&mount.mount_point), table.containing(&mount.mount_point));
        }
    }
    let _ = parse_swaps(text);
    let _ = md::parse_mdstat(text);
});
