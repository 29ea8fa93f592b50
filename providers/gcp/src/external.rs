//! The configuration of an external account, which is not trusted: whoever writes that file must not
//! be able to have a token sent to a place of their own, a program run, or a file given away. Pure.
//!
//! `external_account` as of <https://google.aip.dev/auth/4117>; the hosts are those that Google's own
//! libraries allowed, and the regional endpoints.

use crate::address::is_loopback;
use reqwest::{
    Url,
    header::{HOST, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap, path::PathBuf, time::Duration};

/// Most headers that fetching a subject token may need.
const HEADERS_MAX: usize = 8;

/// How long the token of an impersonated account is to live, where the file does not say.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// What is allowed, by whoever wrote the source's URL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Loopback and plain HTTP will do.
    pub(crate) is_plaintext: bool,
    /// The host that a subject token may be fetched from.
    pub(crate) subject_host: Option<&'a str>,
}

/// How to get an access token with somebody else's token.
#[derive(Debug)]
pub(crate) struct ExternalAccount {
    pub(crate) audience: String,
    pub(crate) subject_token_type: String,
    pub(crate) token_url: String,
    pub(crate) impersonation: Option<Impersonation>,
    pub(crate) subject: Subject,
    /// The key of the subject token, where it stands in a JSON object.
    pub(crate) field: Option<String>,
}

/// The service account to become.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Impersonation {
    pub(crate) url: String,
    pub(crate) lifetime: Duration,
}

/// Where the subject token is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    File(PathBuf),
    Url(String, HeaderMap),
}

#[derive(Deserialize)]
struct File {
    r#type: String,
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<Lifetime>,
    credential_source: Source,
    client_id: Option<String>,
    workforce_pool_user_project: Option<String>,
    universe_domain: Option<String>,
}

