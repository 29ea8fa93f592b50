//! What an operator may set.

use kit::{AnySetting, Setting, parse};

/// Telegram's own Bot API.
pub(crate) const CLOUD: &str = "https://api.telegram.org";

/// Where the Bot API is.
pub static TELEGRAM_API_URL: Setting<String> = Setting {
    name: "TELEGRAM_API_URL",
    default: CLOUD,
    about: "Where the Telegram Bot API is. A Bot API server of your own takes larger files.",
    expects: "an address such as https://api.telegram.org",
    parse: parse::url,
};

/// Where Telegram reaches the webhook, if it is to call.
pub static TELEGRAM_WEBHOOK_URL: Setting<Option<String>> = Setting {
    name: "TELEGRAM_WEBHOOK_URL",
    default: "",
    about: "Where Telegram reaches this instance's /telegram/webhook. Unset: teled asks for updates by long polling. With it, TELEGRAM_WEBHOOK_SECRET is needed too.",
    expects: "an https address such as https://bot.example.com/telegram/webhook",
    parse: |text| parse::optional(text, parse::url),
};

/// The settings that teled reads.
pub const SETTINGS: &[&dyn AnySetting] = &[&TELEGRAM_API_URL, &TELEGRAM_WEBHOOK_URL];
