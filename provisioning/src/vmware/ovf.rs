//! An OVF package of disks: the descriptor of a machine that has them, and the manifest with their
//! hashes (DSP0243, OVF 1.1, as ESXi reads it). Pure text; the disks are made elsewhere.

use std::fmt::Write;

/// The unit in which the capacity of a VMDK is counted.
const SECTOR_BYTES: u64 = 512;
/// Disks on one SCSI controller, which itself has address 7.
const DISKS_OF_A_CONTROLLER: usize = 15;
/// The most SCSI controllers that a virtual machine can have.
const CONTROLLERS_MAX: usize = 4;
/// The most disks that a machine can have.
pub const DISKS_MAX: usize = CONTROLLERS_MAX * DISKS_OF_A_CONTROLLER;

/// A disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Name of its file, beside the descriptor.
    pub file: String,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// Size of the disk, in bytes. A VMDK consists of whole sectors: the descriptor gives the size
    /// of the VMDK, which reads as zeros after the end of a disk that does not.
    pub capacity_bytes: u64,
}

/// The type of the disks' controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// LSI Logic Parallel.
    LsiLogic,
    /// LSI Logic SAS.
    LsiLogicSas,
    /// VMware Paravirtual.
    Paravirtual,
}

impl Controller {
    /// VMware's name for it in an OVF.
    fn subtype(self) -> &'static str {
        match self {
            Self::LsiLogic => "lsilogic",
            Self::LsiLogicSas => "lsilogicsas",
            Self::Paravirtual => "VirtualSCSI",
        }
    }
}

/// A machine; it boots from the first disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// The type of its controllers; there is one for every 15 disks.
    pub controller: Controller,
    /// In the order of their SCSI addresses; at most [`DISKS_MAX`].
    pub disks: Vec<Disk>,
}

impl Machine {
    /// The text of its descriptor. The number of processors (one) and the memory (2 GiB) are not
    /// known; the values are placeholders for whatever the importer chooses.
    #[must_use]
    pub fn descriptor(&self) -> String {
        let mut text = String::from(HEAD);
        self.references(&mut text);
        self.machine(&mut text);
        text.push_str("</Envelope>\n");
        text
    }

    fn references(&self, text: &mut String) {
        text.push_str("  <References>\n");
        for (index, disk) in self.disks.iter().enumerate() {
            let (file, bytes) = (escaped(&disk.file), disk.file_bytes);
            let _ = writeln!(
                text,
                "    <File ovf:href=\"{file}\" ovf:id=\"file{index}\" ovf:size=\"{bytes}\"/>"
            );
        }
        text.push_str("  </References>\n  <DiskSection>\n    <Info>The disks</Info>\n");
        for (index, disk) in self.disks.iter().enumerate() {
            let _ = writeln!(
                text,
                "    <Disk ovf:capacity=\"{}\" ovf:capacityAllocationUnits=\"byte\" \
                 ovf:diskId=\"disk{index}\" ovf:fileRef=\"file{index}\" ovf:format=\"{FORMAT}\"/>",
                disk.capacity_bytes.next_multiple_of(SECTOR_BYTES)
            );
        }
        text.push_str("  </DiskSection>\n");
    }

    fn machine(&self, text: &mut String) {
        let name = escaped(&self.name);
        text.push_str(&MACHINE.replace("{name}", &name));
        item(text, &[("ElementName", "1 processor"), ("InstanceID", "1"), PROCESSOR, ONE]);
        item(text, &[MEBIBYTES, ("ElementName", "2048 MB"), ("InstanceID", "2"), MEMORY, TWO_GIB]);
        for number in 0..self.disks.len().div_ceil(DISKS_OF_A_CONTROLLER) {
            self.controller_item(text, number);
        }
        for index in 0..self.disks.len() {
            disk_item(text, index);
        }
        text.push_str("    </VirtualHardwareSection>\n  </VirtualSystem>\n");
    }

    fn controller_item(&self, text: &mut String, number: usize) {
        let address = number.to_string();
        let (name, instance) = (format!("SCSI controller {number}"), controller_instance(number));
        item(
            text,
            &[
                ("Address", &address),
                ("ElementName", &name),
                ("InstanceID", &instance),
                ("ResourceSubType", self.controller.subtype()),
                ("ResourceType", "6"),
            ],
        );
    }
}

fn disk_item(text: &mut String, index: usize) {
    let (number, place) = (index / DISKS_OF_A_CONTROLLER, index % DISKS_OF_A_CONTROLLER);
    // 7 is the controller's own address.
    let address = (if place < 7 { place } else { place + 1 }).to_string();
    let (name, host) = (format!("disk {index}"), format!("ovf:/disk/disk{index}"));
    let (instance, parent) = ((100 + index).to_string(), controller_instance(number));
    item(
        text,
        &[
            ("AddressOnParent", &address),
            ("ElementName", &name),
            ("HostResource", &host),
            ("InstanceID", &instance),
            ("Parent", &parent),
            ("ResourceType", "17"),
        ],
    );
}

