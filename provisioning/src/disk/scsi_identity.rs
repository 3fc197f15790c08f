//! The identity of a SCSI disk: which page provides it, and what is reported about faulty pages.
//! The bytes are decoded in `scsi`.

use super::{Disk, IdentitySource};
use crate::host::Host;
use crate::scsi::designator::Preference;
use crate::scsi::vpd::{VpdError, VpdPage80, VpdPage83};
use crate::scsi::wwid::Wwid;

/// Finds the identity of `disk`: page 0x83 by the standard's order of preference, else the serial
/// number of page 0x80, else nothing.
///
/// A fault inside a designator or a serial number is reported, and the others count. A page that
/// hides a part of itself may show it later, and with it a better name: until then, a name that is
/// unique only by somebody's care does not count, and the weaker page is not tried.
pub(super) fn identify(host: &Host, disk: &mut Disk) {
    let page80 = page(host, disk, 0x80).map(|bytes| VpdPage80::parse(&bytes));
    let page83 = page(host, disk, 0x83).map(|bytes| VpdPage83::parse(&bytes));
    let faults = faults(page80.as_ref(), page83.as_ref());
    let serial = page80.and_then(Result::ok).and_then(|page| page.serial().map(str::to_owned));
    let hides_something = page83.as_ref().is_some_and(hides_something);
    let named = page83.and_then(Result::ok).and_then(|page| named(&page, hides_something));
    (disk.wwid, disk.identity) = match named {
        Some(wwid) => (Some(wwid), IdentitySource::Page83),
        None if hides_something => (None, IdentitySource::None),
        None => match serial.as_deref().and_then(|serial| of_serial(disk, serial)) {
            Some(wwid) => (Some(wwid), IdentitySource::Page80),
            None => (None, IdentitySource::None),
        },
    };
    disk.serial = serial.or_else(|| disk.serial.take());
    match disk.wwid {
        Some(_) => disk.notes = faults,
        None => disk.problem = (!faults.is_empty()).then(|| faults.join("; ")),
    }
}

fn named(page: &VpdPage83, hides_something: bool) -> Option<Wwid> {
    let (designator, wwid) = page.identity()?;
    let is_weak = matches!(
        designator.preference(),
        Some(Preference::T10Vendor | Preference::NaaLocallyAssigned)
    );
    (!(is_weak && hides_something)).then_some(wwid)
}

fn faults(
    page80: Option<&Result<VpdPage80, VpdError>>,
    page83: Option<&Result<VpdPage83, VpdError>>,
) -> Vec<String> {
    let told = |page: &str, error: &VpdError| format!("VPD page {page}: {error}");
    let of_80 = page80.and_then(|page| page.as_ref().err()).map(|error| told("0x80", error));
    let of_83 = match page83 {
        Some(Ok(page)) => page.faults(),
        Some(Err(error)) => std::slice::from_ref(error),
        None => &[],
    };
    of_83.iter().map(|error| told("0x83", error)).chain(of_80).collect()
}

fn hides_something(page: &Result<VpdPage83, VpdError>) -> bool {
    match page {
        Ok(page) => page.faults().iter().any(VpdError::hides_the_rest),
        Err(_) => true,
    }
}

fn of_serial(disk: &Disk, serial: &str) -> Option<Wwid> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Wwid::from_unit_serial(&text(&disk.vendor), &text(&disk.model), serial)
}

/// A VPD page from sysfs, or by SG_IO if this kernel's sysfs has no VPD pages at all.
fn page(host: &Host, disk: &Disk, code: u8) -> Option<Vec<u8>> {
    let base = format!("/sys/block/{}/device", disk.name);
    let machine = host.machine();
    let file = |code: u8| format!("{base}/vpd_pg{code:02x}");
    if let Some(bytes) = machine.read_if_exists(file(code)).ok().flatten() {
        return (!bytes.is_empty()).then_some(bytes);
    }
    let has_pages =
        ["0", "80", "83"].iter().any(|code| machine.exists(format!("{base}/vpd_pg{code}")));
    if has_pages {
        return None;
    }
    host.inquire_vpd(&disk.path, code)
}
