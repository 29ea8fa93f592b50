//! `arizuko secrets …`.

use clap::{Args, Subcommand};

/// The Kubernetes Secret that a command changes, in place of a source of this machine.
#[derive(Args, Clone, Debug, Default)]
pub struct InCluster {
    /// Change this Kubernetes Secret, with your own kubeconfig, and ask the daemons of the pods that mount it
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub kubernetes_secret: Option<String>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "CONTEXT", requires = "kubernetes_secret")]
    pub kubernetes_context: Option<String>,
}

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// What every daemon has; never a value
    Status,
    /// Read the configured sources as each daemon would, and explain every problem
    Check,
    /// Have every daemon read its sources again, now
    Refresh,
    /// Write a value, given on standard input, where the source can be written
    Set {
        /// The secret's name
        name: String,
        /// Where it is, if in a cluster
        #[command(flatten)]
        at: InCluster,
    },
    /// Replace a secret that arizuko makes itself by a new random value, and wait until it is in use
    Rotate {
        /// The secret's name
        name: String,
        /// Somebody else has the old value: refuse it, and all that was made with it, at once
        #[arg(long)]
        leaked: bool,
        /// Where it is, if in a cluster
        #[command(flatten)]
        at: InCluster,
    },
    /// Accept only the current value of a secret from now on
    Forget {
        /// The secret's name
        name: String,
        /// Where it is, if in a cluster
        #[command(flatten)]
        at: InCluster,
    },
    /// Seal everything in the databases anew, each under a new key
    Rekey,
    /// Make the secrets of a new instance in whatever source can be written
    Init,
}
