//! VPD pages of real devices, with the identity that Linux derived from them; for tests. Recorded
//! in virtual machines from sysfs and `scsi_id`; nothing here is made up.

#![cfg(test)]

/// The pages of one device, in hex, and the results of the kernel and `scsi_id`.
pub(super) struct Recorded {
    /// What the device was.
    pub(super) device: &'static str,
    /// `vpd_pg83`.
    pub(super) page83: &'static str,
    /// `vpd_pg80`, if the device had it.
    pub(super) page80: Option<&'static str>,
    /// Vendor and model in sysfs.
    pub(super) vendor_model: (&'static str, &'static str),
    /// The `wwid` attribute in sysfs, if the kernel had one.
    pub(super) kernel_wwid: Option<&'static str>,
    /// The result of `scsi_id` for page 0x83, unless it used a vendor specific designator.
    pub(super) scsi_id: Option<&'static str>,
    /// The result of `scsi_id` for page 0x80, observed or, if it was not run, derived by its rule.
    pub(super) scsi_id_page80: Option<&'static str>,
}

/// Page 0x83 of QEMU with `wwn=0x6000c293e4b5a1b2`: NAA 6 in 8 bytes instead of the standard's 16.
/// The kernel showed `naa.6000c293e4b5a1b2` for it; multipath-tools ignore it as invalid.
pub(super) const CUT_NAA_6: &str = "0083003002000020363030306332393365346235613162326333\
    6434653566363037313832393361010300086000c293e4b5a1b2";

/// Every recorded device whose pages are well formed.
pub(super) const RECORDED: [Recorded; 9] = [
    Recorded {
        device: "QEMU mptsas with a 64-bit wwn",
        page83: "008300140200000473617331010300085000c29000000001",
        page80: Some("0080000473617331"),
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: Some("naa.5000c29000000001"),
        scsi_id: Some("35000c29000000001"),
        scsi_id_page80: Some("SVMware_Virtual_disk_sas1"),
    },
    Recorded {
        device: "QEMU virtio-scsi with a 64-bit wwn",
        page83: "0083001302000003616263010300085000c29000000001",
        page80: Some("00800003616263"),
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: Some("naa.5000c29000000001"),
        scsi_id: Some("35000c29000000001"),
        scsi_id_page80: Some("SVMware_Virtual_disk_abc"),
    },
    Recorded {
        device: "tgt, told to identify as VMware does",
        page83: "0083004802010024363030306332393365346235613162326333643465356636303731383239\
            336100000000010300083000000100000001010300106000c293e4b5a1b2c3d4e5f60718293a",
        page80: Some(
            "0080002420202020363030306332393365346235613162326333643465356636303731383239\
            3361",
        ),
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: Some("naa.6000c293e4b5a1b2c3d4e5f60718293a"),
        scsi_id: Some("36000c293e4b5a1b2c3d4e5f60718293a"),
        scsi_id_page80: Some("SVMware_Virtual_disk_6000c293e4b5a1b2c3d4e5f60718293a"),
    },
    Recorded {
        device: "tgt with the identity it makes up",
        page83: "0083004802010024494554202020202030303031303030320000000000000000000000000000\
            0000000000000103000830000001000000020103001060000000000000000e00000000010002",
        page80: Some(
            "0080002420202020202020202020202020202020202020202020202020202020202062656166\
            3132",
        ),
        vendor_model: ("IET     ", "VIRTUAL-DISK    "),
        kernel_wwid: Some("naa.60000000000000000e00000000010002"),
        scsi_id: Some("360000000000000000e00000000010002"),
        scsi_id_page80: Some("SIET_VIRTUAL-DISK_beaf12"),
    },
    Recorded {
        device: "tgt, told the NAA identity but no serial number",
        page83: "0083004802010024363030306332396161616161616161616161616161616161616161616161\
            613300000000010300083000000100000003010300106000c29aaaaaaaaaaaaaaaaaaaaaaaa3",
        page80: Some(
            "0080002420202020202020202020202020202020202020202020202020202020202062656166\
            3133",
        ),
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: Some("naa.6000c29aaaaaaaaaaaaaaaaaaaaaaaa3"),
        scsi_id: Some("36000c29aaaaaaaaaaaaaaaaaaaaaaaa3"),
        scsi_id_page80: Some("SVMware_Virtual_disk_beaf13"),
    },
    Recorded {
        device: "scsi_debug, with both an NAA 3 and a T10 designator",
        page83: "008300700201001c564d7761726500205669727475616c5f6469736b00202020323030300103\
            000833333330000007d061940004000000016193000832222220000007ce6195000400000a00\
            61a3000832222220000007cd63a800186e61612e333232323232323030303030303743440000\
            0000",
        page80: Some("0080000432303030"),
        vendor_model: ("VMware  ", "Virtual_disk    "),
        kernel_wwid: Some("naa.33333330000007d0"),
        scsi_id: Some("333333330000007d0"),
        scsi_id_page80: Some("SVMware_Virtual_disk_2000"),
    },
    Recorded {
        device: "LIO over tcm_loop, with designators of port and device",
        page83: "0083009f010300106000c293e4b5a1b2c3d4e5f60718293a0201002f564d7761726520205669\
            727475616c206469736b3a336534623561316232633364346535663630373138323933610061\
            9400040000000161950004000000000106000400000000639800206e61612e36303031343035\
            3030303030303030312c742c30783030303100000063a800186e61612e363030313430353030\
            3030303030303100000000",
        page80: Some("0080001a3365346235613162326333643465356636303731383239336100"),
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: Some("naa.6000c293e4b5a1b2c3d4e5f60718293a"),
        scsi_id: Some("36000c293e4b5a1b2c3d4e5f60718293a"),
        scsi_id_page80: Some("SVMware_Virtual_disk_3e4b5a1b2c3d4e5f60718293a"),
    },
    Recorded {
        device: "QEMU with a drive id only: a vendor specific designator",
        page83: "00830006020000026431",
        page80: None,
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: None,
        scsi_id: None,
        scsi_id_page80: None,
    },
    Recorded {
        device: "QEMU with a serial number only",
        page83: "00830008020000046c736931",
        page80: Some("008000046c736931"),
        vendor_model: ("VMware  ", "Virtual disk    "),
        kernel_wwid: None,
        scsi_id: None,
        scsi_id_page80: Some("SVMware_Virtual_disk_lsi1"),
    },
];

/// The bytes of a hex text.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0, "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
