//! Sources that are servers: one client of each for a process, however many look at it.
//!
//! A kind of server is a cargo feature, a line in [`KINDS`] and an arm in [`open`].

use crate::failure::{Exit, Failure};
use secrets::SecretSource;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The beginnings of URLs, and the cargo feature that each needs.
const KINDS: [(&str, &str); 2] = [("vault+https://", "vault"), ("vault+http://", "vault")];

/// The URL of a source that is a server. What is wrong with the rest of it is told when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    url: String,
    feature: &'static str,
}

impl Remote {
    /// The whole URL, as a setting has it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes a URL whose beginning is known.
    pub fn parse(url: &str) -> Option<Self> {
        let (_, feature) = KINDS.iter().find(|(beginning, _)| url.starts_with(beginning))?;
        Some(Self { url: url.to_owned(), feature })
    }
}

/// The clients of one process. Clones share them: one login, one poller and one budget of calls each.
#[derive(Clone, Debug, Default)]
pub struct Remotes(Arc<Mutex<BTreeMap<String, Arc<dyn SecretSource>>>>);

impl Remotes {
    /// The client for `remote`, made when it is first asked for. What a change replaced is told for
    /// `overlap`.
    ///
    /// # Errors
    /// Its URL will not do, or this build cannot speak to such a server.
    pub fn get(
        &self,
        remote: &Remote,
        overlap: Duration,
    ) -> Result<Arc<dyn SecretSource>, Failure> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = known.get(&remote.url) {
            return Ok(source.clone());
        }
        let source = open(remote, overlap)?;
        known.insert(remote.url.clone(), source.clone());
        Ok(source)
    }
}

fn open(remote: &Remote, overlap: Duration) -> Result<Arc<dyn SecretSource>, Failure> {
    match remote.feature {
        #[cfg(feature = "vault")]
        "vault" => match provider_vault::Vault::new(&remote.url, overlap) {
            Ok(vault) => Ok(Arc::new(vault)),
            Err(error) => Err(refused(remote, &error.to_string())),
        },
        feature => {
            Err(refused(remote, &format!("this program was built without the feature `{feature}`")))
        }
    }
}

fn refused(remote: &Remote, reason: &str) -> Failure {
    // Up to the `?`: what follows may name accounts.
    let place = remote.url.split('?').next().unwrap_or_default();
    Failure::new(Exit::Config, format!("SECRETS_SOURCES: {place}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_for_each_url_and_a_reason_for_what_will_not_do() {
        let remotes = Remotes::default();
        let open = |url: &str| remotes.get(&Remote::parse(url).unwrap(), Duration::ZERO);
        let url = "vault+https://bao:8200/kv/az?auth=token&token_file=/t";
        if cfg!(feature = "vault") {
            assert!(Arc::ptr_eq(&open(url).unwrap(), &open(url).unwrap()));
            let line = open("vault+https://bao:8200/kv/az?auth=token").unwrap_err().line;
            assert!(line.contains("needs token_file="), "{line}");
        } else {
            let line = open(url).unwrap_err().line;
            assert!(line.contains("without the feature `vault`"), "{line}");
        }
        assert_eq!(Remote::parse("vault://bao/kv/az"), None);
    }
}
