//! A Kubernetes Secret that an operator writes, and the pods that mount it.
//!
//! This is no source that daemons read: they read the files that the kubelet makes of a Secret. It is the other end of
//! that way, for a command on an operator's own machine, with the operator's own kubeconfig. No service account of the
//! suite has such rights, and none is used here.
//!
//! The kubelet brings a changed Secret into a pod's volumes at its next look, about a minute later, and at once where
//! the pod itself changes. So a change is three steps: [`Cluster::write`] the Secret, [`Cluster::touch`] the pods, and
//! ask the daemons in them ([`Cluster::run`]) until each has what was written.
//!
//! Of the cluster it needs, in the Secret's namespace: Secrets (get, patch), pods (list, patch) and `pods/exec` (get,
//! create).

mod cluster;
mod mounts;
mod trouble;

pub use cluster::{Cluster, Kubeconfig, Ran, Stored};
pub use mounts::{Held, Holder, MountingPod, Program, Sight};
pub use trouble::Trouble;

use std::{fmt, str::FromStr};

/// Which Secret: its namespace and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl FromStr for SecretName {
    type Err = String;

    /// Takes `NAMESPACE/NAME`: a label and a subdomain, as the cluster has them (RFC 1123).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` is no Secret; expected NAMESPACE/NAME, such as arizuko/arizuko");
        let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
        let label = |text: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let ends = !text.starts_with('-') && !text.ends_with('-');
            (1..=63).contains(&text.len()) && text.chars().all(plain) && ends
        };
        let good = label(namespace) && name.len() <= 253 && name.split('.').all(label);
        good.then(|| Self { namespace: namespace.into(), name: name.into() }).ok_or_else(wrong)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::SecretName;

    #[test]
    fn a_secret_is_named_as_the_cluster_names_it() {
        for good in ["arizuko/arizuko", "team-1/tls.example.org", "a/b"] {
            assert_eq!(good.parse::<SecretName>().unwrap().to_string(), good);
        }
        for bad in ["arizuko", "/a", "a/", "A/b", "a/b/c", "a/-b", "a/b..c", "a.b/c", "a/b c"] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
    }
}
