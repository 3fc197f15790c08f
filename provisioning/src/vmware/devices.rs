//! The disk controllers of a .vmx and the virtual disks attached to them. `vmdk` reads the files of
//! the disks.

use std::collections::BTreeMap;
use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case};
use nom::character::complete::u16 as number;
use nom::combinator::{opt, rest, value};
use nom::sequence::preceded;
use nom::{IResult, Parser};

use super::encoding::FileName;
use super::vmx::{Vmx, is_true};

/// What a disk can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bus {
    /// Parallel SCSI or SAS; the only one whose disks show their `ddb.uuid` to the guest.
    Scsi,
    /// SATA.
    Sata,
    /// NVMe.
    Nvme,
    /// IDE.
    Ide,
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scsi => "scsi",
            Self::Sata => "sata",
            Self::Nvme => "nvme",
            Self::Ide => "ide",
        })
    }
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its bus.
    pub bus: Bus,
    /// Its number on that bus.
    pub number: u16,
    /// `virtualDev` in lower case (`pvscsi`, `lsilogic`, `lsisas1068`, `buslogic`), or the bus if
    /// the file does not specify it.
    pub kind: String,
}

impl Controller {
    /// Its name in the file: `scsi0`.
    pub fn name(&self) -> String {
        format!("{}{}", self.bus, self.number)
    }
}

/// A virtual disk as the .vmx attaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its slot as named in the file: `scsi0:1`.
    pub slot: String,
    /// Its bus.
    pub bus: Bus,
    /// `fileName`.
    pub file: FileName,
    /// `mode`, if specified: `independent-persistent`, …
    pub mode: Option<String>,
}

/// The properties of one controller or one slot: name in lower case, and value as written.
type Properties = BTreeMap<String, Vec<u8>>;
/// The bus and number of a controller, and the unit for a slot.
type Address = (Bus, u16, Option<u16>);

/// The controllers and disks of `vmx` that are present, in the order of their addresses.
pub fn of(vmx: &Vmx<'_>) -> (Vec<Controller>, Vec<Attachment>) {
    let devices = devices(vmx);
    let mut controllers: Vec<Controller> = Vec::new();
    let mut disks = Vec::new();
    for (&(bus, number, unit), properties) in &devices {
        let above = devices.get(&(bus, number, None));
        if is_absent(properties) || above.is_some_and(is_absent) {
            continue;
        }
        let Some(unit) = unit else {
            controllers.push(controller(vmx, bus, number, Some(properties)));
            continue;
        };
        let Some(disk) = attachment(vmx, bus, number, unit, properties) else {
            continue;
        };
        // IDE controllers exist without a row of their own.
        if controllers.last().is_none_or(|last| (last.bus, last.number) != (bus, number)) {
            controllers.push(controller(vmx, bus, number, above));
        }
        disks.push(disk);
    }
    (controllers, disks)
}

fn devices(vmx: &Vmx<'_>) -> BTreeMap<Address, Properties> {
    let mut devices: BTreeMap<Address, Properties> = BTreeMap::new();
    for (_, assignment) in vmx.dictionary().assignments() {
        let Ok((_, (address, property))) = device_key(assignment.key) else {
            continue;
        };
        let property = String::from_utf8_lossy(property).to_ascii_lowercase();
        devices.entry(address).or_default().entry(property).or_insert(assignment.value());
    }
    devices
}

/// `scsi0.virtualDev` or `scsi0:1.fileName`.
fn device_key(key: &[u8]) -> IResult<&[u8], (Address, &[u8])> {
    let bus = alt((
        value(Bus::Scsi, tag_no_case("scsi")),
        value(Bus::Sata, tag_no_case("sata")),
        value(Bus::Nvme, tag_no_case("nvme")),
        value(Bus::Ide, tag_no_case("ide")),
    ));
    let unit = opt(preceded(tag(":"), number));
    let property = preceded(tag("."), rest);
    let (left, (bus, controller, unit, property)) = (bus, number, unit, property).parse(key)?;
    Ok((left, ((bus, controller, unit), property)))
}

fn is_absent(properties: &Properties) -> bool {
    let present = properties.get("present");
    present.is_some_and(|value| value.eq_ignore_ascii_case(b"false") || value == b"0")
}

fn controller(vmx: &Vmx<'_>, bus: Bus, number: u16, properties: Option<&Properties>) -> Controller {
    let stated = properties.and_then(|properties| properties.get("virtualdev"));
    let kind = stated.map(|kind| vmx.decode(kind).to_ascii_lowercase());
    Controller { bus, number, kind: kind.unwrap_or_else(|| bus.to_string()) }
}

