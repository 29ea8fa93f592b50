//! Whose request it is behind proxies. The first line is the list of trusted ones, the others are headers.

use crate::under::client_address::{ClientKey, Trusted, client};
use std::net::IpAddr;

pub fn check(data: &[u8]) {
    let (list, headers) = crate::two(data);
    let lines: Vec<&str> = headers.split('\n').collect();
    let peer: IpAddr = [10, 0, 0, 1].into();
    let found = client(peer, lines.iter().copied(), &Trusted::default());
    assert_eq!(found, peer, "a stranger's word counts for nothing");
    let trusting = Trusted::parse("10.0.0.0/8").expect("a network");
    let custom = Trusted::parse(&list).unwrap_or_default();
    for trusted in [&trusting, &custom] {
        let found = client(peer, lines.iter().copied(), trusted);
        // It is the peer, or somebody whom one of the headers names.
        let named = found == peer || lines.iter().any(|line| line.split(',').any(|entry| names(entry, found)));
        assert!(named, "{found} is nowhere in {lines:?}");
        assert_eq!(ClientKey::of(found), ClientKey::of(found.to_canonical()));
    }
}

fn names(entry: &str, address: IpAddr) -> bool {
    let entry = entry.trim().trim_matches('"');
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let with_port = entry.parse::<std::net::SocketAddr>().map(|with| with.ip());
    let found = bare.parse::<IpAddr>().or(with_port);
    found.is_ok_and(|found| found.to_canonical() == address)
}
