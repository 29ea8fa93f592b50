//! Which secrets, and who asks, from one URL and what EKS puts beside it. Pure.

use secrets::{
    Name,
    remote::{AddressError, Query},
};
use std::{fmt, path::PathBuf};
use url::{Host, Url};

/// Calls in any hour, where the URL does not say.
const CALLS_PER_HOUR: u32 = 1_800;

/// The longest name that a secret may have.
const SECRET_NAME_MAX: usize = 512;

const PARAMETERS: [&str; 12] = [
    "auth",
    "ca_file",
    "calls_per_hour",
    "credentials_file",
    "endpoint",
    "fips",
    "plaintext",
    "queue",
    "role",
    "session",
    "sts_endpoint",
    "token_file",
];

/// Where the EKS agent for Pod Identity, and ECS, answer over plain HTTP.
const AGENTS: [&str; 3] = ["169.254.170.23", "169.254.170.2", "[fd00:ec2::23]"];

/// Secrets of AWS Secrets Manager, and how to get at them.
///
/// `aws-sm://REGION/NAME?auth=irsa` is one secret that holds a JSON object whose keys are the names;
/// `aws-sm://REGION/PREFIX/*?auth=irsa` is one secret `PREFIX/NAME` for each name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) region: String,
    pub(crate) place: Place,
    pub(crate) auth: Auth,
    /// Where Secrets Manager answers, if not where the SDK's rules for the region say.
    pub(crate) endpoint: Option<String>,
    /// As `endpoint`, of STS.
    pub(crate) sts_endpoint: Option<String>,
    pub(crate) use_fips: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) queue: Option<String>,
    pub(crate) calls_per_hour: u32,
}

/// Where the values stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In one secret of this name or ARN, as a JSON object.
    Object(String),
    /// Each in a secret of its own, whose name begins with this and a slash.
    Prefix(String),
}

/// Who asks. What is secret about it stands in a file, which is read for every exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// IAM roles for service accounts: STS `AssumeRoleWithWebIdentity`.
    Irsa {
        /// The ARN of the role.
        role: String,
        /// The projected token of the service account.
        token_file: PathBuf,
        /// What CloudTrail shows as the session.
        session: String,
    },
    /// EKS Pod Identity: credentials from the agent on the node.
    PodIdentity {
        /// Where the agent answers.
        uri: Url,
        /// The projected token that it wants to see.
        token_file: PathBuf,
    },
    /// An access key from a file in the format of the AWS tools. The file is watched.
    Static {
        /// The file; its profile `default` is used.
        credentials_file: PathBuf,
    },
    /// The SDK's own chain, which reads the process's environment, its profiles and the instance's metadata.
    Default,
}

/// What EKS puts into the environment of a pod, as far as a source uses it. The caller reads the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ambient {
    /// `AWS_ROLE_ARN`, where the URL has no `role=`.
    pub role: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`, where it has no `token_file=`.
    pub web_identity_token_file: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub container_credentials_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, where the URL has no `token_file=`.
    pub container_token_file: Option<String>,
}

impl Ambient {
    /// Takes the variables from wherever the caller has them. An empty one counts as not set.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            role: get("AWS_ROLE_ARN"),
            web_identity_token_file: get("AWS_WEB_IDENTITY_TOKEN_FILE"),
            container_credentials_uri: get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            container_token_file: get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        }
    }
}

impl Address {
    /// Reads `aws-sm://…`. What the URL does not say of a pod's identity is taken from `ambient`.
    ///
    /// # Errors
    /// What is wrong with it, and what would do.
    pub fn parse(text: &str, ambient: &Ambient) -> Result<Self, AddressError> {
        let error = |reason: &str| AddressError::new(reason);
        let form = "expected aws-sm://REGION/NAME?auth=… or aws-sm://REGION/PREFIX/*?auth=…";
        if !text.starts_with("aws-sm://") {
            return Err(error(form));
        }
        let url = Url::parse(text).map_err(|_| error("it is not a URL"))?;
        let has_more = url.port().is_some() || url.fragment().is_some();
        if !url.username().is_empty() || url.password().is_some() || has_more {
            return Err(error("a user, a password, a port or a fragment has no place in it"));
        }
        let pairs = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned()));
        let query = Query::new(pairs, &PARAMETERS)?;
        let region = url.host_str().unwrap_or_default();
        if !is_region(region) {
            return Err(error("the region, such as eu-central-1, stands where a host would"));
        }
        let place = place(url.path().strip_prefix('/').unwrap_or_default())?;
        let auth = auth(&query, ambient)?;
        Ok(Self {
            region: region.to_owned(),
            place,
            auth,
            endpoint: endpoint(&query, "endpoint")?,
            sts_endpoint: endpoint(&query, "sts_endpoint")?,
            use_fips: match query.get("fips") {
                None => false,
                Some("yes") => true,
                Some(_) => return Err(error("fips= is yes, or is left out")),
            },
            ca_file: query.file("ca_file")?,
            queue: queue(&query)?,
            calls_per_hour: query.calls_per_hour(CALLS_PER_HOUR)?,
        })
    }
}

/// The place, without what stands after the `?`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Object(name) => write!(f, "aws-sm://{}/{name}", self.region),
            Place::Prefix(prefix) => write!(f, "aws-sm://{}/{prefix}/*", self.region),
        }
    }
}

/// The name of the secret that holds one name, under a prefix.
pub(crate) fn secret_of(prefix: &str, name: &Name) -> String {
    format!("{prefix}/{name}")
}

