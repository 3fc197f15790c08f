//! Host name, address, gateway, name servers, interface: parsed and checked against each other.
//! Nothing is resolved, and nothing is sent to the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refusal;
use super::release::Release;
use system::error::{Error, ErrorKind, Result};

/// The longest host name that Linux keeps (`HOST_NAME_MAX`).
const HOSTNAME_MAX: usize = 64;
const LABEL_MAX: usize = 63;
/// The most `nameserver` lines that the resolver reads (resolv.conf(5), `MAXNS`).
const NAME_SERVERS_MAX: usize = 3;
/// `IFNAMSIZ` without the final NUL.
const INTERFACE_NAME_MAX: usize = 15;

/// A host name of RFC 1123, short or fully qualified.
pub(super) struct Hostname(String);

impl Hostname {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match check_hostname(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(why) => Err(refusal::of("--hostname", text, why)
                .with_hint("use letters, digits, hyphens and dots, as in mt1.example.org")),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// The name, followed by its first label as an alias if it has several labels: for
    /// `/etc/hosts`.
    pub(super) fn with_alias(&self) -> String {
        match self.0.split_once('.') {
            Some((short, _)) => format!("{} {short}", self.0),
            None => self.0.clone(),
        }
    }
}

fn check_hostname(text: &str) -> std::result::Result<(), &'static str> {
    if text.len() > HOSTNAME_MAX {
        return Err("Linux keeps at most 64 characters of a host name");
    }
    if !text.split('.').all(is_label) {
        return Err("every part between dots has 1 to 63 letters, digits and hyphens, with no \
                    hyphen first or last (RFC 1123)");
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its last part is a number, so it reads like an address (RFC 1123)");
    }
    let short = text.split('.').next().unwrap_or_default();
    if short.eq_ignore_ascii_case("localhost") {
        return Err("localhost names every machine");
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// One static address with its gateway and name servers, all of the same family.
pub(super) struct Network {
    pub(super) addressing: Addressing,
    /// One to [`NAME_SERVERS_MAX`] addresses.
    pub(super) name_servers: Vec<IpAddr>,
}

/// Address, prefix length in bits, and gateway.
#[derive(Clone, Copy)]
pub(super) enum Addressing {
    V4 { address: Ipv4Addr, prefix: u8, gateway: Ipv4Addr },
    V6 { address: Ipv6Addr, prefix: u8, gateway: Ipv6Addr },
}

impl Addressing {
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::V4 { address, .. } => IpAddr::V4(address),
            Self::V6 { address, .. } => IpAddr::V6(address),
        }
    }
}

impl Network {
    pub(super) fn parse(address: &str, gateway: &str, dns: &[String]) -> Result<Self> {
        let (ip, prefix) = parse_cidr(address)?;
        let gateway_ip = gateway
            .parse::<IpAddr>()
            .map_err(|_| refusal::of("--gateway", gateway, "it is not an IP address"))?;
        let addressing = match (ip, gateway_ip) {
            (IpAddr::V4(address), IpAddr::V4(gateway)) => {
                Addressing::V4 { address, prefix, gateway }
            }
            (IpAddr::V6(address), IpAddr::V6(gateway)) => {
                Addressing::V6 { address, prefix, gateway }
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                let why = "it is not of the same family as --address";
                return Err(refusal::of("--gateway", gateway, why));
            }
        };
        check_host_part(addressing).map_err(|why| refusal::of("--address", address, why))?;
        check_gateway(addressing).map_err(|why| {
            refusal::of("--gateway", gateway, why).with_hint(format!(
                "check the prefix length of --address {address}: it says which network that is"
            ))
        })?;
        Ok(Self { addressing, name_servers: parse_name_servers(dns, ip)? })
    }
}

fn parse_cidr(text: &str) -> Result<(IpAddr, u8)> {
    let refuse = |why: &str| {
        refusal::of("--address", text, why)
            .with_hint("write the address with its prefix length, as in 192.0.2.10/24")
    };
    let (ip, prefix) =
        text.split_once('/').ok_or_else(|| refuse("the prefix length is missing"))?;
    let ip = ip.parse::<IpAddr>().map_err(|_| refuse("it is not an IP address"))?;
    let longest = match ip {
        IpAddr::V4(_) => 31,
        IpAddr::V6(_) => 127,
    };
    let digits = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix = digits
        .then(|| prefix.parse::<u8>().ok())
        .flatten()
        .filter(|prefix| (1..=longest).contains(prefix))
        .ok_or_else(|| refuse("a prefix length is 1 to 31 for IPv4, 1 to 127 for IPv6"))?;
    if !is_host(ip) {
        return Err(refuse("this is not an address a host can be reached at"));
    }
    Ok((ip, prefix))
}

/// Whether other hosts can use it: not unspecified, loopback, link-local, multicast or reserved.
fn is_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            first != 0 && first < 224 && !ip.is_loopback() && !ip.is_link_local()
        }
        IpAddr::V6(ip) => {
            let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
            !special && !is_link_local(ip) && ip.to_ipv4_mapped().is_none()
        }
    }
}

/// fe80::/10.
fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// The address must be a host's, not the network's own or its broadcast address.
fn check_host_part(addressing: Addressing) -> std::result::Result<(), &'static str> {
    match addressing {
        Addressing::V4 { address, prefix, .. } => check_host_v4(address, prefix),
        Addressing::V6 { address, prefix, .. } => {
            // RFC 6164: on a /127 both addresses are hosts.
            if prefix < 127 && address.to_bits() & !mask_v6(prefix) == 0 {
                return Err("this is the network's own address, not a host's");
            }
            Ok(())
        }
    }
}

