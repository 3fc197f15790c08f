//! VPD pages and the texts that Linux derives from them, as recorded in virtual machines. The
//! program under test decodes them.

/// The NAA identifier of the recorded VMware disk.
pub const RECORDED_NAA: u128 = 0x6000_c293_e4b5_a1b2_c3d4_e5f6_0718_293a;

/// Page 0x83 as on the recorded disk, for the NAA identifier `naa`: a T10 designator with the
/// digits as text, a locally assigned NAA of 8 bytes, and the NAA of 16 bytes.
pub fn page83(naa: u128) -> Vec<u8> {
    let mut page = vec![0x00, 0x83, 0x00, 0x48, 0x02, 0x01, 0x00, 0x24];
    page.extend(format!("{naa:032x}").bytes());
    page.extend([0; 4]);
    page.extend([0x01, 0x03, 0x00, 0x08, 0x30, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01]);
    page.extend([0x01, 0x03, 0x00, 0x10]);
    page.extend(naa.to_be_bytes());
    page
}

/// Page 0x80 as on the recorded disk: the same digits after four blanks.
pub fn page80(naa: u128) -> Vec<u8> {
    let mut page = vec![0x00, 0x80, 0x00, 0x24];
    page.extend(b"    ");
    page.extend(format!("{naa:032x}").bytes());
    page
}

/// sysfs `wwid`, as the kernel prints it for [`page83`].
pub fn kernel_wwid(naa: u128) -> String {
    format!("naa.{naa:032x}")
}

/// The output of `scsi_id --page=0x83` for [`page83`].
pub fn scsi_id(naa: u128) -> String {
    format!("3{naa:032x}")
}

/// Decodes hexadecimal digits.
///
/// # Panics
/// If they are not hexadecimal digits; only for constants in tests.
pub fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte =
        |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok());
    pairs.map(|pair| byte(pair).expect("invariant: pairs of hexadecimal digits")).collect()
}
