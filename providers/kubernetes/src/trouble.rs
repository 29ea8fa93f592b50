//! What went wrong between an operator's machine and the cluster, by what to do about it.

use crate::SecretName;

/// A cause of any kind.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the cluster did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no kubeconfig, or it names no cluster that can be spoken to.
    #[error("the kubeconfig does not lead to a cluster")]
    Kubeconfig(#[source] Cause),
    /// The cluster does not answer, or broke off. Whether it did what it was asked is not known.
    #[error("the cluster at {url} does not answer")]
    Away {
        /// Its address.
        url: String,
        /// What the client said.
        #[source]
        source: Cause,
    },
    /// This user may not do that.
    #[error("the cluster does not let this user {what}: {said}")]
    Denied {
        /// What was asked.
        what: String,
        /// The cluster's words.
        said: String,
    },
    /// There is no such Secret.
    #[error("there is no Secret {0}")]
    NoSecret(SecretName),
    /// Somebody else has changed the Secret since it was read. Nothing was written.
    #[error("somebody else has changed the Secret {0} meanwhile")]
    Changed(SecretName),
    /// The cluster answered no.
    #[error("the cluster would not {what}: {said}")]
    Refused {
        /// What was asked.
        what: String,
        /// The cluster's words.
        said: String,
    },
}

impl Trouble {
    /// Sorts an error of the client by what was asked for.
    pub(crate) fn of(url: &str, what: &str, error: kube::Error) -> Self {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) => {
                let said = if status.message.is_empty() {
                    status.reason.clone()
                } else {
                    status.message.clone()
                };
                match status.code {
                    401 | 403 => Self::Denied { what, said },
                    408 | 429 | 500.. => Self::Away { url: url.to_owned(), source: said.into() },
                    _ => Self::Refused { what, said },
                }
            }
            kube::Error::UpgradeConnection(
                kube::client::UpgradeConnectionError::ProtocolSwitch(status),
            ) => {
                let said = status.to_string();
                match status.as_u16() {
                    401 | 403 => Self::Denied { what, said },
                    500.. => Self::Away { url: url.to_owned(), source: said.into() },
                    _ => Self::Refused { what, said },
                }
            }
            kube::Error::SerdeError(error) => Self::Refused { what, said: error.to_string() },
            kube::Error::Auth(error) => Self::Kubeconfig(error.into()),
            error => Self::Away { url: url.to_owned(), source: error.into() },
        }
    }

    /// It took longer than it may.
    pub(crate) fn late(url: &str) -> Self {
        Self::Away { url: url.to_owned(), source: "it took too long".into() }
    }

    /// Whether asking again may help.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Changed(_))
    }
}
