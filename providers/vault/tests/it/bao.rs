//! Entries of a real OpenBao as sources.

use provider_vault::Vault;
use std::ops::{Deref, DerefMut};
use stores::log;
pub use stores::{
    LIMIT,
    reading::{A, CANARY, OVERLAP, name, value},
};

/// The server of one test.
pub struct Bao(stores::bao::Bao);

impl Bao {
    pub async fn start() -> Option<Self> {
        stores::bao::Bao::start().await.map(Self)
    }

    pub async fn start_tls() -> Option<Self> {
        stores::bao::Bao::start_tls().await.map(Self)
    }

    /// A source with the root's token, for an entry such as `kv/az`.
    pub fn source(&self, entry: &str) -> Vault {
        let token = self.file("root", &self.root);
        self.at(&self.base(), entry, &format!("auth=token&token_file={}", token.display()))
    }

    /// A source that goes through another address.
    pub fn at(&self, base: &str, entry: &str, query: &str) -> Vault {
        let ca = self.ca.as_ref().map(|ca| format!("&ca_file={}", ca.display()));
        let url = format!("vault+{base}/{entry}?{query}{}", ca.unwrap_or_default());
        Vault::new(&url, OVERLAP).unwrap()
    }

    /// Nothing of these stands in what was logged.
    pub fn assert_unsaid(&self, more: &[&str]) {
        log::assert_unsaid("rustify", &[&[CANARY, &self.root], more].concat());
    }
}

impl Deref for Bao {
    type Target = stores::bao::Bao;

    fn deref(&self) -> &stores::bao::Bao {
        &self.0
    }
}

impl DerefMut for Bao {
    fn deref_mut(&mut self) -> &mut stores::bao::Bao {
        &mut self.0
    }
}
