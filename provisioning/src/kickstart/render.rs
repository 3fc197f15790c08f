//! Renders a [`Request`] as the text of a kickstart file. Every value was checked when the request
//! was made; what the installed system runs is in `first_boot`.
//!
//! The core property: commands that destroy data name only the one disk, and every other disk is
//! hidden from the installer, so that commands which name no disk cannot reach the others either.

use std::net::IpAddr;

use super::first_boot;
use super::layout::PARTITIONS;
use super::network::{Addressing, Network, mask_v4};
use super::origin::PackageOrigin;
use super::release::Release;
use super::{Interface, Request};

/// The kickstart file for `request`: UTF-8 text that ends in a newline, always the same for the
/// same request (no dates, no random parts).
pub fn render(request: &Request) -> String {
    let sections = [
        header(request),
        installer(request),
        disks(request),
        network(request),
        system(request),
        login(request),
        packages(request.release),
        kdump_addon(request.release),
        first_boot::render(request),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn header(request: &Request) -> String {
    let release = request.release;
    let disk = request.disk.in_kickstart();
    let mut text = format!(
        "\
#version=RHEL{release}
# Unattended installation of a master target: CentOS/RHEL {release} on ONE disk,
#   {disk}
# whose content is lost. No other disk is touched. Printed by mtctl kickstart.
#
# Before the VM starts from it:
# - On VMware, with the VM powered off, set disk.EnableUUID = \"TRUE\" in its configuration
#   parameters. Without it disks have no identity in the guest, and no link in /dev/disk/by-id.
# - Give it 4 cores, 6 GB of memory, a root disk of 100 GB and no snapshots.
"
    );
    text.push_str(if request.disk.is_identity() {
        "\
# - If no disk has that link, the installation stops at once, before anything is written.
"
    } else {
        "\
# - WARNING: the disk above is a kernel name. Which disk has it may differ from boot to boot.
#   Detach every other disk for the installation, or name /dev/disk/by-id/wwn-0x... instead.
"
    });
    if request.root_password_hash.is_some() {
        text.push_str("# - This file has a password hash in it: keep it from others.\n");
    }
    text
}

fn installer(request: &Request) -> String {
    let mut text = String::from(
        "\
# A question stops the installation instead of waiting for somebody to pick the wrong disk.
cmdline
",
    );
    match request.release {
        Release::El6 => text.push_str("install\nunsupported_hardware\n"),
        Release::El7 => text.push_str("install\neula --agreed\n"),
        Release::El8 | Release::El9 | Release::El10 => text.push_str("eula --agreed\n"),
    }
    match &request.packages_from {
        PackageOrigin::Cdrom => text.push_str("cdrom\n"),
        PackageOrigin::Tree(url) => text.push_str(&format!("url --url=\"{}\"\n", url.as_str())),
    }
    text.push_str(
        "\
firstboot --disable
skipx
# The medium is ejected, or the VM would boot from it and install again.
reboot --eject
",
    );
    text
}

fn disks(request: &Request) -> String {
    let disk = request.disk.in_kickstart();
    let mut text = format!(
        "\
# Disks. ignoredisk hides every disk but one from the installer, customers' disks and the retention
# disk among them; the lines below cannot reach what is hidden.
ignoredisk --only-use={disk}
# zerombr answers \"yes\" to \"initialise this blank disk?\". It names no disk and would \
answer so for
# every blank disk; there is only the one above to ask about.
zerombr
clearpart --all --initlabel --drives={disk}
{}
",
        bootloader(request)
    );
    if request.release > Release::El6 {
        text.push_str(
            "\
# What the firmware needs (EFI system partition, or a place for GRUB on GPT), on the same disk.
reqpart
",
        );
    }
    for partition in PARTITIONS {
        let kind = match partition.mount_point {
            "swap" => "",
            _ => " --fstype=ext4",
        };
        let grow = if partition.grows { " --grow" } else { "" };
        text.push_str(&format!(
            "part {}{kind} --size={}{grow} --ondisk={disk}\n",
            partition.mount_point, partition.size_mib
        ));
    }
    text
}

fn bootloader(request: &Request) -> String {
    let disk = request.disk.in_kickstart();
    match request.release {
        // Its --driveorder accepts kernel names only; with one disk visible there is only one
        // choice.
        Release::El6 if request.disk.is_identity() => {
            "bootloader --location=mbr --append=\"crashkernel=auto\"".to_owned()
        }
        Release::El6 => {
            format!("bootloader --location=mbr --driveorder={disk} --append=\"crashkernel=auto\"")
        }
        Release::El7 | Release::El8 | Release::El9 | Release::El10 => {
            format!("bootloader --location=mbr --boot-drive={disk}")
        }
    }
}

fn network(request: &Request) -> String {
    let mut options = vec!["network".to_owned()];
    match (&request.interface, request.release) {
        (Some(interface), _) => options.push(device(interface)),
        // Without --device it takes ksdevice=, or else the first interface.
        (None, Release::El6) => {}
        (None, Release::El7 | Release::El8 | Release::El9 | Release::El10) => {
            options.push(device(&Interface::FirstWithLink));
        }
    }
    options.extend(address_options(&request.network, request.release));
    options.push(format!("--hostname={}", request.hostname.name()));
    options.push("--onboot=yes".to_owned());
    options.push("--activate".to_owned());
    format!("# Network: static, one family.\n{}\n", options.join(" "))
}

fn device(interface: &Interface) -> String {
    format!("--device={}", interface.in_kickstart())
}

fn address_options(network: &Network, release: Release) -> Vec<String> {
    let servers = network.name_servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
    let mut options = match network.addressing {
        Addressing::V4 { address, prefix, gateway } => vec![
            "--bootproto=static".to_owned(),
            format!("--ip={address}"),
            format!("--netmask={}", std::net::Ipv4Addr::from_bits(mask_v4(prefix))),
            format!("--gateway={gateway}"),
            "--noipv6".to_owned(),
        ],
        Addressing::V6 { address, prefix, gateway } => {
            let option = match release {
                // Release 6 has one option for the gateways of both families.
                Release::El6 => "--gateway",
                Release::El7 | Release::El8 | Release::El9 | Release::El10 => "--ipv6gateway",
            };
            vec![
                "--noipv4".to_owned(),
                format!("--ipv6={address}/{prefix}"),
                format!("{option}={gateway}"),
            ]
        }
    };
    options.push(format!("--nameserver={servers}"));
    options
}

fn system(request: &Request) -> String {
    let keyboard = match request.release {
        Release::El6 => "keyboard us",
        Release::El7 | Release::El8 | Release::El9 | Release::El10 => "keyboard --vckeymap=us",
    };
    let services = match request.release {
        Release::El6 => "services --enabled=sshd,kdump",
        Release::El7 | Release::El8 | Release::El9 | Release::El10 => "services --enabled=sshd",
    };
    // Later releases have authselect, whose default profile is right.
    let passwords = match request.release {
        Release::El6 | Release::El7 => "authconfig --enableshadow --passalgo=sha512\n",
        Release::El8 | Release::El9 | Release::El10 => "",
    };
    format!(
        "\
# System.
lang en_US.UTF-8
{keyboard}
timezone --utc {timezone}
{passwords}selinux --enforcing
firewall --enabled --ssh
{services}
",
        timezone = request.timezone.name()
    )
}

fn login(request: &Request) -> String {
    let mut text = String::from("# Root's way in.\n");
    match &request.root_password_hash {
        Some(hash) => text.push_str(&format!("rootpw --iscrypted {}\n", hash.text())),
        // Release 6 requires a word here even so; * is not the hash of any password.
        None if request.release == Release::El6 => {
            text.push_str("rootpw --iscrypted --lock *\n");
        }
        None => text.push_str("rootpw --lock\n"),
    }
    if let Some(key) = &request.ssh_key {
        if request.release.has_sshkey_command() {
            text.push_str(&format!("sshkey --username=root \"{}\"\n", key.line()));
        } else {
            text.push_str("# The ssh key is written at the end: there is no command for it.\n");
        }
    }
    text
}

fn packages(release: Release) -> String {
    let kdump = match release {
        Release::El6 | Release::El7 | Release::El8 | Release::El9 => "kexec-tools",
        Release::El10 => "kdump-utils",
    };
    let tools = match release {
        Release::El6 => {
            "\
# open-vm-tools is in EPEL only: install it afterwards.
# xfsprogs is in CentOS; RHEL 6 has it in the Scalable File System add-on.
"
        }
        Release::El7 | Release::El8 | Release::El9 | Release::El10 => "open-vm-tools\n",
    };
    format!(
        "\
# Packages. One that is missing stops the installation.
%packages
@core
device-mapper-multipath
{kdump}
lsscsi
perl
rsync
wget
xfsprogs
{tools}%end
"
    )
}

/// Crash dumps into /var/crash. Release 6 has no add-ons and uses crashkernel= and a service
/// instead.
fn kdump_addon(release: Release) -> String {
    if release == Release::El6 {
        return String::new();
    }
    "\
%addon com_redhat_kdump --enable --reserve-mb='auto'
%end
"
    .to_owned()
}
