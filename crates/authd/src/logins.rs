//! The ways to log in that this instance offers: those that its settings name, and no other.

use crate::{
    client_secret::ClientSecrets,
    flow::{Answer, Flow},
    outside::{
        Outside, Trouble,
        github::{self, Github},
        oidc::{self, Oidc},
    },
    session::Capability,
    settings as set,
    vouched::{Policy, Provider, Vouched},
};
use kit::{Context, StartError, WEB_HOST};
use url::Url;

/// What people log in by.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    oidc: Option<(Oidc, Policy)>,
    github: Option<(Github, Policy)>,
    /// Under which people reach the edge.
    host: String,
}

impl Logins {
    /// As the settings say.
    ///
    /// # Errors
    /// One does not parse, or what another needs is missing.
    pub(crate) fn new(context: &Context, secrets: &ClientSecrets) -> Result<Self, StartError> {
        let settings = &context.settings;
        let outside = Outside::new()?;
        let host = settings.get(&WEB_HOST)?;
        let oidc = match settings.get(&set::OIDC_ISSUER)? {
            Some(issuer) => {
                let client = settings.get(&set::OIDC_CLIENT_ID)?;
                needs("OIDC_ISSUER", "OIDC_CLIENT_ID", &client)?;
                let named = oidc::Settings {
                    issuer,
                    client,
                    scopes: settings.get(&set::OIDC_SCOPES)?,
                    groups_claim: settings.get(&set::OIDC_GROUPS_CLAIM)?,
                };
                let policy = Policy {
                    domains: settings.get(&set::OIDC_ALLOWED_DOMAINS)?,
                    groups: settings.get(&set::OIDC_ALLOWED_GROUPS)?,
                    operators: settings.get(&set::OIDC_OPERATORS)?,
                    operator_groups: settings.get(&set::OIDC_OPERATOR_GROUPS)?,
                    ignores_case: false,
                };
                let (secret, clock) = (secrets.oidc.clone(), context.clock.clone());
                Some((Oidc::new(named, secret, outside.clone(), clock), policy))
            }
            None => None,
        };
        let client = settings.get(&set::GITHUB_CLIENT_ID)?;
        let github = if client.is_empty() {
            None
        } else {
            let policy = Policy {
                groups: settings.get(&set::GITHUB_ALLOWED_ORGS)?,
                operators: settings.get(&set::GITHUB_OPERATORS)?,
                ignores_case: true,
                ..Policy::default()
            };
            let named = github::Settings {
                site: settings.get(&set::GITHUB_URL)?,
                api: settings.get(&set::GITHUB_API_URL)?,
                client,
                wants_organisations: !policy.groups.is_empty(),
            };
            Some((Github::new(named, secrets.github.clone(), outside), policy))
        };
        if oidc.is_some() {
            needs("OIDC_ISSUER", "WEB_HOST", &host)?;
        }
        if github.is_some() {
            needs("GITHUB_CLIENT_ID", "WEB_HOST", &host)?;
        }
        Ok(Self { oidc, github, host })
    }

    /// The providers.
    pub(crate) fn providers(&self) -> Vec<Provider> {
        Provider::ALL.into_iter().filter(|provider| self.policy(*provider).is_some()).collect()
    }

    fn policy(&self, provider: Provider) -> Option<&Policy> {
        match provider {
            Provider::Oidc => self.oidc.as_ref().map(|(_, policy)| policy),
            Provider::Github => self.github.as_ref().map(|(_, policy)| policy),
        }
    }

    /// Who may log in by `provider`.
    pub(crate) fn policy_of(&self, vouched: &Vouched) -> Policy {
        self.policy(vouched.provider).cloned().unwrap_or_default()
    }

    /// Whether a session that began by this rule may last.
    pub(crate) fn keep(&self, rule: &str) -> bool {
        let provider = rule.split(' ').next().and_then(Provider::named);
        provider.is_some_and(|provider| {
            self.policy(provider).is_some_and(|policy| policy.keeps(provider, rule))
        })
    }

    /// Where the provider sends the browser back to: of `WEB_HOST` and nothing that a request says, but
    /// that a loopback host may do without TLS, as the request did.
    pub(crate) fn redirect_uri(&self, provider: Provider, https: bool) -> String {
        let scheme = if https || !is_loopback(&self.host) { "https" } else { "http" };
        format!("{scheme}://{}/auth/callback/{provider}", self.host)
    }

    /// Where the browser goes to log in.
    pub(crate) async fn address(&self, flow: &Flow, state: &Capability) -> Result<Url, Trouble> {
        match (flow.provider, &self.oidc, &self.github) {
            (Provider::Oidc, Some((oidc, _)), _) => oidc.address(flow, state).await,
            (Provider::Github, _, Some((github, _))) => github.address(flow, state),
            _ => Err(gone()),
        }
    }

    /// Whom the provider vouches for.
    pub(crate) async fn vouched(&self, flow: &Flow, answer: &Answer) -> Result<Vouched, Trouble> {
        match (flow.provider, &self.oidc, &self.github) {
            (Provider::Oidc, Some((oidc, _)), _) => oidc.vouched(flow, answer).await,
            (Provider::Github, _, Some((github, _))) => github.vouched(flow, answer).await,
            _ => Err(gone()),
        }
    }
}

fn gone() -> Trouble {
    Trouble::Login("nobody logs in by this provider here".into())
}

fn needs(because: &str, name: &str, value: &str) -> Result<(), StartError> {
    if !value.is_empty() {
        return Ok(());
    }
    Err(StartError::Config {
        what: format!("{because} is set, and {name} is not"),
        hint: format!("set {name} too, or take {because} away"),
    })
}

fn is_loopback(host: &str) -> bool {
    crate::outside::asked(&format!("http://{host}")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_of_the_settings_alone() {
        let back = |host: &str, https| {
            let logins = Logins { host: host.to_owned(), ..Logins::default() };
            logins.redirect_uri(Provider::Github, https)
        };
        assert_eq!(back("a.example", true), "https://a.example/auth/callback/github");
        assert_eq!(back("a.example:8443", false), "https://a.example:8443/auth/callback/github");
        assert_eq!(back("127.0.0.1:8090", false), "http://127.0.0.1:8090/auth/callback/github");
        assert_eq!(back("localhost:8443", true), "https://localhost:8443/auth/callback/github");
    }

    #[test]
    fn a_rule_of_a_provider_that_is_not_offered_keeps_nobody() {
        assert!(!Logins::default().keep("oidc anyone"));
        assert!(!Logins::default().keep("nonsense"));
    }
}
