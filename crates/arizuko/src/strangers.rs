//! What an instance that talks to strangers still lacks. Pure.

use kit::Settings;

/// Names what strangers would run into: each line says what is missing and what to do.
pub fn lacks(settings: &Settings) -> Vec<&'static str> {
    let set = |name: &str| !settings.raw(name, "").0.trim().is_empty();
    let mut lines = Vec::new();
    if matches!(settings.raw("ONBOARDING_POLICY", "refuse").0.trim(), "" | "refuse") {
        return lines;
    }
    if !set("WEB_HOST") {
        lines.push(
            "strangers get links (ONBOARDING_POLICY), and WEB_HOST is not set: the links lead to this machine; set \
             WEB_HOST to the host under which people reach the edge",
        );
    }
    if !set("OIDC_ISSUER") && !set("GITHUB_CLIENT_ID") {
        lines.push(
            "strangers get links (ONBOARDING_POLICY), and nobody but the operator can log in: set OIDC_ISSUER or \
             GITHUB_CLIENT_ID (docs/logins.md)",
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pairs: &[(&str, &str)]) -> usize {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        lacks(&Settings::new(Vec::new(), pairs)).len()
    }

    #[test]
    fn what_leads_strangers_nowhere_is_said_and_nothing_else() {
        let greet = ("ONBOARDING_POLICY", "greet");
        let (host, oidc) = (("WEB_HOST", "a.example"), ("OIDC_ISSUER", "https://id.example"));
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[("ONBOARDING_POLICY", "refuse")]), 0);
        assert_eq!(count(&[greet]), 2);
        assert_eq!(count(&[("ONBOARDING_POLICY", "queue"), host]), 1);
        assert_eq!(count(&[greet, oidc]), 1);
        assert_eq!(count(&[greet, host, oidc]), 0);
        assert_eq!(count(&[greet, host, ("GITHUB_CLIENT_ID", "Iv1.1")]), 0);
    }
}
