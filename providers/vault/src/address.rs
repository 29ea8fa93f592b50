//! Where the entry is and how to log in, from one URL. Pure.

use secrets::remote::{AddressError, Query};
use std::{fmt, path::PathBuf};
use url::{Host, Url};

/// Where Kubernetes mounts the token of a pod's service account.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Calls in any hour, where the URL does not say.
const CALLS_PER_HOUR: u32 = 1_800;

const PARAMETERS: [&str; 12] = [
    "auth",
    "auth_mount",
    "ca_file",
    "calls_per_hour",
    "jwt_file",
    "kv",
    "namespace",
    "plaintext",
    "role",
    "role_id",
    "secret_id_file",
    "token_file",
];

/// An entry of a KV engine, and how to get at it.
///
/// `vault+https://HOST:8200/MOUNT/PATH?auth=kubernetes&role=R`. The first segment of the path is the
/// mount; one with a `/` in it is written with `%2F`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `https://HOST:8200`.
    pub(crate) base: String,
    pub(crate) mount: String,
    pub(crate) path: String,
    pub(crate) namespace: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) is_versioned: bool,
    pub(crate) auth: Auth,
    pub(crate) auth_mount: String,
    pub(crate) calls_per_hour: u32,
}

/// How to log in. What is secret about it stands in a file, which is read for every login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// With the token of the pod's service account.
    Kubernetes {
        /// The role at the auth method.
        role: String,
        /// The projected token.
        jwt_file: PathBuf,
    },
    /// With a JWT that somebody else writes.
    Jwt {
        /// The role at the auth method.
        role: String,
        /// The JWT.
        jwt_file: PathBuf,
    },
    /// With a role id and a secret id.
    Approle {
        /// The role id, which is no secret.
        role_id: String,
        /// The secret id.
        secret_id_file: PathBuf,
    },
    /// Not at all: somebody else, such as an agent of Vault's, writes a token.
    Token {
        /// The token. The file is watched.
        token_file: PathBuf,
    },
}

impl Address {
    /// Reads `vault+https://…` or `vault+http://…`.
    ///
    /// # Errors
    /// What is wrong with it, and what would do.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let error = |reason: &str| AddressError::new(reason);
        let rest = text
            .strip_prefix("vault+")
            .ok_or_else(|| error("expected vault+https://HOST:8200/MOUNT/PATH?auth=…"))?;
        let url = Url::parse(rest).map_err(|_| error("it is not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(error("a user, a password or a fragment has no place in it"));
        }
        let pairs = url.query_pairs().map(|(name, value)| (name.into(), value.into()));
        let query = Query::new(pairs, &PARAMETERS)?;
        check_scheme(&url, &query)?;
        let segments = url.path_segments().into_iter().flatten();
        let segments: Vec<String> =
            segments.map(|segment| segment.replace("%2F", "/").replace("%2f", "/")).collect();
        let (mount, path) = segments.split_first().ok_or_else(|| error("it has no path"))?;
        let path = path.join("/");
        if !is_plain_path(mount) || !is_plain_path(&path) {
            return Err(error(
                "expected /MOUNT/PATH, of letters, digits, dots, dashes and underscores",
            ));
        }
        let kind = query.get("auth").unwrap_or("");
        let auth = auth(kind, &query)?;
        check_way(kind, &query)?;
        let auth_mount = query.get("auth_mount").unwrap_or(kind).to_owned();
        let namespace = query.get("namespace").map(str::to_owned);
        if !is_plain_path(&auth_mount) || !namespace.as_deref().is_none_or(is_plain_path) {
            return Err(error("auth_mount= and namespace= are paths, such as team/kubernetes"));
        }
        Ok(Self {
            base: url.origin().ascii_serialization(),
            mount: mount.clone(),
            path,
            namespace,
            ca_file: query.file("ca_file")?,
            is_versioned: match query.get("kv") {
                None | Some("2") => true,
                Some("1") => false,
                Some(_) => return Err(error("kv= is 1 or 2")),
            },
            auth,
            auth_mount,
            calls_per_hour: query.calls_per_hour(CALLS_PER_HOUR)?,
        })
    }
}

/// The place, without what stands after the `?`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vault+{}/{}/{}", self.base, self.mount, self.path)
    }
}

fn check_scheme(url: &Url, query: &Query) -> Result<(), AddressError> {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback || query.get("plaintext") == Some("yes") => Ok(()),
        "http" => Err(AddressError::new(
            "secrets would travel unencrypted; use vault+https://, or say plaintext=yes",
        )),
        _ => Err(AddressError::new("expected vault+https:// or, on loopback, vault+http://")),
    }
}

