//! Feeds arbitrary bytes to the VMDK descriptor parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provisioning::vmware::vmdk;

fuzz_target!(|head: &[u8]| {
    if let Ok(descriptor) = vmdk::parse(head) {
        // Reading is a function of the bytes alone.
        assert_eq!(vmdk::parse(head).ok(), Some(descriptor));
    }
});