fn controller_instance(number: usize) -> String {
    (10 + number).to_string()
}

const ONE: (&str, &str) = ("VirtualQuantity", "1");
const PROCESSOR: (&str, &str) = ("ResourceType", "3");
const MEMORY: (&str, &str) = ("ResourceType", "4");
const MEBIBYTES: (&str, &str) = ("AllocationUnits", "byte * 2^20");
const TWO_GIB: (&str, &str) = ("VirtualQuantity", "2048");

/// The elements of an item are in alphabetical order, as its schema requires.
fn item(text: &mut String, elements: &[(&str, &str)]) {
    text.push_str("      <Item>\n");
    for (name, value) in elements {
        let _ = writeln!(text, "        <rasd:{name}>{}</rasd:{name}>", escaped(value));
    }
    text.push_str("      </Item>\n");
}

const FORMAT: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

const HEAD: &str = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" \
xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData\" \
xmlns:vssd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData\">
";

/// Version 13 of the virtual hardware is supported by ESXi 6.5 and later.
const MACHINE: &str = "  <VirtualSystem ovf:id=\"{name}\">
    <Info>A machine with these disks</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id=\"1\">
      <Info>Not known</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Processors and memory are to be chosen</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
";

/// Escapes `text` for an XML document; characters that XML cannot represent are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                escaped.push(character);
            }
            _ => {}
        }
    }
    escaped
}

/// The manifest of files, given by name and SHA-256 in hexadecimal digits.
#[must_use]
pub fn manifest<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines = files.into_iter().map(|(name, hash)| format!("SHA256({name})= {hash}\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(count: usize, name: &str) -> Machine {
        let disk = |index| Disk {
            file: format!("d{index}.vmdk"),
            file_bytes: 100 + index as u64,
            capacity_bytes: 512,
        };
        let controller = Controller::LsiLogicSas;
        Machine { name: name.to_owned(), controller, disks: (0..count).map(disk).collect() }
    }

    /// The values of all elements with this name.
    fn values(text: &str, element: &str) -> Vec<String> {
        let (begin, end) = (format!("<rasd:{element}>"), format!("</rasd:{element}>"));
        let parts = text.split(&begin).skip(1);
        parts.map(|part| part.split(&end).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn disks_have_their_files_sizes_and_order_and_the_controllers_own_address_is_none_of_them() {
        let text = machine(17, "web").descriptor();
        assert!(text.contains("<File ovf:href=\"d3.vmdk\" ovf:id=\"file3\" ovf:size=\"103\"/>"));
        assert!(text.contains("ovf:capacity=\"512\" ovf:capacityAllocationUnits=\"byte\""));
        let mut expected: Vec<_> = (0..16).filter(|address| *address != 7).collect();
        expected.extend([0, 1]);
        let addresses = values(&text, "AddressOnParent");
        assert_eq!(addresses, expected.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(values(&text, "ResourceSubType"), ["lsilogicsas"; 2]);
        let parents = values(&text, "Parent");
        assert_eq!((&*parents[14], &*parents[15]), ("10", "11"));
        assert_eq!(values(&text, "HostResource")[16], "ovf:/disk/disk16");
    }

    #[test]
    fn a_disk_has_the_whole_sectors_that_its_vmdk_has() {
        for (bytes, capacity) in [(512, 512), (513, 1024), (104_858_149, 104_858_624)] {
            let mut machine = machine(1, "web");
            machine.disks[0].capacity_bytes = bytes;
            let text = machine.descriptor();
            assert!(text.contains(&format!("ovf:capacity=\"{capacity}\"")), "{bytes}: {text}");
        }
    }

    #[test]
    fn each_thing_of_the_machine_has_a_number_of_its_own_and_elements_are_in_order() {
        let text = machine(DISKS_MAX, "web").descriptor();
        let mut numbers = values(&text, "InstanceID");
        let count = numbers.len();
        numbers.sort();
        numbers.dedup();
        assert_eq!((numbers.len(), count), (2 + 4 + 60, 2 + 4 + 60));
        for item in text.split("<Item>").skip(1) {
            let names = item.split("<rasd:").skip(1);
            let names: Vec<_> = names.map(|name| name.split('>').next().unwrap()).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
    }

    #[test]
    fn a_name_cannot_end_an_element_or_be_no_xml() {
        let text = machine(1, "a\"<b>&\u{1}\u{ffff}é").descriptor();
        assert!(text.contains("<Name>a&quot;&lt;b&gt;&amp;é</Name>"), "{text}");
    }

    #[test]
    fn a_manifest_has_a_line_for_each_file() {
        let files = [("web.ovf", "00ff".to_owned()), ("d0.vmdk", "1234".to_owned())];
        assert_eq!(manifest(files), "SHA256(web.ovf)= 00ff\nSHA256(d0.vmdk)= 1234\n");
    }
}
