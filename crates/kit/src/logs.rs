//! Logs: one line a thing that happened, on standard error.

use crate::settings::{Place, Setting, SettingError, Settings};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged.
pub static LOG_LEVEL: Setting<String> = Setting {
    name: "LOG_LEVEL",
    default: "info",
    about: "What is logged: a level, or a filter such as `info,routd=debug`. On a terminal, `warn` where nothing is set.",
    expects: "error, warn, info, debug, trace, or a filter such as info,routd=debug",
    parse: |text| {
        // The library takes a misspelt level for the name of a part, and then logs nothing else.
        let known = |part: &str| {
            part.contains('=') || part.parse::<tracing::level_filters::LevelFilter>().is_ok()
        };
        let good = text.split(',').all(|part| known(part.trim()));
        (good && EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
    },
};

/// How it is written.
pub static LOG_FORMAT: Setting<Format> = Setting {
    name: "LOG_FORMAT",
    default: "auto",
    about: "How a log line is written; `auto` is text on a terminal and JSON elsewhere.",
    expects: "auto, text or json",
    parse: |text| match text {
        "auto" => Some(Format::Auto),
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    },
};

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

/// Begins to log the agent's side of a turn: to the run's log, for people, and without what its MCP
/// library says to itself.
///
/// # Errors
/// A setting does not parse; there are none here.
pub fn begin_agent() -> Result<(), SettingError> {
    let plain = [("LOG_LEVEL", "info,rmcp=off"), ("LOG_FORMAT", "text")];
    begin(&Settings::new(plain.map(|(name, value)| (name.into(), value.into())), []))
}

/// Begins to log, for the whole process. A second call changes nothing.
///
/// # Errors
/// A setting does not parse.
pub fn begin(settings: &Settings) -> Result<(), SettingError> {
    let terminal = std::io::stderr().is_terminal();
    let mut wanted = settings.get(&LOG_LEVEL)?;
    // Somebody who watches wants to see what is wrong, not everything that goes well.
    if terminal && settings.raw(LOG_LEVEL.name, "").1 == Place::Default {
        wanted = "warn".into();
    }
    // The MCP library tells of every call at `info`; whoever wants that asks for it by name.
    let quiet = if wanted.contains("rmcp") { "" } else { ",rmcp=warn" };
    let filter = EnvFilter::new(format!("{wanted}{quiet}"));
    let json = match settings.get(&LOG_FORMAT)? {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(true);
    let registry = tracing_subscriber::registry().with(filter);
    // An error means that a subscriber is there already: a test's, or ours.
    let _already = if json {
        registry.with(lines.json().flatten_event(true)).try_init().is_err()
    } else {
        registry.with(lines.with_ansi(terminal).compact()).try_init().is_err()
    };
    Ok(())
}
