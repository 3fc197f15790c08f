//! Reads /etc/hosts (hosts(5)): which names map to which addresses. Nothing is edited or resolved.

use std::net::IpAddr;

/// One row: an address and its names, the canonical one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostRow {
    /// The address; the zone of a link-local IPv6 address is dropped.
    pub address: IpAddr,
    /// The names, as written; at least one.
    pub names: Vec<String>,
}

/// The contents of /etc/hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    rows: Vec<HostRow>,
}

impl Hosts {
    /// Parses the text; lines that resolvers ignore (no name, no address) are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let said = line.split('#').next().unwrap_or_default();
            let mut words = said.split_ascii_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            let names: Vec<String> = words.map(str::to_owned).collect();
            if let (Some(address), false) = (parse_address(address), names.is_empty()) {
                hosts.rows.push(HostRow { address, names });
            }
        }
        hosts
    }

    /// Every address of a name, in the order of the file; case is ignored.
    pub(crate) fn addresses_of(&self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for row in &self.rows {
            let named = row.names.iter().any(|known| known.eq_ignore_ascii_case(name));
            if named && !found.contains(&row.address) {
                found.push(row.address);
            }
        }
        found
    }

    /// Those of `addresses` that the name does not map to.
    pub(crate) fn missing(&self, name: &str, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let known = self.addresses_of(name);
        let missing = addresses.iter().filter(|address| !known.contains(address));
        missing.copied().collect()
    }
}

fn parse_address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "127.0.0.1\tlocalhost\n\
        # a comment\n\
        10.0.0.5 mt1.example.com MT1 # the first NIC\r\n\
        \n\
        10.1.0.5 mt1\n\
        fe80::1%eth0 mt1\n\
        10.0.0.5 mt1\n\
        10.0.0.300 broken\n\
        10.0.0.9\n\
        ::1 localhost ip6-localhost\n";

    fn addresses(words: &[&str]) -> Vec<IpAddr> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_has_the_addresses_of_all_its_rows_once() {
        let hosts = Hosts::parse(TEXT);
        let found = hosts.addresses_of("Mt1");
        assert_eq!(found, addresses(&["10.0.0.5", "10.1.0.5", "fe80::1"]));
        assert_eq!(hosts.addresses_of("localhost"), addresses(&["127.0.0.1", "::1"]));
        assert!(hosts.addresses_of("first").is_empty(), "comments are no names");
    }

    #[test]
    fn rows_without_a_name_or_an_address_are_left_out() {
        assert_eq!(Hosts::parse(TEXT).rows.len(), 6);
        assert!(Hosts::parse(TEXT).addresses_of("broken").is_empty());
    }

    #[test]
    fn the_addresses_a_name_lacks_are_told() {
        let wanted = addresses(&["10.0.0.5", "10.2.0.5"]);
        let missing = Hosts::parse(TEXT).missing("mt1", &wanted);
        assert_eq!(missing, addresses(&["10.2.0.5"]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f.:%# \t\r\nx]*") {
            let hosts = Hosts::parse(&text);
            prop_assert!(hosts.rows.iter().all(|row| !row.names.is_empty()));
        }
    }
}
