//! Whom a provider vouches for, and whether they may log in here. Pure.
//!
//! What lets somebody in is written into their session, as one rule. A rule that is no longer among the
//! settings takes its sessions with it.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Groups of one person that are looked at.
const GROUPS_MAX: usize = 1000;
/// In bytes, of what is shown of somebody.
const SHOWN_MAX: usize = 120;

/// Who says who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// The OpenID provider of `OIDC_ISSUER`.
    Oidc,
    /// GitHub.
    Github,
}

impl Provider {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Oidc, Self::Github];

    /// Its name in paths and rules.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Github => "github",
        }
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Somebody, as a provider tells of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) provider: Provider,
    /// The provider's own word for them: opaque, and never another's.
    pub(crate) subject: String,
    /// The same, among those of all providers.
    pub(crate) identity: String,
    /// What their own page calls them. Decides nothing.
    pub(crate) shown: String,
    /// The domain of an address that the provider has verified, in lower case.
    pub(crate) domain: Option<String>,
    /// The groups, or organisations, that they belong to.
    pub(crate) groups: Vec<String>,
}

impl Vouched {
    /// Of an ID token's claims. Nothing but `subject` is ever an id: names and addresses change hands.
    pub(crate) fn by_oidc(
        issuer: &str,
        subject: &str,
        claims: &Map<String, Value>,
        groups_claim: &str,
    ) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let verified = match claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            // Some providers write it so.
            Some(Value::String(verified)) => verified == "true",
            _ => false,
        };
        let email = text("email");
        let domain = email.filter(|_| verified).and_then(domain_of);
        let shown = email.or_else(|| text("preferred_username")).or_else(|| text("name"));
        let groups = match claims.get(groups_claim) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                let texts = several.iter().take(GROUPS_MAX).filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let hash = hex::encode(&Sha256::digest(issuer)[..8]);
        Self {
            provider: Provider::Oidc,
            subject: subject.to_owned(),
            identity: format!("oidc:{hash}:{subject}"),
            shown: short(shown.unwrap_or("an account")),
            domain,
            groups,
        }
    }

    /// Of GitHub's answers. The number stays with the account; its name may become another's.
    pub(crate) fn by_github(id: u64, name: &str, organisations: Vec<String>) -> Self {
        Self {
            provider: Provider::Github,
            subject: id.to_string(),
            identity: format!("github:{id}"),
            shown: short(name),
            domain: None,
            groups: organisations,
        }
    }
}

/// What stands behind the last `@`.
fn domain_of(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let good = !local.is_empty() && !domain.is_empty() && domain.bytes().all(plain);
    good.then(|| domain.to_ascii_lowercase())
}

fn short(text: &str) -> String {
    let mut end = text.len().min(SHOWN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().filter(|c| !c.is_control()).collect()
}

/// Who of a provider's people may log in, and who of them is an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Domains of verified addresses.
    pub(crate) domains: Vec<String>,
    /// Groups, or organisations.
    pub(crate) groups: Vec<String>,
    /// Subjects that are operators.
    pub(crate) operators: Vec<String>,
    /// Groups whose members are operators.
    pub(crate) operator_groups: Vec<String>,
    /// Whether groups are names that do not tell capital letters apart.
    pub(crate) ignores_case: bool,
}

/// Somebody may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// By which rule.
    pub(crate) rule: String,
    /// Whether as an operator.
    pub(crate) is_operator: bool,
}

impl Policy {
    /// Whether `vouched` may log in, and as what.
    pub(crate) fn admits(&self, vouched: &Vouched) -> Option<Admitted> {
        let provider = vouched.provider;
        let rule = |kind: &str, what: &str| format!("{provider} {kind} {what}");
        let within = |groups: &[String]| {
            groups
                .iter()
                .find(|group| vouched.groups.iter().any(|one| self.same(one, group)))
                .cloned()
        };
        let operator = |rule: String| Some(Admitted { rule, is_operator: true });
        if let Some(subject) = self.operators.iter().find(|one| **one == vouched.subject) {
            return operator(rule("operator", subject));
        }
        if let Some(group) = within(&self.operator_groups) {
            return operator(rule("operator-group", &group));
        }
        let person = |rule: String| Some(Admitted { rule, is_operator: false });
        if let Some(group) = within(&self.groups) {
            return person(rule("group", &group));
        }
        let domain = self.domains.iter().find(|one| Some(*one) == vouched.domain.as_ref());
        if let Some(domain) = domain {
            return person(rule("domain", domain));
        }
        self.is_open().then(|| format!("{provider} anyone")).and_then(person)
    }

    /// Whether a rule that let somebody of `provider` in still stands.
    pub(crate) fn keeps(&self, provider: Provider, rule: &str) -> bool {
        let Some(rest) = rule.strip_prefix(provider.name()).and_then(|r| r.strip_prefix(' '))
        else {
            return false;
        };
        let among = |list: &[String], what: &str| list.iter().any(|one| one == what);
        match rest.split_once(' ') {
            None => rest == "anyone" && self.is_open(),
            Some(("operator", subject)) => among(&self.operators, subject),
            Some(("operator-group", group)) => among(&self.operator_groups, group),
            Some(("group", group)) => among(&self.groups, group),
            Some(("domain", domain)) => among(&self.domains, domain),
            Some(_) => false,
        }
    }

    /// Whether nothing says who may log in, so that anybody may whom the provider vouches for.
    pub(crate) fn is_open(&self) -> bool {
        self.domains.is_empty() && self.groups.is_empty()
    }

    fn same(&self, one: &str, other: &str) -> bool {
        one == other || (self.ignores_case && one.eq_ignore_ascii_case(other))
    }
}

#[cfg(test)]
mod tests;
