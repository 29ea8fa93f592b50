//! Which secrets, where, and how to log in, from one URL. Pure.

use secrets::{
    Name,
    remote::{AddressError, Query},
};
use std::{fmt, path::PathBuf};
use url::{Host, Url, form_urlencoded};

/// The metadata server, by the name that resolves on Google's machines alone.
const METADATA: &str = "http://metadata.google.internal";

/// Where Pub/Sub is.
const PUBSUB: &str = "https://pubsub.googleapis.com";

/// Calls in any hour for one secret, where the URL does not say.
const CALLS_PER_HOUR: u32 = 1_800;

/// Calls in any hour for one secret a name: 52 names at the default interval.
const CALLS_PER_HOUR_EACH: u32 = 7_200;

/// Most characters of a prefix. A secret's id has at most 255, and a name up to 137 of them.
const PREFIX_MAX: usize = 100;

const SECRET_ID_MAX: usize = 255;

const PARAMETERS: [&str; 11] = [
    "auth",
    "ca_file",
    "calls_per_hour",
    "credentials_file",
    "endpoint",
    "location",
    "metadata_endpoint",
    "plaintext",
    "pubsub_endpoint",
    "subject_host",
    "subscription",
];

/// One secret that holds all names, or one for each, and how to get at them.
///
/// `gcp-sm://PROJECT/NAME?…` or `gcp-sm://PROJECT/PREFIX-*?…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) project: String,
    pub(crate) form: Form,
    pub(crate) location: Option<String>,
    /// `https://secretmanager.googleapis.com`.
    pub(crate) endpoint: String,
    pub(crate) auth: Auth,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) calls_per_hour: u32,
    pub(crate) push: Option<Subscription>,
    /// Whether loopback and plain HTTP will do where a file names them.
    pub(crate) is_plaintext: bool,
}

/// How names are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// In one secret, whose versions are JSON objects: all of one moment.
    One {
        /// Its id.
        secret: String,
    },
    /// Each in a secret of its own, and of its own moment.
    Each {
        /// What stands before the name in a secret's id, with the dash.
        prefix: String,
    },
}

/// How to get an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// From the metadata server: Workload Identity, or a machine's own account.
    WorkloadIdentity {
        /// `http://metadata.google.internal`.
        metadata: String,
    },
    /// With somebody else's token, which Google's token service exchanges.
    ExternalAccount {
        /// The configuration. Read for every login, and not trusted.
        credentials_file: PathBuf,
        /// The host that it may fetch that token from, where it names a URL.
        subject_host: Option<String>,
    },
    /// With a service account's private key.
    ServiceAccount {
        /// The key. Read for every login.
        credentials_file: PathBuf,
    },
}

/// Where hints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `projects/P/subscriptions/S`.
    pub(crate) name: String,
    /// `https://pubsub.googleapis.com`.
    pub(crate) endpoint: String,
}

impl Address {
    /// Reads `gcp-sm://…`.
    ///
    /// # Errors
    /// What is wrong with it, and what would do.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let error = AddressError::new;
        let rest = text.strip_prefix("gcp-sm://");
        let rest = rest.ok_or_else(|| error("expected gcp-sm://PROJECT/NAME"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let query = Query::new(pairs, &PARAMETERS)?;
        let (project, secret) = place
            .split_once('/')
            .ok_or_else(|| error("expected gcp-sm://PROJECT/NAME or gcp-sm://PROJECT/PREFIX-*"))?;
        let is_project =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".:-".contains(c);
        if project.is_empty() || !project.chars().all(is_project) {
            return Err(error("the project is its id, such as my-project, or its number"));
        }
        let is_plaintext = match query.get("plaintext") {
            None => false,
            Some("yes") => true,
            Some(_) => return Err(error("plaintext= is yes, or is not there")),
        };
        let location = query.get("location").map(str::to_owned);
        if !location.as_deref().is_none_or(is_location) {
            return Err(error("location= is a region, such as europe-west3"));
        }
        let form = form(secret)?;
        Ok(Self {
            endpoint: match (query.get("endpoint"), &location) {
                (Some(endpoint), _) => base("endpoint", endpoint, is_plaintext)?,
                (None, Some(region)) => {
                    format!("https://secretmanager.{region}.rep.googleapis.com")
                }
                (None, None) => "https://secretmanager.googleapis.com".into(),
            },
            auth: auth(&query, is_plaintext)?,
            ca_file: query.file("ca_file")?,
            calls_per_hour: query.calls_per_hour(match form {
                Form::One { .. } => CALLS_PER_HOUR,
                Form::Each { .. } => CALLS_PER_HOUR_EACH,
            })?,
            push: push(&query, project, is_plaintext)?,
            project: project.to_owned(),
            form,
            location,
            is_plaintext,
        })
    }

    /// What the secrets belong to: `projects/P`, or `projects/P/locations/L`.
    pub(crate) fn parent(&self) -> String {
        match &self.location {
            Some(location) => format!("projects/{}/locations/{location}", self.project),
            None => format!("projects/{}", self.project),
        }
    }

    /// The secret that holds `name`.
    pub(crate) fn secret(&self, name: &Name) -> String {
        match &self.form {
            Form::One { secret } => secret.clone(),
            Form::Each { prefix } => format!("{prefix}{name}"),
        }
    }

    /// The name that the secret `id` holds, where each has one of its own.
    pub(crate) fn name(&self, id: &str) -> Option<Name> {
        match &self.form {
            Form::One { .. } => None,
            Form::Each { prefix } => id.strip_prefix(prefix.as_str())?.parse().ok(),
        }
    }
}

/// The place, without what stands after the `?`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, location, .. } = self;
        match &self.form {
            Form::One { secret } => write!(f, "gcp-sm://{project}/{secret}")?,
            Form::Each { prefix } => {
                write!(f, "gcp-sm://{project}/{prefix}*, where each name is of its own moment")?;
            }
        }
        match location {
            Some(location) => write!(f, " in {location}"),
            None => Ok(()),
        }
    }
}

