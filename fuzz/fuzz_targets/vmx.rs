//! Feeds arbitrary bytes to the .vmx and .vmsd parsers: what is read is written again byte for
//! byte, and disk.EnableUUID is on after it was turned on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provisioning::vmware::{snapshot, vmx};

fuzz_target!(|bytes: &[u8]| {
    let _ = snapshot::parse(bytes);
    let Ok(parsed) = vmx::parse(bytes) else { return };
    assert_eq!(parsed.to_bytes(), bytes);
    let _ = (parsed.duplicate_keys(), parsed.is_encrypted(), parsed.text("displayName"));
    let Some(fixed) = parsed.with_enable_uuid() else { return };
    let again = vmx::parse(&fixed).expect("a .vmx that was fixed is read");
    assert_eq!(again.with_enable_uuid(), None);
});
