//! Where a tenant's secret may go, and in which header. Pure.
//!
//! A secret is bound when it is stored: to a scheme, a host, a port and the beginning of a path. An agent names the
//! secret and a URL; whether the one may go to the other is decided here, on the URL as it will be sent.

use url::{Host, Url};

/// The header of a secret that names none.
pub(crate) const BEARER: &str = "Authorization: Bearer {}";
/// Bytes of a URL, and of a header.
const URL_MAX: usize = 2_048;
const HEADER_MAX: usize = 256;
/// Headers that say how a request is read, or who it goes to: not for secrets.
const FRAMING: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// Where a secret may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    url: Url,
    header: String,
    /// What stands before the value, and after it.
    around: (String, String),
}

/// Why a binding or a request cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BindingError {
    #[error("`url` is https://HOST[:PORT]/PATH (or http), without user, query or fragment")]
    Url,
    #[error("the path of a URL has no encoded separators or dots")]
    Path,
    #[error(
        "`header` is `NAME: TEXT` with one {{}} where the secret stands, such as `X-Api-Key: {{}}`"
    )]
    Header,
    #[error("this secret may go to {0} and nowhere else")]
    Elsewhere(String),
}

impl Binding {
    /// A binding as an operator writes it.
    pub(crate) fn parse(url: &str, header: Option<&str>) -> Result<Self, BindingError> {
        let url = absolute(url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BindingError::Url);
        }
        let (header, around) = placement(header.unwrap_or(BEARER)).ok_or(BindingError::Header)?;
        Ok(Self { url, header, around })
    }

    /// The URL, as it is stored.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The header's name, in lower case.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// The header, as it is stored.
    pub(crate) fn template(&self) -> String {
        format!("{}: {}{{}}{}", self.header, self.around.0, self.around.1)
    }

    /// What stands before the value in its header, and after it.
    pub(crate) fn around(&self) -> (&str, &str) {
        (&self.around.0, &self.around.1)
    }

    /// The URL of a request, if the secret may go there.
    pub(crate) fn admit(&self, url: &str) -> Result<Url, BindingError> {
        let asked = absolute(url)?;
        let same = asked.scheme() == self.url.scheme()
            && asked.host() == self.url.host()
            && asked.port_or_known_default() == self.url.port_or_known_default();
        if same && is_below(asked.path(), self.url.path()) {
            return Ok(asked);
        }
        Err(BindingError::Elsewhere(self.url.to_string()))
    }
}

/// A URL that is read in one way only.
pub(crate) fn absolute(text: &str) -> Result<Url, BindingError> {
    if text.len() > URL_MAX {
        return Err(BindingError::Url);
    }
    let url = Url::parse(text).map_err(|_| BindingError::Url)?;
    let plain = matches!(url.scheme(), "https" | "http")
        && url.username().is_empty()
        && url.password().is_none()
        && url.host().is_some_and(|host| !matches!(host, Host::Domain("")));
    if !plain {
        return Err(BindingError::Url);
    }
    // Some servers decode before they look for dots and slashes: then a path below ours would be one beside it.
    let path = url.path().to_ascii_lowercase();
    if ["%2e", "%2f", "%5c", "//", ";"].iter().any(|part| path.contains(part)) {
        return Err(BindingError::Path);
    }
    Ok(url)
}

/// Whether a path lies at or below another, by whole segments.
fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn placement(text: &str) -> Option<(String, (String, String))> {
    if text.len() > HEADER_MAX {
        return None;
    }
    let (name, value) = text.split_once(':')?;
    let name = name.trim().to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || !name.bytes().all(token) || FRAMING.contains(&&*name) {
        return None;
    }
    let (before, after) = value.trim().split_once("{}")?;
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let fits = plain(before) && plain(after) && !after.contains("{}");
    fits.then(|| (name, (before.to_owned(), after.to_owned())))
}

#[cfg(test)]
mod tests;