/// A slot that is not marked as present is empty: VMware leaves the other rows of a device that was
/// once attached there.
fn attachment(
    vmx: &Vmx<'_>,
    bus: Bus,
    number: u16,
    unit: u16,
    properties: &Properties,
) -> Option<Attachment> {
    properties.get("present").filter(|value| is_true(value))?;
    let file = vmx.file_name(properties.get("filename").filter(|file| !file.is_empty())?);
    let text = |property: &str| properties.get(property).map(|value| vmx.decode(value));
    let kind = text("devicetype").unwrap_or_default().to_ascii_lowercase();
    if !is_disk(&kind, file.as_str()) {
        return None;
    }
    Some(Attachment { slot: format!("{bus}{number}:{unit}"), bus, file, mode: text("mode") })
}

/// Not a drive for media, and not a device of the host passed through. A raw device mapping is a
/// disk: its file is a VMDK.
fn is_disk(kind: &str, file: &str) -> bool {
    let is_medium = kind.contains("cdrom") || file.to_ascii_lowercase().ends_with(".iso");
    let is_passed_through = kind.contains("passthru") && !kind.contains("rdm");
    !is_medium && !is_passed_through
}

#[cfg(test)]
mod tests {
    use super::super::vmx;
    use super::*;

    fn found(text: &str) -> (Vec<String>, Vec<String>) {
        let (controllers, disks) = of(&vmx::parse(text.as_bytes()).unwrap());
        let controller = |c: &Controller| format!("{} {}", c.name(), c.kind);
        let disk = |d: &Attachment| format!("{} {}", d.slot, d.file);
        (controllers.iter().map(controller).collect(), disks.iter().map(disk).collect())
    }

    #[test]
    fn controllers_of_every_kind_and_their_disks_are_found_in_order() {
        let text = "scsi1.present = \"TRUE\"\nscsi1.virtualDev = \"LsiSas1068\"\n\
            scsi0.virtualDev = \"pvscsi\"\nscsi0.present = \"TRUE\"\n\
            scsi0.pciSlotNumber = \"160\"\nSCSI0:10.filename = \"c.vmdk\"\n\
            scsi0:2.fileName = \"b.vmdk\"\nscsi0:2.present = \"1\"\nsata0.present = \"TRUE\"\n\
            sata0:1.fileName = \"s.vmdk\"\nscsi2.present = \"TRUE\"\n\
            scsi0:10.present = true\nsata0:1.present = \"TRUE\"\nnvme0:0.present = \"True\"\n\
            ide1:0.present = \"TRUE\"\nnvme0.present = \"TRUE\"\n\
            nvme0:0.fileName = \"n.vmdk\"\nide1:0.fileName = \"i.vmdk\"\n";
        let (controllers, disks) = found(text);
        let expected =
            ["scsi0 pvscsi", "scsi1 lsisas1068", "scsi2 scsi", "sata0 sata", "nvme0 nvme"];
        assert_eq!(controllers[..5], expected);
        assert_eq!(controllers[5..], ["ide1 ide"]);
        let expected = ["scsi0:2 b.vmdk", "scsi0:10 c.vmdk", "sata0:1 s.vmdk", "nvme0:0 n.vmdk"];
        assert_eq!(disks[..4], expected);
        assert_eq!(disks[4..], ["ide1:0 i.vmdk"]);
    }

    #[test]
    fn what_is_not_there_or_not_a_disk_is_left_out() {
        let text = "scsi0.present = \"FALSE\"\nscsi0:0.fileName = \"a.vmdk\"\n\
            scsi1.present = \"TRUE\"\nscsi1:0.fileName = \"b.vmdk\"\nscsi1:0.present = \"false\"\n\
            scsi1:1.fileName = \"\"\nscsi1:2.fileName = \"c.iso\"\n\
            scsi1:3.fileName = \"auto detect\"\n\
            scsi1:3.deviceType = \"CDROM-raw\"\nscsi1:4.fileName = \"/dev/sg1\"\n\
            scsi1:4.deviceType = \"scsi-passthru\"\nscsi1:5.fileName = \"rdm.vmdk\"\n\
            scsi1:5.deviceType = \"scsi-passThru-rdm\"\nscsi1:99999.fileName = \"d.vmdk\"\n\
            scsi.fileName = \"e.vmdk\"\nsched.scsi1:6.fileName = \"f.vmdk\"\n\
            scsi1:7.fileName = \"left.vmdk\"\nscsi1:8.fileName = \"left.vmdk\"\n\
            scsi1:8.present = \"\"\nscsi1:1.present = \"1\"\nscsi1:2.present = \"1\"\n\
            scsi1:3.present = \"1\"\nscsi1:4.present = \"1\"\nscsi1:5.present = \"1\"\n\
            scsi0:0.present = \"TRUE\"\n";
        let (controllers, disks) = found(text);
        assert_eq!(controllers, ["scsi1 scsi"]);
        assert_eq!(disks, ["scsi1:5 rdm.vmdk"]);
    }
}
