//! GitHub, which speaks OAuth and no OpenID Connect: who somebody is, its API says.

use super::{Incoming, Outside, Trouble};
use crate::{
    client_secret::ClientSecret,
    flow::{Answer, Flow},
    session::Capability,
    vouched::Vouched,
};
use secrets::{Attempt, Watched};
use serde_json::Value;
use std::{fmt, sync::Arc};
use url::Url;

/// Organisations of one person that are looked at: pages of a hundred.
const PAGES_MAX: u32 = 5;
const PAGE: usize = 100;

/// How GitHub is reached, and this instance is known to it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where people log in.
    pub(crate) site: Url,
    /// Where its API is.
    pub(crate) api: Url,
    pub(crate) client: String,
    /// Whether organisations are looked at.
    pub(crate) wants_organisations: bool,
}

/// GitHub.
pub(crate) struct Github {
    set: Settings,
    secret: Watched<ClientSecret>,
    outside: Outside,
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Github({})", self.set.site)
    }
}

impl Github {
    pub(crate) fn new(set: Settings, secret: Watched<ClientSecret>, outside: Outside) -> Self {
        Self { set, secret, outside }
    }

    /// Where the browser goes to log in.
    pub(crate) fn address(&self, flow: &Flow, state: &Capability) -> Result<Url, Trouble> {
        let scope = if self.set.wants_organisations { "read:org" } else { "" };
        let endpoint = at(&self.set.site, "login/oauth/authorize")?;
        Ok(flow.address(&endpoint, state, &self.set.client, scope))
    }

    /// Whom GitHub vouches for with this answer.
    pub(crate) async fn vouched(&self, flow: &Flow, answer: &Answer) -> Result<Vouched, Trouble> {
        let code = answer.code().ok_or_else(|| Trouble::Login("the answer has no code".into()))?;
        let token = self.exchange(flow, code).await?;
        let user = self.ask("user", &token).await?;
        let id = user.get("id").and_then(Value::as_u64);
        let id = id.ok_or_else(|| Trouble::Away("GitHub does not say who it is".into()))?;
        let name = user.get("login").and_then(Value::as_str).unwrap_or("an account");
        let organisations = match self.set.wants_organisations {
            true => self.organisations(&token).await?,
            false => Vec::new(),
        };
        Ok(Vouched::by_github(id, name, organisations))
    }

    /// The organisations in which somebody is an active member, by number and by name.
    async fn organisations(&self, token: &str) -> Result<Vec<String>, Trouble> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let path = format!("user/memberships/orgs?state=active&per_page={PAGE}&page={page}");
            let found = self.ask(&path, token).await?;
            let found = found.as_array().cloned().unwrap_or_default();
            for membership in &found {
                let organisation = membership.get("organization");
                let is_active = membership.get("state").and_then(Value::as_str) == Some("active");
                let Some(organisation) = organisation.filter(|_| is_active) else { continue };
                let number = organisation.get("id").and_then(Value::as_u64);
                all.extend(number.map(|number| number.to_string()));
                all.extend(organisation.get("login").and_then(Value::as_str).map(str::to_owned));
            }
            if found.len() < PAGE {
                break;
            }
        }
        Ok(all)
    }

    async fn ask(&self, path: &str, token: &str) -> Result<Value, Trouble> {
        let answer = self.outside.get(&at(&self.set.api, path)?, Some(token)).await?;
        if answer.status.is_success() {
            return Ok(answer.json);
        }
        Err(Trouble::Away(format!("GitHub does not answer about the account: {}", answer.error())))
    }

    async fn exchange(&self, flow: &Flow, code: &str) -> Result<String, Trouble> {
        let url = at(&self.set.site, "login/oauth/access_token")?;
        let fields = || {
            vec![
                ("code", code),
                ("redirect_uri", flow.redirect_uri.as_str()),
                ("code_verifier", flow.verifier.as_str()),
            ]
        };
        let url = &url;
        let attempt = |secret: Arc<ClientSecret>| async move {
            match self.outside.exchange(url, fields(), &self.set.client, &secret, false).await {
                Ok(answer) => judged(&answer),
                Err(trouble) => Attempt::Failed(trouble),
            }
        };
        self.secret.present(attempt).await
    }
}

/// GitHub answers 200 to what it refuses, and says so in the body.
fn judged(answer: &Incoming) -> Attempt<String, Trouble> {
    if let Some(token) = answer.text("access_token").filter(|_| answer.status.is_success()) {
        return Attempt::Done(token.to_owned());
    }
    let error = answer.error();
    if error == "incorrect_client_credentials" || answer.status.as_u16() == 401 {
        let text = format!(
            "GitHub does not take GITHUB_CLIENT_ID with GITHUB_CLIENT_SECRET ({error}); give it the \
             one that GitHub has"
        );
        return Attempt::Refused(Trouble::Client(text));
    }
    Attempt::Failed(match answer.status.is_server_error() {
        true => Trouble::Away(format!("GitHub fails: {error}")),
        false => Trouble::Login(format!("GitHub refuses the login: {error}")),
    })
}

fn at(base: &Url, path: &str) -> Result<Url, Trouble> {
    let base = base.as_str().trim_end_matches('/');
    let url = Url::parse(&format!("{base}/{path}"));
    url.map_err(|_| Trouble::Away("GITHUB_URL and GITHUB_API_URL make no address".into()))
}
