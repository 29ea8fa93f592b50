//! Where a name may lead. Who owns a name chooses the addresses behind it, and may choose this machine's own.
//!
//! A secret that is bound to a name goes to no loopback and no link-local address: there are this machine's own
//! services, and a cloud's metadata. An address as such, and `localhost`, say what they mean, and are admitted.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
};

/// The resolver of requests to outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver;

/// A name that leads inward, and nowhere else.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} leads to an address of this machine or of its link, where a name may not lead; bind the secret to the address itself"
)]
pub(super) struct Inward(String);

impl Inward {
    /// What a request failed of, if it is this.
    pub(super) fn among<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let there: Vec<SocketAddr> =
                found.into_iter().filter(|address| may_lead(&host, address.ip())).collect();
            if there.is_empty() {
                return Err(Inward(host).into());
            }
            Ok(Box::new(there.into_iter()) as Addrs)
        })
    }
}

/// Whether a name may lead to an address.
fn may_lead(name: &str, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // RFC 6761, section 6.3.
    if name == "localhost" || name.ends_with(".localhost") {
        return address.is_loopback();
    }
    let of_the_link = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || of_the_link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_out_and_localhost_stays_in() {
        let may = |name: &str, address: &str| may_lead(name, address.parse().unwrap());
        for address in ["192.0.2.1", "10.1.2.3", "2001:db8::1", "fd00::1"] {
            assert!(may("api.example.com", address), "{address}");
            assert!(!may("localhost", address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!may("api.example.com", address), "{address}");
        }
        for name in ["localhost", "LOCALHOST.", "api.localhost"] {
            assert!(may(name, "127.0.0.1") && may(name, "::1"), "{name}");
        }
        assert!(!may("notlocalhost", "127.0.0.1") && !may("localhost.example.com", "127.0.0.1"));
    }
}
