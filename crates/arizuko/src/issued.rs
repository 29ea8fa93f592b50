//! The secrets that arizuko itself issues: random text that only its own daemons show each other.

use crate::{
    daemons::{PROGRAMS, bundles},
    failure::{Exit, Failure},
    otlp,
};
use kit::AUTHD_SERVICE_KEY;
use secrets::{Name, seal::SECRETS_KEY};
use std::collections::BTreeSet;

const CHANNEL_SECRET: Name = Name::literal("CHANNEL_SECRET");
const TELEGRAM_WEBHOOK_SECRET: Name = Name::literal("TELEGRAM_WEBHOOK_SECRET");

/// What a new instance needs: the rest is for who wants daemons to have secrets of their own.
pub const GENERATED: [Name; 3] = [SECRETS_KEY, CHANNEL_SECRET, AUTHD_SERVICE_KEY];

/// Every one of them: those of a new instance, each daemon's own in place of a shared one, and what
/// Telegram is given to show at our webhook.
pub fn all() -> BTreeSet<Name> {
    let declared = PROGRAMS.iter().flat_map(bundles).flat_map(|bundle| bundle.needs());
    let is_own = |name: &Name| {
        let of = |shared: &Name| name.as_str().starts_with(&format!("{shared}_"));
        of(&CHANNEL_SECRET) || of(&AUTHD_SERVICE_KEY)
    };
    let own = declared.map(|need| need.name.clone()).filter(is_own);
    own.chain(GENERATED).chain([TELEGRAM_WEBHOOK_SECRET]).collect()
}

/// The name of a secret that arizuko issues.
///
/// # Errors
/// It is none; the line says how to give another one.
pub fn parse(text: &str) -> Result<Name, Failure> {
    let name: Name = text
        .parse()
        .map_err(|error: secrets::NameError| Failure::new(Exit::Usage, error.to_string()))?;
    if all().contains(&name) {
        return Ok(name);
    }
    let mut needs = PROGRAMS.iter().flat_map(bundles).flat_map(|bundle| bundle.needs());
    let line = if otlp::uses(&name) || needs.any(|need| need.name == name) {
        format!(
            "{name} is not a secret that arizuko makes itself; give it with `arizuko secrets set {name}`"
        )
    } else {
        let ours = GENERATED.map(|name| name.to_string());
        format!(
            "nothing here uses a secret called {name}; arizuko makes {} and daemons' own such as CHANNEL_SECRET_TELED, and `arizuko secrets check` lists every name",
            ours.join(", ")
        )
    };
    Err(Failure::new(Exit::Usage, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_issued_is_not_ours_to_make() {
        let all = all();
        let ours = ["SECRETS_KEY", "CHANNEL_SECRET", "CHANNEL_SECRET_TELED", "CHANNEL_SECRET_WEBD"];
        let more = ["AUTHD_SERVICE_KEY", "AUTHD_SERVICE_KEY_ROUTD", "TELEGRAM_WEBHOOK_SECRET"];
        for name in ours.into_iter().chain(more) {
            assert!(all.contains(&name.parse().unwrap()), "{name}");
        }
        for name in ["PROXYD_TLS_KEY", "SLACK_SIGNING_SECRET", "CHANNEL_SECRET_PREVIOUS", "x"] {
            let line = parse(name).unwrap_err();
            assert_eq!(line.code, 64, "{line}");
        }
        assert!(parse("PROXYD_TLS_KEY").unwrap_err().line.contains("secrets set PROXYD_TLS_KEY"));
        for unknown in ["NOPE", "CHANNEL_SECRET_PREVIOUS"] {
            let line = parse(unknown).unwrap_err().line;
            assert!(line.contains("nothing here uses") && line.contains("secrets check"), "{line}");
            assert!(!line.contains("secrets set"), "it would be of no use: {line}");
        }
    }
}