#[derive(Deserialize)]
struct Lifetime {
    token_lifetime_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Source {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    format: Option<Format>,
    environment_id: Option<serde::de::IgnoredAny>,
    executable: Option<serde::de::IgnoredAny>,
    certificate: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Format {
    r#type: String,
    subject_token_field_name: Option<String>,
}

impl ExternalAccount {
    /// Reads the file, and refuses what it must not ask for. The reason never quotes it.
    pub(crate) fn parse(text: &[u8], rules: Rules<'_>) -> Result<Self, &'static str> {
        let file: File = serde_json::from_slice(text)
            .map_err(|_| "it is not the JSON of an external account")?;
        if file.r#type != "external_account" {
            return Err("its type is not external_account");
        }
        if file.universe_domain.as_deref().is_some_and(|domain| domain != "googleapis.com") {
            return Err("its universe_domain is another one than googleapis.com");
        }
        if file.client_id.is_some() || file.workforce_pool_user_project.is_some() {
            return Err("it is for a pool of people; use one of workloads");
        }
        let is_workload = file.audience.starts_with("//iam.googleapis.com/projects/")
            && file.audience.contains("/workloadIdentityPools/");
        if !is_workload {
            return Err("its audience is no provider of a workload identity pool");
        }
        let kinds =
            ["jwt", "id_token"].map(|kind| format!("urn:ietf:params:oauth:token-type:{kind}"));
        if !kinds.contains(&file.subject_token_type) {
            return Err("its subject_token_type is neither that of a JWT nor of an id_token");
        }
        let token_url = google(&file.token_url, "sts", rules)
            .filter(|url| url.path() == "/v1/token")
            .ok_or("its token_url is not that of Google's token service (https://sts.googleapis.com/v1/token)")?;
        let impersonation = file.service_account_impersonation_url.map(|url| {
            let lifetime =
                file.service_account_impersonation.and_then(|l| l.token_lifetime_seconds);
            impersonation(&url, lifetime, rules)
        });
        let field = file.credential_source.format.as_ref().map(field).transpose()?.flatten();
        Ok(Self {
            audience: file.audience,
            subject_token_type: file.subject_token_type,
            token_url: token_url.into(),
            impersonation: impersonation.transpose()?,
            subject: subject(file.credential_source, rules)?,
            field,
        })
    }

    /// The subject token in what was found, if that has the shape of a JWT: nothing else is sent away,
    /// whatever file was named.
    pub(crate) fn subject_token<'a>(&self, found: &'a str) -> Result<Cow<'a, str>, &'static str> {
        let token: Cow<'a, str> = match &self.field {
            None => found.trim_end().into(),
            Some(field) => {
                let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(found)
                    .map_err(|_| "what it names for the subject token is not a JSON object")?;
                let token = object.get(field).and_then(|token| token.as_str());
                token
                    .ok_or("what it names for the subject token has no such field")?
                    .to_owned()
                    .into()
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let part = |text: &str| !text.is_empty() && text.chars().all(plain);
        let is_jwt = token.split('.').count() == 3 && token.split('.').all(part);
        if is_jwt { Ok(token) } else { Err("what it names for the subject token is not a JWT") }
    }
}

fn field(format: &Format) -> Result<Option<String>, &'static str> {
    match (format.r#type.as_str(), &format.subject_token_field_name) {
        ("text", _) => Ok(None),
        ("json", Some(name)) => Ok(Some(name.clone())),
        _ => Err("its credential_source has a format that is neither text nor json with a field"),
    }
}

fn subject(source: Source, rules: Rules<'_>) -> Result<Subject, &'static str> {
    if source.executable.is_some() {
        return Err("its credential_source is a program, and none is run");
    }
    if source.environment_id.is_some() || source.certificate.is_some() {
        return Err("its credential_source is neither a file nor a url");
    }
    match (source.file, source.url) {
        (Some(path), None) if path.is_absolute() => Ok(Subject::File(path)),
        (Some(_), None) => Err("its credential_source is not an absolute path"),
        (None, Some(url)) => {
            let url = Url::parse(&url).map_err(|_| "its credential_source is not a URL")?;
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let host = format!("{}{port}", url.host_str().unwrap_or_default());
            let is_named = rules.subject_host == Some(host.as_str())
                || (rules.is_plaintext && is_loopback(&url));
            let is_scheme =
                url.scheme() == "https" || (url.scheme() == "http" && rules.is_plaintext);
            if !is_named || !is_scheme || !is_bare(&url) {
                return Err(
                    "its credential_source is a url that is not https:// on the host that subject_host= names",
                );
            }
            Ok(Subject::Url(url.into(), headers(source.headers)?))
        }
        _ => Err("its credential_source is neither a file nor a url"),
    }
}

fn headers(from: BTreeMap<String, String>) -> Result<HeaderMap, &'static str> {
    let reason = "its credential_source has headers that cannot be sent";
    if from.len() > HEADERS_MAX {
        return Err(reason);
    }
    let mut headers = HeaderMap::new();
    for (name, value) in from {
        let name: HeaderName = name.parse().map_err(|_| reason)?;
        let mut value: HeaderValue = value.parse().map_err(|_| reason)?;
        if name == HOST {
            return Err(reason);
        }
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn impersonation(
    url: &str,
    lifetime: Option<u64>,
    rules: Rules<'_>,
) -> Result<Impersonation, &'static str> {
    let account = |path: &str| {
        let rest = path.strip_prefix("/v1/projects/-/serviceAccounts/")?;
        let email = rest.strip_suffix(":generateAccessToken")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "@.-_".contains(c);
        (!email.is_empty() && email.chars().all(plain)).then_some(())
    };
    let url =
        google(url, "iamcredentials", rules).filter(|url| account(url.path()).is_some()).ok_or(
            "its service_account_impersonation_url is not that of Google's IAM Credentials API",
        )?;
    let lifetime = lifetime.map_or(LIFETIME, Duration::from_secs);
    if !(600..=43_200).contains(&lifetime.as_secs()) {
        return Err("its token_lifetime_seconds is not between 600 and 43200");
    }
    Ok(Impersonation { url: url.into(), lifetime })
}

/// A URL of that service of Google's, or, where that was allowed, on this machine.
fn google(text: &str, service: &str, rules: Rules<'_>) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| is_bare(url) && url.query().is_none())?;
    if rules.is_plaintext && is_loopback(&url) {
        return matches!(url.scheme(), "http" | "https").then_some(url);
    }
    let is_it = url.scheme() == "https"
        && url.port().is_none()
        && is_google(url.host_str().unwrap_or_default(), service);
    is_it.then_some(url)
}

fn is_bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

/// Whether a host is one of that service's: global, regional, with mutual TLS, or an endpoint of
/// Private Service Connect.
fn is_google(host: &str, service: &str) -> bool {
    let Some(rest) = host.strip_suffix(".googleapis.com") else { return false };
    let rest = rest.strip_suffix(".mtls").unwrap_or(rest);
    let labels: Vec<&str> = rest.split('.').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = |label: &&str| !label.is_empty() && label.chars().all(plain);
    if !labels.iter().all(is_label) {
        return false;
    }
    let regional = |label: &str| {
        label.strip_suffix(service).and_then(|r| r.strip_suffix('-')).is_some_and(|r| !r.is_empty())
    };
    let private = |label: &str| {
        label.strip_prefix(service).and_then(|r| r.strip_prefix('-')).is_some_and(|r| !r.is_empty())
    };
    match labels[..] {
        [only] => only == service || regional(only),
        [first, "p"] => private(first),
        [first, second] => first == service || second == service,
        [first, _, "rep"] => first == service,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
