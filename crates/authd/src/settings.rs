//! What an operator may set of authd.

use crate::{outside::asked, signing_key::SHORTEST_ROTATION};
use kit::{AnySetting, Setting, WEB_HOST, parse};
use std::time::Duration;
use url::Url;

/// How long a signing key signs.
pub const KEY_ROTATION_INTERVAL: Setting<Duration> = Setting {
    name: "KEY_ROTATION_INTERVAL",
    default: "30d",
    about: "How long a key signs tokens before the next one takes over.",
    expects: "a duration of at least 1h, such as 30d",
    parse: |text| parse::duration(text).filter(|interval| *interval >= SHORTEST_ROTATION),
};

const ADDRESS: &str = "an https address, or an http one on this machine";

/// The OpenID provider by which people log in; exactly as its discovery document writes it.
pub const OIDC_ISSUER: Setting<Option<String>> = Setting {
    name: "OIDC_ISSUER",
    default: "",
    about: "The OpenID provider by which people log in, as its discovery document names itself. Unset: none.",
    expects: "an https address such as https://accounts.google.com, or an http one on this machine",
    parse: |text| {
        parse::optional(text, |text| {
            let url = asked(text)?;
            (url.query().is_none() && url.fragment().is_none()).then(|| text.to_owned())
        })
    },
};

/// This instance, as the OpenID provider knows it.
pub const OIDC_CLIENT_ID: Setting<String> = Setting {
    name: "OIDC_CLIENT_ID",
    default: "",
    about: "The client id that the OpenID provider gave this instance.",
    expects: "text without spaces",
    parse: word,
};

/// What the OpenID provider is asked for.
pub const OIDC_SCOPES: Setting<String> = Setting {
    name: "OIDC_SCOPES",
    default: "openid email profile",
    about: "The scopes that the OpenID provider is asked for, openid among them; add the one that brings groups.",
    expects: "words with spaces between them, openid among them",
    parse: |text| text.split(' ').any(|scope| scope == "openid").then(|| text.to_owned()),
};

/// Who may log in by the OpenID provider, by address.
pub const OIDC_ALLOWED_DOMAINS: Setting<Vec<String>> = Setting {
    name: "OIDC_ALLOWED_DOMAINS",
    default: "",
    about: "The domains whose people may log in, by an address that the OpenID provider says it has verified.",
    expects: "domains such as example.org,example.com, or nothing",
    parse: |text| list(&text.to_ascii_lowercase()),
};

/// Where groups stand in an ID token.
pub const OIDC_GROUPS_CLAIM: Setting<String> = Setting {
    name: "OIDC_GROUPS_CLAIM",
    default: "groups",
    about: "The claim of an ID token that has the groups of whoever logs in.",
    expects: "the name of a claim",
    parse: |text| word(text).filter(|claim| !claim.is_empty()),
};

/// Who may log in by the OpenID provider, by group.
pub const OIDC_ALLOWED_GROUPS: Setting<Vec<String>> = Setting {
    name: "OIDC_ALLOWED_GROUPS",
    default: "",
    about: "The groups of the OpenID provider whose members may log in.",
    expects: "groups with commas between them, or nothing",
    parse: list,
};

/// Who is an operator, by subject.
pub const OIDC_OPERATORS: Setting<Vec<String>> = Setting {
    name: "OIDC_OPERATORS",
    default: "",
    about: "The subjects (`sub`) of the OpenID provider who log in as operators, and may do everything.",
    expects: "subjects with commas between them, or nothing",
    parse: list,
};

/// Who is an operator, by group.
pub const OIDC_OPERATOR_GROUPS: Setting<Vec<String>> = Setting {
    name: "OIDC_OPERATOR_GROUPS",
    default: "",
    about: "The groups of the OpenID provider whose members log in as operators, and may do everything.",
    expects: "groups with commas between them, or nothing",
    parse: list,
};

/// This instance, as GitHub knows it.
pub const GITHUB_CLIENT_ID: Setting<String> = Setting {
    name: "GITHUB_CLIENT_ID",
    default: "",
    about: "The client id of the OAuth app by which people log in with GitHub. Unset: they cannot.",
    expects: "text without spaces",
    parse: word,
};

/// Who may log in by GitHub.
pub const GITHUB_ALLOWED_ORGS: Setting<Vec<String>> = Setting {
    name: "GITHUB_ALLOWED_ORGS",
    default: "",
    about: "The organisations of GitHub whose members may log in: their numbers, or their names, which may change hands.",
    expects: "numbers or names with commas between them, or nothing",
    parse: list,
};

/// Who is an operator, by GitHub's number.
pub const GITHUB_OPERATORS: Setting<Vec<String>> = Setting {
    name: "GITHUB_OPERATORS",
    default: "",
    about: "The numbers of the GitHub accounts that log in as operators, and may do everything.",
    expects: "numbers such as 583231 with commas between them, or nothing",
    parse: |text| {
        let numbers = list(text)?;
        numbers.iter().all(|one| one.parse::<u64>().is_ok()).then_some(numbers)
    },
};

/// Where people log in with GitHub.
pub const GITHUB_URL: Setting<Url> = Setting {
    name: "GITHUB_URL",
    default: "https://github.com",
    about: "Where people log in with GitHub, for an Enterprise server of one's own.",
    expects: ADDRESS,
    parse: asked,
};

/// Where GitHub's API is.
pub const GITHUB_API_URL: Setting<Url> = Setting {
    name: "GITHUB_API_URL",
    default: "https://api.github.com",
    about: "Where GitHub's API is, for an Enterprise server of one's own.",
    expects: ADDRESS,
    parse: asked,
};

/// The settings that authd reads.
pub const SETTINGS: &[&dyn AnySetting] = &[
    &KEY_ROTATION_INTERVAL,
    &WEB_HOST,
    &OIDC_ISSUER,
    &OIDC_CLIENT_ID,
    &OIDC_SCOPES,
    &OIDC_ALLOWED_DOMAINS,
    &OIDC_GROUPS_CLAIM,
    &OIDC_ALLOWED_GROUPS,
    &OIDC_OPERATORS,
    &OIDC_OPERATOR_GROUPS,
    &GITHUB_CLIENT_ID,
    &GITHUB_ALLOWED_ORGS,
    &GITHUB_OPERATORS,
    &GITHUB_URL,
    &GITHUB_API_URL,
];

/// What stands between commas, without the spaces around it. An empty part is a typing error.
fn list(text: &str) -> Option<Vec<String>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let parts = text.split(',').map(str::trim);
    let good = |part: &str| !part.is_empty() && !part.chars().any(char::is_control);
    parts.map(|part| good(part).then(|| part.to_owned())).collect()
}

fn word(text: &str) -> Option<String> {
    (!text.chars().any(|c| c.is_whitespace() || c.is_control())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_an_empty_part_is_a_typing_error() {
        let read = OIDC_ALLOWED_GROUPS.parse;
        assert_eq!(read("staff, team leads"), Some(vec!["staff".into(), "team leads".into()]));
        assert_eq!(read(""), Some(Vec::new()));
        for bad in [",", "staff,", "a,,b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!((GITHUB_OPERATORS.parse)("octocat"), None, "a name may become another's");
        assert_eq!((OIDC_SCOPES.parse)("email"), None);
        assert_eq!((OIDC_ISSUER.parse)("http://id.example"), None);
        let exact = (OIDC_ISSUER.parse)("https://id.example/").unwrap();
        assert_eq!(exact.as_deref(), Some("https://id.example/"), "as the provider writes it");
    }
}
