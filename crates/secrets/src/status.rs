//! What operators see of a secret: everything but its value.

use crate::{Name, Secret};
use aws_lc_rs::hmac;
use serde::{Serialize, Serializer};
use std::time::SystemTime;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// One line of `GET /v1/secrets` and of `arizuko secrets status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretStatus {
    /// Which secret.
    pub name: Name,
    /// The kind of source that it comes from; `None` while no source is known to have it.
    pub source: Option<String>,
    /// The source's version id.
    pub version: Option<String>,
    /// The generation of its bundle.
    pub generation: u64,
    /// 32 bits, keyed, in hexadecimal: the same in two daemons if they hold the same value.
    pub fingerprint: Option<String>,
    /// Since the source changed it, or, where the source does not tell, since it was taken.
    pub age_seconds: Option<u64>,
    /// When the source says that it came to be, RFC 3339 to the millisecond; `None` where it does not say.
    pub changed_at: Option<String>,
    /// When this daemon took it up, RFC 3339 to the millisecond.
    pub taken_at: Option<String>,
    /// Until when an earlier value is accepted, RFC 3339.
    pub previous_accepted_until: Option<String>,
    /// When its source was last asked, RFC 3339.
    pub last_checked: Option<String>,
    /// It comes from a plain variable, which cannot change while the process runs.
    #[serde(rename = "static")]
    pub is_static: bool,
    /// The daemon cannot do without it.
    pub required: bool,
    /// What is wrong with it now.
    pub error: Option<String>,
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339_text(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at).replace_nanosecond(0);
    // Neither step fails for a time between the years 0 and 9999.
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339_millis(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let at = at.replace_nanosecond(u32::from(at.millisecond()) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// For serde.
pub(crate) fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339_text(*at))
}

/// Tells whether two daemons hold the same value, and nothing about the value to those without the
/// key. The name is part of it, so that equal values under two names do not show.
pub(crate) fn fingerprint(key: &hmac::Key, name: &Name, secret: &Secret) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(name.as_str().as_bytes());
    context.update(&[0]);
    context.update(secret.expose());
    hex::encode(context.sign().as_ref().iter().take(4).copied().collect::<Vec<u8>>())
}
