//! Sources that are servers: one client of each for a process, however many look at it.
//!
//! A kind of server is a cargo feature, a line in [`KINDS`] and an arm in [`Remotes::open`].

use crate::{
    failure::{Exit, Failure},
    instance::Environment,
};
use secrets::SecretSource;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The beginnings of URLs, and the cargo feature that each needs.
const KINDS: [(&str, &str); 4] = [
    ("vault+https://", "vault"),
    ("vault+http://", "vault"),
    ("aws-sm://", "aws"),
    ("gcp-sm://", "gcp"),
];

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
#[derive(Clone, Debug)]
pub struct Remotes {
    known: Arc<Mutex<BTreeMap<String, Arc<dyn SecretSource>>>>,
    /// What the cluster says of who the pod is, where it says that in the environment.
    #[cfg(feature = "aws")]
    aws: provider_aws::Ambient,
}

impl Remotes {
    /// None yet. Of the environment, each kind of server has the variables that its documentation names.
    #[cfg_attr(not(feature = "aws"), expect(unused_variables, reason = "no other kind has any"))]
    pub fn new(environment: &Environment) -> Self {
        Self {
            known: Arc::default(),
            #[cfg(feature = "aws")]
            aws: provider_aws::Ambient::of(|name| environment.get(name).cloned()),
        }
    }

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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = known.get(&remote.url) {
            return Ok(source.clone());
        }
        let source = self.open(remote, overlap)?;
        known.insert(remote.url.clone(), source.clone());
        Ok(source)
    }

    #[cfg_attr(
        not(any(feature = "vault", feature = "aws", feature = "gcp")),
        expect(unused_variables, reason = "this build opens none")
    )]
    fn open(&self, remote: &Remote, overlap: Duration) -> Result<Arc<dyn SecretSource>, Failure> {
        let url = remote.url.as_str();
        match remote.feature {
            #[cfg(feature = "vault")]
            "vault" => made(remote, provider_vault::Vault::new(url, overlap)),
            #[cfg(feature = "aws")]
            "aws" => made(remote, provider_aws::Aws::new(url, &self.aws, overlap)),
            #[cfg(feature = "gcp")]
            "gcp" => made(remote, provider_gcp::SecretManagerSource::new(url, overlap)),
            feature => Err(refused(
                remote,
                &format!("this program was built without the feature `{feature}`"),
            )),
        }
    }
}

#[cfg(any(feature = "aws", feature = "gcp", feature = "vault"))]
fn made<S: SecretSource>(
    remote: &Remote,
    source: Result<S, secrets::remote::AddressError>,
) -> Result<Arc<dyn SecretSource>, Failure> {
    match source {
        Ok(source) => Ok(Arc::new(source)),
        Err(error) => Err(refused(remote, &error.to_string())),
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
        let environment =
            [("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let remotes = Remotes::new(&environment.into());
        let open = |url: &str| remotes.get(&Remote::parse(url).unwrap(), Duration::ZERO);
        for (url, bad, reason, feature) in [
            (
                "vault+https://bao:8200/kv/az?auth=token&token_file=/t",
                "vault+https://bao:8200/kv/az?auth=token",
                "needs token_file=",
                ("vault", cfg!(feature = "vault")),
            ),
            (
                "aws-sm://eu-west-1/arizuko/demo?auth=irsa",
                "aws-sm://eu-west-1/arizuko/demo?auth=irsa&role_=x",
                "means nothing",
                ("aws", cfg!(feature = "aws")),
            ),
            (
                "gcp-sm://proj-1/arizuko",
                "gcp-sm://proj-1/arizuko?auth=service-account",
                "needs credentials_file=",
                ("gcp", cfg!(feature = "gcp")),
            ),
        ] {
            let (feature, is_built_in) = feature;
            if is_built_in {
                assert!(Arc::ptr_eq(&open(url).unwrap(), &open(url).unwrap()), "{url}");
                let line = open(bad).unwrap_err().line;
                assert!(line.contains(reason), "{line}");
            } else {
                let line = open(url).unwrap_err().line;
                assert!(line.contains(&format!("without the feature `{feature}`")), "{line}");
            }
        }
        assert_eq!(Remote::parse("vault://bao/kv/az"), None);
    }
}
