//! How a whole disk is named to the installer, which finds out whether it exists.

use super::refusal;
use system::error::Result;

const BY_ID: &str = "/dev/disk/by-id/";
const NAME_MAX: usize = 255;

/// udev links that identify a whole disk rather than its position.
const IDENTITIES: [&str; 6] = ["wwn-", "scsi-", "ata-", "nvme-", "virtio-", "dm-uuid-mpath-"];

/// One whole disk: a kernel name (`sda`) or a link in `/dev/disk/by-id`.
///
/// The installer expands `*`, `?`, `[` and `|` and splits at `,` in a disk's name, and accepts
/// partitions as disks: none of these can occur here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk(String);

impl Disk {
    /// Parses `sda`, `/dev/sda` or `/dev/disk/by-id/NAME`; errors name `option`.
    ///
    /// # Errors
    ///
    /// Returns a usage error for everything else: a partition, a pattern, a path that gives a
    /// disk's position, a device-mapper or MD name.
    pub fn parse(option: &str, text: &str) -> Result<Self> {
        let checked = match text.strip_prefix(BY_ID) {
            Some(link) => check_link(link).map(|()| text.to_owned()),
            None => {
                let name = text.strip_prefix("/dev/").unwrap_or(text);
                check_kernel_name(name).map(|()| name.to_owned())
            }
        };
        checked.map(Self).map_err(|why| {
            refusal::of(option, text, why)
                .with_hint("name a whole disk: /dev/disk/by-id/wwn-0x… (best), or sda")
        })
    }

    /// Whether it identifies the disk itself rather than a place in the order of discovery.
    pub(crate) fn is_identity(&self) -> bool {
        self.0.starts_with(BY_ID)
    }

    /// The spelling for kickstart commands: `sda` or the whole by-id path. Every release from 6 on
    /// resolves both.
    pub(crate) fn in_kickstart(&self) -> &str {
        &self.0
    }
}

fn check_link(link: &str) -> std::result::Result<(), &'static str> {
    if link.len() > NAME_MAX || !link.bytes().all(is_udev_byte) {
        return Err("a by-id name has only letters, digits and + - . : = @ _");
    }
    if !IDENTITIES.iter().any(|kind| has_more_than(link, kind)) {
        return Err("this kind of by-id link does not name one whole disk");
    }
    if is_partition_link(link) {
        return Err("this is a partition, not a disk");
    }
    Ok(())
}

fn has_more_than(link: &str, kind: &str) -> bool {
    link.strip_prefix(kind).is_some_and(|rest| !rest.is_empty())
}

/// `…-part7`, as udev names partitions.
fn is_partition_link(link: &str) -> bool {
    link.rsplit_once("-part").is_some_and(|(_, number)| is_number(number))
}

/// udev replaces every other byte in the links it makes.
fn is_udev_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.:=@_".contains(&byte)
}

fn check_kernel_name(name: &str) -> std::result::Result<(), &'static str> {
    if name.starts_with("disk/by-path/") || name.starts_with("disk/by-diskseq/") {
        return Err("it says where a disk is attached, not which disk it is");
    }
    let lettered =
        ["sd", "vd", "xvd"].iter().filter_map(|kind| name.strip_prefix(kind)).any(is_letters);
    if lettered || is_nvme_namespace(name) {
        return Ok(());
    }
    Err("it is not the name of a whole disk")
}

fn is_letters(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// `nvme0n1`: controller and namespace without a partition.
fn is_nvme_namespace(name: &str) -> bool {
    name.strip_prefix("nvme")
        .and_then(|rest| rest.split_once('n'))
        .is_some_and(|(controller, namespace)| is_number(controller) && is_number(namespace))
}

fn is_number(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
