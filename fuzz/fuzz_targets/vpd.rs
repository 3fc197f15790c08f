//! Feeds arbitrary bytes to the decoders of a disk's identity, and checks what they promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provisioning::scsi::{VpdPage80, VpdPage83, Wwid};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(page) = VpdPage83::parse(bytes) {
        check_identity(bytes, &page);
    }
    if let Ok(page) = VpdPage80::parse(bytes) {
        check_serial(page.serial());
    }
    if let Ok(wwid) = std::str::from_utf8(bytes)
        .map_or(Err(()), |text| Wwid::parse_operator(text).map_err(|_| ()))
    {
        check_text(&wwid);
    }
});

/// A page that is cut says so, and what it names reads back from its text.
fn check_identity(bytes: &[u8], page: &VpdPage83) {
    let page_len = 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    if let Some(whole) = bytes.get(..page_len) {
        assert_eq!(VpdPage83::parse(whole).as_ref(), Ok(page));
        let cut = VpdPage83::parse(&whole[..page_len - 1]);
        assert!(cut.map_or(true, |cut| !cut.faults().is_empty()));
    } else {
        assert!(!page.faults().is_empty());
    }
    if let Some((designator, wwid)) = page.identity() {
        assert_eq!(designator.wwid().as_ref(), Some(&wwid));
        check_text(&wwid);
    }
}

fn check_serial(serial: Option<&str>) {
    let Some(serial) = serial else { return };
    assert!(!serial.is_empty() && serial.trim() == serial);
    if let Some(wwid) = Wwid::from_unit_serial("VMware", "Virtual disk", serial) {
        check_text(&wwid);
    }
}

/// A text form is canonical, has no blanks, and its udev form is one word.
fn check_text(wwid: &Wwid) {
    let again = Wwid::parse_operator(wwid.as_str());
    assert_eq!(again.ok().as_ref(), Some(wwid));
    assert!(wwid.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
    if let Some(udev) = wwid.scsi_id_text() {
        assert!(!udev.contains('/') && !udev.contains(' '));
    }
}
