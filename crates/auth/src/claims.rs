//! What a token says.

use std::fmt;

use proto::Folder;
use serde::Serialize;

use crate::principal::Principal;
use crate::scope::Scopes;

/// The kind of a caller; for the first three, the `typ` claim of its token. A token that is made for one use is refused
/// for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A daemon: `sub` is `service:<daemon>`.
    Service,
    /// An operator: `sub` is `operator:<name>`.
    Operator,
    /// A person who logged in: `sub` is `user:<opaque id>`.
    User,
    /// Whoever holds a shared secret. There is no such token.
    Secret,
    /// Anyone at all. There is no such token.
    Anonymous,
}

impl Kind {
    /// The claim's text, which is also what `sub` begins with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Operator => "operator",
            Self::User => "user",
            Self::Secret => "secret",
            Self::Anonymous => "anonymous",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Service, Self::Operator, Self::User].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The claims of a token to be signed (RFC 7519, section 4.1, and ours). Times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct Claims {
    /// The instance: see [`crate::issuer`].
    pub iss: String,
    /// Whom the token is about. Its kind must be that of `typ`.
    #[serde(serialize_with = "as_text")]
    pub sub: Principal,
    /// The daemons that the token is for. In JSON, one text or several (RFC 7519, section 4.1.3).
    #[serde(serialize_with = "one_or_several")]
    pub aud: Vec<String>,
    /// The token's kind.
    pub typ: Kind,
    /// What the bearer may ask for.
    pub scope: Scopes,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
    /// When it begins, where that is later than `iat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The token's own id, different for every token.
    pub jti: String,
    /// Which of the subject's tokens this belongs to: see [`crate::Jwks::epochs`].
    pub epoch: u64,
    /// The one folder that the bearer is limited to, with what lies below it; no limit where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// The login session that the token came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

fn as_text<S: serde::Serializer>(sub: &Principal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(sub)
}

fn one_or_several<S: serde::Serializer>(aud: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match aud {
        [one] => serializer.serialize_str(one),
        several => serializer.collect_seq(several),
    }
}