fn form(secret: &str) -> Result<Form, AddressError> {
    let is_id = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !text.is_empty() && text.chars().all(plain)
    };
    match secret.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('-') && is_id(prefix) && prefix.len() <= PREFIX_MAX => {
            Ok(Form::Each { prefix: prefix.to_owned() })
        }
        None if is_id(secret) && secret.len() <= SECRET_ID_MAX => {
            Ok(Form::One { secret: secret.to_owned() })
        }
        _ => Err(AddressError::new(
            "after the project expected a secret's id, of letters, digits, dashes and underscores, or PREFIX-*",
        )),
    }
}

fn auth(query: &Query, is_plaintext: bool) -> Result<Auth, AddressError> {
    let kind = query.get("auth").unwrap_or("workload-identity");
    let why = format!("auth={kind}");
    match kind {
        "workload-identity" => {
            query.refuses(&["credentials_file", "subject_host"], &why)?;
            let metadata = match query.get("metadata_endpoint") {
                None => METADATA.to_owned(),
                Some(text) => metadata(text, is_plaintext)?,
            };
            Ok(Auth::WorkloadIdentity { metadata })
        }
        "external-account" => {
            query.refuses(&["metadata_endpoint"], &why)?;
            Ok(Auth::ExternalAccount {
                credentials_file: query.needed_file("credentials_file", &why)?,
                subject_host: query.get("subject_host").map(str::to_ascii_lowercase),
            })
        }
        "service-account" => {
            query.refuses(&["metadata_endpoint", "subject_host"], &why)?;
            let credentials_file = query.needed_file("credentials_file", &why)?;
            Ok(Auth::ServiceAccount { credentials_file })
        }
        _ => Err(AddressError::new(
            "expected auth=workload-identity, external-account or service-account",
        )),
    }
}

fn push(
    query: &Query,
    project: &str,
    is_plaintext: bool,
) -> Result<Option<Subscription>, AddressError> {
    let Some(text) = query.get("subscription") else {
        query.refuses(&["pubsub_endpoint"], "no subscription=")?;
        return Ok(None);
    };
    let is_plain = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._~:-".contains(c);
        !text.is_empty() && text.chars().all(plain)
    };
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [id] if is_plain(id) => format!("projects/{project}/subscriptions/{id}"),
        ["projects", other, "subscriptions", id] if is_plain(other) && is_plain(id) => text.into(),
        _ => {
            return Err(AddressError::new(
                "subscription= is a subscription's id, or projects/P/subscriptions/ID",
            ));
        }
    };
    let endpoint = match query.get("pubsub_endpoint") {
        None => PUBSUB.to_owned(),
        Some(text) => base("pubsub_endpoint", text, is_plaintext)?,
    };
    Ok(Some(Subscription { name, endpoint }))
}

/// Whether it is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The beginning of the URLs of a service.
fn base(parameter: &str, text: &str, is_plaintext: bool) -> Result<String, AddressError> {
    let url = origin(parameter, text)?;
    match url.scheme() {
        "https" => Ok(url.origin().ascii_serialization()),
        "http" if is_loopback(&url) || is_plaintext => Ok(url.origin().ascii_serialization()),
        _ => Err(AddressError::new(format!(
            "{parameter}= begins with https://, or on loopback with http://; elsewhere say plaintext=yes as well"
        ))),
    }
}

/// The metadata server speaks no TLS, and is reached within the machine or its node alone.
fn metadata(text: &str, is_plaintext: bool) -> Result<String, AddressError> {
    let url = origin("metadata_endpoint", text)?;
    let is_near = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_link_local(),
        // Its one address, where there is nothing but IPv6.
        Some(Host::Ipv6(ip)) => ip.segments() == [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
        Some(Host::Domain(name)) => name == "metadata.google.internal",
        None => false,
    };
    if url.scheme() == "http" && (is_near || is_loopback(&url) || is_plaintext) {
        return Ok(url.origin().ascii_serialization());
    }
    Err(AddressError::new(
        "metadata_endpoint= is http:// with a link-local or loopback address; elsewhere say plaintext=yes as well",
    ))
}