fn place(path: &str) -> Result<Place, AddressError> {
    if let Some(prefix) = path.strip_suffix("/*") {
        return is_secret_name(prefix)
            .then(|| Place::Prefix(prefix.to_owned()))
            .ok_or_else(|| AddressError::new("the prefix has letters, digits and / _ + = . @ -"));
    }
    // Of another account's secret, only the ARN will do.
    let is_arn = path.strip_prefix("arn:").is_some_and(|rest| {
        rest.split(':').count() == 6
            && rest.split(':').all(|part| part.is_empty() || is_secret_name(part))
    });
    if is_arn || is_secret_name(path) {
        return Ok(Place::Object(path.to_owned()));
    }
    Err(AddressError::new(
        "after the region stands the name of a secret, of letters, digits and / _ + = . @ -, its ARN, or PREFIX/*",
    ))
}

fn auth(query: &Query, ambient: &Ambient) -> Result<Auth, AddressError> {
    let kind = query.get("auth").unwrap_or("irsa");
    let what = format!("auth={kind}");
    let or_given = |name: &str, given: &Option<String>, variable: &str| {
        let missing =
            || AddressError::new(format!("{what} needs {name}=, or {variable} as EKS sets it"));
        query.get(name).map(str::to_owned).or_else(|| given.clone()).ok_or_else(missing)
    };
    let file = |name: &str, given: &Option<String>, variable: &str| {
        let path = PathBuf::from(or_given(name, given, variable)?);
        if path.is_absolute() {
            return Ok(path);
        }
        Err(AddressError::new(format!("{name}= (or {variable}) is an absolute path")))
    };
    match kind {
        "irsa" => {
            query.refuses(&["credentials_file"], &what)?;
            let role = or_given("role", &ambient.role, "AWS_ROLE_ARN")?;
            if !role.starts_with("arn:") || !role.contains(":role/") {
                return Err(AddressError::new(
                    "role= is the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
                ));
            }
            let session = query.get("session").unwrap_or("arizuko");
            if !(2..=64).contains(&session.len()) || !session.chars().all(is_session_character) {
                return Err(AddressError::new(
                    "session= is 2 to 64 letters, digits and _ + = , . @ -",
                ));
            }
            let given = &ambient.web_identity_token_file;
            let token_file = file("token_file", given, "AWS_WEB_IDENTITY_TOKEN_FILE")?;
            Ok(Auth::Irsa { role, token_file, session: session.to_owned() })
        }
        "pod-identity" => {
            query.refuses(&["credentials_file", "role", "session", "sts_endpoint"], &what)?;
            let variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
            let token_file = file("token_file", &ambient.container_token_file, variable)?;
            Ok(Auth::PodIdentity { uri: agent(ambient)?, token_file })
        }
        "static" => {
            query.refuses(&["role", "session", "sts_endpoint", "token_file"], &what)?;
            let credentials_file = query.needed_file("credentials_file", &what)?;
            Ok(Auth::Static { credentials_file })
        }
        "default" => {
            let other = ["credentials_file", "role", "session", "sts_endpoint", "token_file"];
            query.refuses(&other, &what)?;
            Ok(Auth::Default)
        }
        _ => Err(AddressError::new("expected auth=irsa, pod-identity, static or default")),
    }
}

/// Where the agent for Pod Identity answers. Its token is shown to nobody else.
fn agent(ambient: &Ambient) -> Result<Url, AddressError> {
    let variable = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let missing =
        || AddressError::new(format!("auth=pod-identity needs {variable} as EKS sets it"));
    let text = ambient.container_credentials_uri.as_deref().ok_or_else(missing)?;
    let url =
        Url::parse(text).map_err(|_| AddressError::new(format!("{variable} is not a URL")))?;
    let is_agent = url.host_str().is_some_and(|host| AGENTS.contains(&host));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_agent || is_loopback(&url) => Ok(url),
        _ => Err(AddressError::new(format!(
            "{variable} names neither the agent on the node nor an https:// address"
        ))),
    }
}

/// `https://HOST`, or plain HTTP where that is safe or asked for.
fn endpoint(query: &Query, name: &str) -> Result<Option<String>, AddressError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let url = server(query, name, text)?;
    if url.path() != "/" || url.query().is_some() {
        return Err(AddressError::new(format!("{name}= is https://HOST, without a path")));
    }
    Ok(Some(url.origin().ascii_serialization()))
}

fn queue(query: &Query) -> Result<Option<String>, AddressError> {
    let Some(text) = query.get("queue") else { return Ok(None) };
    let url = server(query, "queue", text)?;
    if url.path().len() < 2 || url.query().is_some() {
        return Err(AddressError::new(
            "queue= is the URL of an SQS queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
        ));
    }
    Ok(Some(url.into()))
}

fn server(query: &Query, name: &str, text: &str) -> Result<Url, AddressError> {
    let bad = || AddressError::new(format!("{name}= is not an https:// address"));
    let url = Url::parse(text).map_err(|_| bad())?;
    if !url.username().is_empty()
        || url.password().is_some()
        || url.fragment().is_some()
        || !url.has_host()
    {
        return Err(bad());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) || query.get("plaintext") == Some("yes") => Ok(url),
        "http" => Err(AddressError::new(format!(
            "secrets would travel unencrypted to {name}=; use https://, or say plaintext=yes"
        ))),
        _ => Err(bad()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The characters that AWS takes in the name of a secret.
fn is_secret_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    (1..=SECRET_NAME_MAX).contains(&name.len())
        && name.chars().all(plain)
        && name.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

fn is_region(region: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    region.contains('-') && region.len() <= 32 && region.chars().all(plain)
}

fn is_session_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

#[cfg(test)]
mod tests;
