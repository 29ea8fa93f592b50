//! Whose request it is: the real client's address behind the proxies that we trust. Pure.

use ipnet::IpNet;
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Most entries of `X-Forwarded-For` that are looked at, from the right.
const HOPS_MAX: usize = 32;

/// The proxies whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted(Vec<IpNet>);

impl Trusted {
    /// Reads a comma-separated list of addresses and networks (CIDR); empty for none.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let network = |entry: &str| match entry.parse::<IpNet>() {
            Ok(network) => Some(network),
            Err(_) => entry.parse::<IpAddr>().ok().map(IpNet::from),
        };
        entries.map(network).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client's address: the nearest one that no trusted proxy stands at.
///
/// `forwarded` are the values of `X-Forwarded-For`, in the order of the headers. Each proxy appends
/// the address it was called from, so the walk goes from the right and ends at the first address
/// that is not trusted: what stands to the left of it was written by that client itself.
pub fn client<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &Trusted,
) -> IpAddr {
    let mut client = canonical(peer);
    if !trusted.contains(client) {
        return client;
    }
    let entries = forwarded.rev().flat_map(|value| value.rsplit(','));
    for entry in entries.take(HOPS_MAX) {
        // What is no address was not written by a proxy of ours: the one that passed it on is as
        // near as we get.
        let Some(address) = entry_address(entry) else { return client };
        client = address;
        if !trusted.contains(client) {
            return client;
        }
    }
    client
}

fn entry_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim().trim_matches('"');
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok();
    let address =
        address.or_else(|| entry.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(canonical)
}

/// An IPv4 address is itself, also where a socket shows it as IPv6.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What a limit counts by: an IPv4 address, or the /64 of an IPv6 address, because one client has
/// all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(IpAddr);

impl ClientKey {
    /// The key of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match canonical(address) {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        })
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As proxies and liars write them.
    const ENTRIES: &str = "(10\\.0\\.0\\.[1-9]|198\\.51\\.100\\.[1-9](:80)?|\\[2001:db8::[1-9]\\](:80)?|::ffff:10\\.0\\.0\\.7|unknown|[ ,\"\\[\\]:.0-9a-f]{0,6}| ,|,){0,8}";

    proptest! {
        #[test]
        fn a_stranger_is_who_they_are_whatever_they_forward(lines in proptest::collection::vec(ENTRIES, 0..4)) {
            let trusted = Trusted::parse("10.0.0.0/8").unwrap();
            let stranger: IpAddr = [203, 0, 113, 9].into();
            prop_assert_eq!(client(stranger, lines.iter().map(String::as_str), &trusted), stranger);
        }

        #[test]
        fn behind_a_proxy_it_is_the_proxy_or_somebody_whom_a_header_names(
            lines in proptest::collection::vec(ENTRIES, 0..4)
        ) {
            let trusted = Trusted::parse("10.0.0.0/8").unwrap();
            let peer: IpAddr = [10, 0, 0, 1].into();
            let found = client(peer, lines.iter().map(String::as_str), &trusted);
            let entries = lines.iter().flat_map(|line| line.split(','));
            let named = entries.filter_map(entry_address).any(|address| address == found);
            prop_assert!(found == peer || named, "{} is nowhere in {:?}", found, lines);
        }

        #[test]
        fn no_list_makes_it_panic(list in "\\PC{0,40}") {
            let _either = Trusted::parse(&list);
        }
    }

    #[test]
    fn the_walk_goes_from_the_right_and_ends_at_the_first_stranger() {
        let trusted = Trusted::parse("10.0.0.0/8, 192.0.2.7,fd00::/8").unwrap();
        for (peer, forwarded, expected) in [
            // Not behind a proxy: what it says of itself is nothing.
            ("203.0.113.9", &["1.2.3.4"][..], "203.0.113.9"),
            ("203.0.113.9", &[], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.5"], "198.51.100.5"),
            // The client wrote the left part itself.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.5"], "198.51.100.5"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.5, 10.2.2.2"], "198.51.100.5"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.5"], "198.51.100.5"),
            ("10.0.0.1", &["198.51.100.5, 192.0.2.7"], "198.51.100.5"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // What is no address ends the walk.
            ("10.0.0.1", &["198.51.100.5, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.5, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            // As proxies write them.
            ("10.0.0.1", &["198.51.100.5:4711"], "198.51.100.5"),
            ("fd00::1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("fd00::1", &["\"[2001:db8::5]\""], "2001:db8::5"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.5"], "198.51.100.5"),
        ] {
            let found = client(peer.parse().unwrap(), forwarded.iter().copied(), &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_long_chain_is_not_walked_for_ever() {
        let trusted = Trusted::parse("10.0.0.0/8").unwrap();
        let chain = vec!["10.0.0.2"; 1000].join(",");
        let far = format!("198.51.100.5,{chain}");
        let found = client("10.0.0.1".parse().unwrap(), [far.as_str()].into_iter(), &trusted);
        assert_eq!(found, "10.0.0.2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn one_client_has_a_whole_network_of_ipv6() {
        let key = |text: &str| ClientKey::of(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn a_list_that_does_not_parse_is_refused() {
        assert_eq!(Trusted::parse(""), Some(Trusted::default()));
        for bad in ["10.0.0.0/33", "localhost", "10.0.0.0/8;1.1.1.1", "10.0.0"] {
            assert_eq!(Trusted::parse(bad), None, "{bad}");
        }
        let none = Trusted::default();
        assert!(!none.contains("127.0.0.1".parse().unwrap()), "nobody is trusted unasked");
    }
}
