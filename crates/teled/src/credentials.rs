//! teled's secrets.

use adapter::ChannelSecret;
use secrets::{Bundle, Malformed, Name, Need, Role, Secret, Values};
use std::{fmt, sync::Arc};

const TOKEN: Name = Name::literal("TELEGRAM_BOT_TOKEN");
const WEBHOOK: Name = Name::literal("TELEGRAM_WEBHOOK_SECRET");
const OWN: Name = Name::literal("CHANNEL_SECRET_TELED");

/// What teled proves itself with to routd.
pub static CHANNEL_SECRET: Bundle<ChannelSecret> = Bundle {
    needs: const {
        &[
            ChannelSecret::SHARED,
            Need::optional(OWN, "teled's own, presented in place of CHANNEL_SECRET"),
        ]
    },
    role: Role::Presents,
    parse: |values| ChannelSecret::parse(values, &OWN),
};

/// What teled proves itself with to Telegram. Watched as one that may be absent.
pub static BOT_TOKEN: Bundle<BotToken> = Bundle {
    needs: const { &[Need::optional(TOKEN, "the bot's token, from @BotFather")] },
    role: Role::Presents,
    parse: BotToken::parse,
};

/// What Telegram proves itself with to the webhook. Watched as one that may be absent.
pub static WEBHOOK_SECRET: Bundle<WebhookSecret> = Bundle {
    needs: const {
        &[Need::optional(WEBHOOK, "shown by Telegram when it calls the webhook; needed for that")]
    },
    role: Role::Checks,
    parse: WebhookSecret::parse,
};

/// The bot's token: its id, a colon, and what is secret.
pub struct BotToken(Arc<Secret>);

impl BotToken {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let token = values.require_shared(&TOKEN)?;
        let bad =
            || Malformed("it is not a bot's id, a colon, and letters, digits, `_` and `-`".into());
        let text = token.text().map_err(|_| bad())?;
        let (id, key) = text.split_once(':').ok_or_else(bad)?;
        let is_id = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !is_id || !(16..=128).contains(&key.len()) || !key.bytes().all(plain) {
            return Err(bad());
        }
        Ok(Self(token))
    }

    /// The token. It goes into the path of a request, because the Bot API wants it there.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for BotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BotToken(..)")
    }
}

/// The secret of the webhook.
pub struct WebhookSecret(Arc<Secret>);

impl WebhookSecret {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let secret = values.require_shared(&WEBHOOK)?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        let bytes = secret.expose();
        if !(16..=256).contains(&bytes.len()) || !bytes.iter().all(plain) {
            return Err(Malformed("it is not 16 to 256 letters, digits, `_` and `-`".into()));
        }
        Ok(Self(secret))
    }

    /// Whether this is it. In a time that does not depend on where it differs.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        self.0.matches(shown)
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}