fn check_host_v4(address: Ipv4Addr, prefix: u8) -> std::result::Result<(), &'static str> {
    // RFC 3021: on a /31 both addresses are hosts.
    if prefix >= 31 {
        return Ok(());
    }
    let host_mask = !mask_v4(prefix);
    match address.to_bits() & host_mask {
        0 => Err("this is the network's own address, not a host's"),
        host if host == host_mask => Err("this is the network's broadcast address, not a host's"),
        _ => Ok(()),
    }
}

fn check_gateway(addressing: Addressing) -> std::result::Result<(), String> {
    let same = "this is the host's own address".to_owned();
    match addressing {
        Addressing::V4 { address, prefix, gateway } => {
            if address == gateway {
                return Err(same);
            }
            let mask = mask_v4(prefix);
            if address.to_bits() & mask != gateway.to_bits() & mask {
                let network = Ipv4Addr::from_bits(address.to_bits() & mask);
                return Err(format!("it is not in the network {network}/{prefix}"));
            }
            check_host_v4(gateway, prefix).map_err(str::to_owned)
        }
        Addressing::V6 { address, prefix, gateway } => {
            if address == gateway {
                return Err(same);
            }
            let mask = mask_v6(prefix);
            // Routers are usually known by their link-local address.
            if is_link_local(gateway) || address.to_bits() & mask == gateway.to_bits() & mask {
                return Ok(());
            }
            let network = Ipv6Addr::from_bits(address.to_bits() & mask);
            Err(format!("it is neither in the network {network}/{prefix} nor link-local"))
        }
    }
}

/// The network bits of an IPv4 address: none for a prefix of 0, all for one beyond 32.
pub(super) fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

fn parse_name_servers(dns: &[String], address: IpAddr) -> Result<Vec<IpAddr>> {
    if dns.is_empty() || dns.len() > NAME_SERVERS_MAX {
        return Err(Error::new(ErrorKind::Usage, "reading --dns")
            .caused_by(format!("{} name servers were given", dns.len()))
            .with_hint("give --dns one to three times: the resolver reads no more"));
    }
    dns.iter().map(|text| parse_name_server(text, address)).collect()
}

fn parse_name_server(text: &str, address: IpAddr) -> Result<IpAddr> {
    let refuse = |why: &str| refusal::of("--dns", text, why);
    let server = text.parse::<IpAddr>().map_err(|_| refuse("it is not an IP address"))?;
    if !is_host(server) {
        return Err(refuse("this is not an address a host can be reached at"));
    }
    if server.is_ipv4() != address.is_ipv4() {
        return Err(refuse("only the family of --address is configured, but this is of the other"));
    }
    Ok(server)
}

/// Which network interface gets the address.
#[derive(Debug)]
pub(super) enum Interface {
    /// `link`: the first with a carrier.
    FirstWithLink,
    /// `bootif`: the one used for the PXE boot.
    BootedFrom,
    /// A kernel name or a MAC address.
    Named(String),
}

impl Interface {
    pub(super) fn parse(text: &str, release: Release) -> Result<Self> {
        let refuse = |why: &str| {
            Err(refusal::of("--interface", text, why)
                .with_hint("as in ens192, eth0, 00:50:56:01:02:03, link or bootif"))
        };
        match text {
            // The second stage of its installer looks for a device of that name.
            "link" if release == Release::El6 => refuse("release 6 does not support link here"),
            "link" => Ok(Self::FirstWithLink),
            "bootif" => Ok(Self::BootedFrom),
            "ibft" | "lo" => refuse("this one cannot hold the host's address"),
            _ if is_mac(text) => Ok(Self::Named(text.to_ascii_lowercase())),
            _ if !is_interface_name(text) => {
                refuse("it is neither the name of an interface nor a MAC address")
            }
            _ => match made_of_others(text) {
                Some(kind) => Err(refused_kind(text, kind)),
                None => Ok(Self::Named(text.to_owned())),
            },
        }
    }

    pub(super) fn in_kickstart(&self) -> &str {
        match self {
            Self::FirstWithLink => "link",
            Self::BootedFrom => "bootif",
            Self::Named(name) => name,
        }
    }
}

fn is_interface_name(text: &str) -> bool {
    text.len() <= INTERFACE_NAME_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Refused because the installer would wait for a device that it was not told to create.
fn refused_kind(name: &str, kind: &str) -> Error {
    let why = format!("this is the name of {kind}: one interface of the hardware is configured");
    refusal::of("--interface", name, &why).with_hint(format!(
        "name an interface under it, as in ens192 or 00:50:56:01:02:03, and make {kind} after the \
         installation"
    ))
}

/// The kind of interface that a name implies, if it is one made of other interfaces.
fn made_of_others(name: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 9] = [
        ("bond", "a bond"),
        ("team", "a team"),
        ("vlan", "a VLAN"),
        ("bridge", "a bridge"),
        ("virbr", "a bridge"),
        ("br", "a bridge"),
        ("tun", "a tunnel"),
        ("tap", "a tunnel"),
        ("dummy", "an interface without hardware"),
    ];
    if name.contains('.') {
        return Some("a VLAN");
    }
    let lower = name.to_ascii_lowercase();
    let is_numbered =
        |rest: &str| rest.is_empty() || rest.starts_with(|c: char| "-_0123456789".contains(c));
    let kind = KINDS.iter().find(|(start, _)| lower.strip_prefix(start).is_some_and(is_numbered));
    kind.map(|(_, kind)| *kind)
}

fn is_mac(text: &str) -> bool {
    let pairs = text.split(':').collect::<Vec<_>>();
    pairs.len() == 6
        && pairs
            .iter()
            .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
