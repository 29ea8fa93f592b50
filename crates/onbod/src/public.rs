//! Under which address people reach the edge: for the links that are sent to them.

use kit::Context;
use proto::Daemon;
use std::path::PathBuf;

/// Where the edge is.
#[derive(Debug)]
pub(crate) struct Public {
    host: String,
    /// What an `arizuko up` writes of itself.
    addresses: PathBuf,
}

impl Public {
    pub(crate) fn of(context: &Context, web_host: &str) -> Self {
        let addresses = context.run_dir().join("addresses.json");
        Self { host: web_host.to_owned(), addresses }
    }

    /// The beginning of every link. Without `WEB_HOST`, the edge's own address: for whoever tries the suite on one
    /// machine.
    pub(crate) async fn base(&self) -> String {
        if !self.host.is_empty() {
            return kit::public_url(&self.host);
        }
        let written = tokio::fs::read(&self.addresses).await.ok();
        let edge = written
            .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
            .and_then(|addresses| addresses.get("edge")?.as_str().map(str::to_owned));
        edge.unwrap_or_else(|| format!("http://127.0.0.1:{}", Daemon::Proxyd.default_port()))
    }

    /// Whether others than this machine can reach what the links lead to.
    pub(crate) fn is_set(&self) -> bool {
        !self.host.is_empty()
    }
}
