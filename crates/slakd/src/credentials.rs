//! What Slack and slakd prove themselves with.

use adapter::ChannelSecret;
use secrets::{Bundle, Malformed, Name, Need, Role, Secret, Values};
use std::{fmt, sync::Arc};

const OWN: Name = Name::literal("CHANNEL_SECRET_SLAKD");
const BOT_TOKEN: Name = Name::literal("SLACK_BOT_TOKEN");
const APP_TOKEN: Name = Name::literal("SLACK_APP_TOKEN");
const SIGNING_SECRET: Name = Name::literal("SLACK_SIGNING_SECRET");

/// The fewest bytes of a signing secret; Slack's have 32.
const SIGNING_MIN: usize = 16;

/// What slakd proves itself with to routd.
pub(crate) static CHANNEL_SECRET: Bundle<ChannelSecret> = Bundle {
    needs: const {
        &[
            ChannelSecret::SHARED,
            Need::optional(OWN, "slakd's own, presented in place of CHANNEL_SECRET"),
        ]
    },
    role: Role::Presents,
    parse: |values| ChannelSecret::parse(values, &OWN),
};

/// What the Web API is called under.
pub(crate) static BOT: Bundle<Token> = Bundle {
    needs: const { &[Need::optional(BOT_TOKEN, "slakd speaks and reads in Slack under it")] },
    role: Role::Presents,
    parse: |values| {
        const WRONG: &str =
            "a bot's token begins with xoxb-, and has visible ASCII characters only";
        Token::parse(values, &BOT_TOKEN, &["xoxb-", "xoxe.xoxb-"], WRONG)
    },
};

/// What sockets are opened under.
pub(crate) static APP: Bundle<Token> = Bundle {
    needs: const {
        &[Need::optional(APP_TOKEN, "slakd opens sockets of Slack's under it (Socket Mode)")]
    },
    role: Role::Presents,
    parse: |values| {
        const WRONG: &str =
            "an app's token begins with xapp-, and has visible ASCII characters only";
        Token::parse(values, &APP_TOKEN, &["xapp-"], WRONG)
    },
};

/// What Slack signs its requests with.
pub(crate) static SIGNING: Bundle<SigningSecret> = Bundle {
    needs: const { &[Need::optional(SIGNING_SECRET, "slakd checks with it that Slack sent an event")] },
    role: Role::Checks,
    parse: SigningSecret::parse,
};

/// A token of Slack's.
pub(crate) struct Token(Arc<Secret>);

impl Token {
    fn parse(
        values: &Values<'_>,
        name: &Name,
        beginnings: &[&str],
        wrong: &'static str,
    ) -> Result<Self, Malformed> {
        let secret = values.require_shared(name)?;
        let visible = secret.expose().iter().all(u8::is_ascii_graphic);
        let begins = beginnings.iter().any(|one| secret.expose().starts_with(one.as_bytes()));
        (visible && begins).then_some(Self(secret)).ok_or(Malformed::because(wrong))
    }

    /// The bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The secret that Slack signs with.
pub(crate) struct SigningSecret(Arc<Secret>);

impl SigningSecret {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let secret = values.require_shared(&SIGNING_SECRET)?;
        let bytes = secret.expose();
        if bytes.len() < SIGNING_MIN || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(Malformed::because(
                "a signing secret has at least 16 visible ASCII characters; Slack's have 32",
            ));
        }
        Ok(Self(secret))
    }

    /// The secret.
    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Arc<Secret> {
        Arc::new(Secret::new(text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_token_of_the_other_kind_is_refused_and_no_reason_tells_it() {
        for (bundle, name, text, good) in [
            (&BOT, &BOT_TOKEN, "xoxb-1-abc", true),
            (&BOT, &BOT_TOKEN, "xoxe.xoxb-1-abc", true),
            (&BOT, &BOT_TOKEN, "xapp-1-abc", false),
            (&BOT, &BOT_TOKEN, "xoxb-1 abc", false),
            (&APP, &APP_TOKEN, "xapp-1-abc", true),
            (&APP, &APP_TOKEN, "xoxb-1-abc", false),
        ] {
            let value = secret(text);
            match (bundle.parse)(&Values::new([(name, &value)])) {
                Ok(token) => assert!(good && !format!("{token:?}").contains("abc"), "{text}"),
                Err(why) => assert!(!good && !why.to_string().contains("abc"), "{text}: {why}"),
            }
        }
        for (text, good) in [("8f742231b10e8888abcd99yyyzzz85a5", true), ("short", false)] {
            let value = secret(text);
            let parsed = (SIGNING.parse)(&Values::new([(&SIGNING_SECRET, &value)]));
            assert_eq!(parsed.is_ok(), good);
        }
    }
}