fn origin(parameter: &str, text: &str) -> Result<Url, AddressError> {
    let url = Url::parse(text).ok().filter(|url| {
        url.has_host()
            && url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| {
        AddressError::new(format!("{parameter}= is a scheme, a host and a port, and nothing else"))
    })
}

fn is_location(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_secret_and_a_way_in() {
        let address = Address::parse("gcp-sm://my-project/arizuko-demo").unwrap();
        assert_eq!(address.endpoint, "https://secretmanager.googleapis.com");
        assert_eq!(address.parent(), "projects/my-project");
        assert_eq!(address.auth, Auth::WorkloadIdentity { metadata: METADATA.into() });
        assert_eq!(address.to_string(), "gcp-sm://my-project/arizuko-demo");
        let name = Name::literal("CHANNEL_SECRET");
        assert_eq!(address.secret(&name), "arizuko-demo");

        let each = "gcp-sm://example.com:p/az-*?location=europe-west3&subscription=az";
        let each = Address::parse(each).unwrap();
        assert_eq!(each.endpoint, "https://secretmanager.europe-west3.rep.googleapis.com");
        assert_eq!(each.parent(), "projects/example.com:p/locations/europe-west3");
        assert_eq!(each.secret(&name), "az-CHANNEL_SECRET");
        assert_eq!(each.name("az-CHANNEL_SECRET"), Some(name));
        assert_eq!((each.name("az-lower"), each.name("other-A")), (None, None));
        assert_eq!(each.push.unwrap().name, "projects/example.com:p/subscriptions/az");
        assert!(each.calls_per_hour > address.calls_per_hour);
    }

    #[test]
    fn what_would_be_without_effect_or_unsafe_is_refused_with_what_would_do() {
        let cases = [
            ("gcp://p/s", "expected gcp-sm://"),
            ("gcp-sm://p", "expected gcp-sm://PROJECT/NAME"),
            ("gcp-sm:///s", "the project is its id"),
            ("gcp-sm://p%2Fx/s", "the project is its id"),
            ("gcp-sm://P/s", "the project is its id"),
            ("gcp-sm://p/", "a secret's id"),
            ("gcp-sm://p/*", "a secret's id"),
            ("gcp-sm://p/az*", "a secret's id"),
            ("gcp-sm://p/a/b", "a secret's id"),
            ("gcp-sm://p/../b", "a secret's id"),
            ("gcp-sm://p/s?auth=adc", "expected auth=workload-identity"),
            ("gcp-sm://p/s?auth=external-account", "needs credentials_file="),
            ("gcp-sm://p/s?auth=service-account&credentials_file=k", "absolute path"),
            ("gcp-sm://p/s?credentials_file=/k", "has no effect with auth=workload-identity"),
            (
                "gcp-sm://p/s?auth=service-account&credentials_file=/k&subject_host=h",
                "has no effect with auth=service-account",
            ),
            ("gcp-sm://p/s?location=a/b", "location= is a region"),
            ("gcp-sm://p/s?location=evil.example", "location= is a region"),
            ("gcp-sm://p/s?endpoint=http://sm.example", "say plaintext=yes"),
            ("gcp-sm://p/s?endpoint=https://u:p@sm.example", "and nothing else"),
            ("gcp-sm://p/s?endpoint=https://sm.example/v1", "and nothing else"),
            ("gcp-sm://p/s?metadata_endpoint=http://meta.example", "link-local or loopback"),
            ("gcp-sm://p/s?metadata_endpoint=https://127.0.0.1:1", "link-local or loopback"),
            ("gcp-sm://p/s?pubsub_endpoint=https://ps.example", "has no effect with no sub"),
            ("gcp-sm://p/s?subscription=a/b", "subscription= is a subscription's id"),
            ("gcp-sm://p/s?plaintext=no", "plaintext= is yes"),
            ("gcp-sm://p/s?calls_per_hour=2", "at least 60"),
            ("gcp-sm://p/s?autth=x", "means nothing"),
        ];
        for (text, reason) in cases {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for text in [
            "gcp-sm://p/s?endpoint=http://sm.example&plaintext=yes",
            "gcp-sm://p/s?endpoint=http://127.0.0.1:80",
            "gcp-sm://p/s?metadata_endpoint=http://169.254.169.254",
            "gcp-sm://p/s?metadata_endpoint=http://[fd20:ce::254]",
            "gcp-sm://123456/s?subscription=projects/o/subscriptions/x",
        ] {
            assert!(Address::parse(text).is_ok(), "{text}");
        }
    }
}
