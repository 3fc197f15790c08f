//! Host name and addresses, from `ip --json`; `check` judges them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::host::{Host, Invocation};
use system::error::Result;

/// One address of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The interface it is on.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Whether it was leased or advertised, and so may change.
    pub is_dynamic: bool,
}

/// Names and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The host's name.
    pub hostname: String,
    /// Global addresses; `None` if they could not be determined.
    pub addresses: Option<Vec<Address>>,
}

pub(super) fn observe(host: &Host) -> Result<Network> {
    let hostname = host.machine().attribute("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.image().is_some() {
        return Ok(Network { hostname: image_hostname(host)?, addresses: None });
    }
    let ask = Invocation::new("ip").arguments(["-json", "address", "show"]);
    let addresses = host.ask_checked(&ask).ok().and_then(|text| parse_addresses(&text));
    Ok(Network { hostname, addresses })
}

fn image_hostname(host: &Host) -> Result<String> {
    let text = host.system().text_if_exists("/etc/hostname")?.unwrap_or_default();
    Ok(text.trim().to_owned())
}

#[derive(Deserialize)]
struct Interface {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<AddressInfo>,
}

#[derive(Deserialize)]
struct AddressInfo {
    local: Option<IpAddr>,
    scope: Option<String>,
    #[serde(default)]
    dynamic: bool,
}

/// Parses the output of `ip -json address show`; addresses of global scope only. Old versions of ip
/// print empty objects for whatever does not match. `None` if it is not such a document.
fn parse_addresses(text: &str) -> Option<Vec<Address>> {
    let interfaces: Vec<Interface> = serde_json::from_str(text).ok()?;
    let addresses = interfaces.into_iter().flat_map(|interface| {
        let name = interface.ifname;
        interface.addr_info.into_iter().filter_map(move |info| {
            let is_global = info.scope.as_deref() == Some("global");
            let address = info.local.filter(|_| is_global)?;
            Some(Address { interface: name.clone(), address, is_dynamic: info.dynamic })
        })
    });
    Some(addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leased_addresses_are_told_from_static_ones() {
        let text = r#"[{"ifname":"lo","addr_info":[{"local":"127.0.0.1","scope":"host"}]},
            {"ifname":"ens192","addr_info":[
              {"family":"inet","local":"192.0.2.10","prefixlen":24,"scope":"global"},
              {"family":"inet","local":"192.0.2.77","scope":"global","dynamic":true},
              {"family":"inet6","local":"fe80::1","scope":"link"}]}]"#;
        let read = parse_addresses(text).unwrap();
        let told: Vec<(String, bool)> =
            read.iter().map(|one| (one.address.to_string(), one.is_dynamic)).collect();
        assert_eq!(told, [("192.0.2.10".into(), false), ("192.0.2.77".into(), true)]);
        assert_eq!(parse_addresses("Option \"-json\" is unknown"), None);
    }
}