fn auth(kind: &str, query: &Query) -> Result<Auth, AddressError> {
    let why = format!("auth={kind}");
    let needs = |name: &str| query.needed(name, &why).map(str::to_owned);
    let file = |name: &str| query.needed_file(name, &why);
    match kind {
        "kubernetes" => Ok(Auth::Kubernetes {
            role: needs("role")?,
            jwt_file: query.file("jwt_file")?.unwrap_or_else(|| POD_TOKEN.into()),
        }),
        "jwt" => Ok(Auth::Jwt { role: needs("role")?, jwt_file: file("jwt_file")? }),
        "approle" => Ok(Auth::Approle {
            role_id: needs("role_id")?,
            secret_id_file: file("secret_id_file")?,
        }),
        "token" => Ok(Auth::Token { token_file: file("token_file")? }),
        _ => Err(AddressError::new("expected auth=kubernetes, jwt, approle or token")),
    }
}

/// Refuses what belongs to another way of logging in.
fn check_way(kind: &str, query: &Query) -> Result<(), AddressError> {
    let other: &[&str] = match kind {
        "kubernetes" | "jwt" => &["role_id", "secret_id_file", "token_file"],
        "approle" => &["role", "jwt_file", "token_file"],
        _ => &["role", "jwt_file", "role_id", "secret_id_file", "auth_mount"],
    };
    query.refuses(other, &format!("auth={kind}"))
}

/// Segments of plain characters between single slashes: what needs no escape in a URL or a header.
fn is_plain_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(plain);
    path.split('/').all(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_entry_and_a_way_in() {
        let address = Address::parse(
            "vault+https://bao.example:8200/team%2Fkv/arizuko/demo?auth=kubernetes&role=az&namespace=a/b",
        )
        .unwrap();
        assert_eq!(address.base, "https://bao.example:8200");
        assert_eq!((address.mount.as_str(), address.path.as_str()), ("team/kv", "arizuko/demo"));
        assert_eq!(address.namespace.as_deref(), Some("a/b"));
        assert!(address.is_versioned && address.auth_mount == "kubernetes");
        assert_eq!(
            address.auth,
            Auth::Kubernetes { role: "az".into(), jwt_file: POD_TOKEN.into() }
        );
        assert_eq!(address.to_string(), "vault+https://bao.example:8200/team/kv/arizuko/demo");
        let address =
            Address::parse("vault+http://127.0.0.1:8200/kv/x?auth=token&token_file=/t&kv=1");
        assert!(!address.unwrap().is_versioned);
    }

    #[test]
    fn what_would_be_without_effect_or_unsafe_is_refused_with_what_would_do() {
        let cases = [
            ("vault+https://h:8200/kv/x", "expected auth="),
            ("vault+https://h:8200/kv/x?auth=kubernetes", "needs role="),
            ("vault+https://h:8200/kv/x?auth=approle&role_id=r", "needs secret_id_file="),
            ("vault+https://h:8200/kv/x?auth=token&token_file=t", "absolute path"),
            ("vault+https://h:8200/kv/x?auth=token&token_file=/t&role=r", "has no effect"),
            ("vault+https://h:8200/kv/x?auth=token&token_file=/t&rolle=r", "means nothing"),
            ("vault+https://h:8200/kv/x?auth=token&token_file=/t&token_file=/u", "once"),
            ("vault+https://h:8200/kv/x?auth=token&token_file=/t&kv=3", "kv= is 1 or 2"),
            ("vault+https://h:8200/kv?auth=token&token_file=/t", "expected /MOUNT/PATH"),
            ("vault+https://h:8200/kv/a%20b?auth=token&token_file=/t", "expected /MOUNT/PATH"),
            ("vault+https://h:8200/kv/../x?auth=token&token_file=/t", "expected /MOUNT/PATH"),
            ("vault+https://u:p@h:8200/kv/x?auth=token&token_file=/t", "no place"),
            ("vault+http://bao:8200/kv/x?auth=token&token_file=/t", "unencrypted"),
            ("vault+ftp://bao/kv/x?auth=token&token_file=/t", "expected vault+https"),
            ("vault://bao/kv/x", "expected vault+https"),
            ("vault+https://h/kv/x?auth=token&token_file=/t&calls_per_hour=2", "at least 60"),
        ];
        for (text, reason) in cases {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let plain = "vault+http://bao:8200/kv/x?auth=token&token_file=/t&plaintext=yes";
        assert!(Address::parse(plain).is_ok());
    }
}
