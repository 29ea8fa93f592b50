//! What each secret is for, what happens when it is replaced, and how that is done. Pure.
//!
//! A value never passes through a page: it is made or read where the command line runs, and goes from there into the
//! source.

/// What is known of a secret by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// What a new value does.
    pub(crate) effect: &'static str,
    /// Whether arizuko makes its values itself. Others come from whoever gives them out.
    pub(crate) is_ours: bool,
}

const MODEL: Advice = Advice {
    purpose: "A key of models, which routd adds to an agent's requests; no agent sees it.",
    effect: "The next request to the model uses the new value, in the middle of a turn too.",
    is_ours: false,
};

const LOGIN: Advice = Advice {
    purpose: "Proves authd to the provider of logins.",
    effect: "The next login uses the new value.",
    is_ours: false,
};

const TLS: Advice = Advice {
    purpose: "The edge's certificate and its key.",
    effect: "New connections use the new pair; open ones go on. A pair that does not match, or is not within its dates, \
             is refused, and the old one stays.",
    is_ours: false,
};

const PLATFORM: Advice = Advice {
    purpose: "Proves an adapter to its platform, or the platform to its adapter.",
    effect: "The adapter goes over to the new value by itself. A message that was refused under the old one goes out \
             under the new one.",
    is_ours: false,
};

/// What is known of `name`.
pub(crate) fn of(name: &str) -> Advice {
    match name {
        "SECRETS_KEY" => Advice {
            purpose: "Opens the key of each database.",
            effect: "The new key wraps each database's own key anew, in one transaction; no row is touched. The wrap \
                     under the old key stays for the overlap, so that going back works.",
            is_ours: true,
        },
        name if name.starts_with("CHANNEL_SECRET") => Advice {
            purpose: "Proves to routd that a message comes from an adapter.",
            effect: "routd accepts both values for the overlap. An adapter that is refused looks again, and delivers \
                     the same message under the new value before it answers anybody.",
            is_ours: true,
        },
        name if name.starts_with("AUTHD_SERVICE_KEY") => Advice {
            purpose: "Proves a daemon to authd, which gives it tokens of 15 minutes.",
            effect: "authd accepts both values for the overlap. Tokens that daemons hold go on until they end.",
            is_ours: true,
        },
        "ANTHROPIC_API_KEY" | "CLAUDE_CODE_OAUTH_TOKEN" | "OPENAI_API_KEY" => MODEL,
        "PROXYD_TLS_CERT" | "PROXYD_TLS_KEY" => TLS,
        "OIDC_CLIENT_SECRET" | "GITHUB_CLIENT_SECRET" => LOGIN,
        name if name.starts_with("TELEGRAM_") || name.starts_with("SLACK_") => PLATFORM,
        _ => Advice {
            purpose: "A secret of a daemon.",
            effect: "The daemon takes the new value up by itself, without a restart.",
            is_ours: false,
        },
    }
}

/// Whether each daemon may well have a value of its own under this name.
pub(crate) fn may_differ(name: &str) -> bool {
    name == "AUTHD_SERVICE_KEY" || name == "CHANNEL_SECRET"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arizuko_makes_itself_is_told_apart_from_what_others_give_out() {
        for name in
            ["SECRETS_KEY", "CHANNEL_SECRET", "CHANNEL_SECRET_WEBD", "AUTHD_SERVICE_KEY_ROUTD"]
        {
            assert!(of(name).is_ours, "{name}");
        }
        for name in
            ["TELEGRAM_BOT_TOKEN", "PROXYD_TLS_KEY", "OPENAI_API_KEY", "OIDC_CLIENT_SECRET", "X"]
        {
            assert!(!of(name).is_ours, "{name}");
        }
    }
}
