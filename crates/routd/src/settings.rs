//! What an operator may set of routd.

use crate::gateway::{Base, budget::Unpriced, price::Prices};
use crate::scheduling::Limits;
use kit::{ASSISTANT_NAME, AnySetting, RUN_TIMEOUT, Setting, SettingError, Settings, parse};
use proto::{Folder, turn::Harness};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a chat belongs to the agent after it spoke there.
pub const ENGAGEMENT_TTL: Setting<Duration> = Setting {
    name: "ENGAGEMENT_TTL",
    default: "30m",
    about: "How long messages in a chat go to the agent that spoke there last, whatever the routes say.",
    expects: "a duration such as 30m",
    parse: parse::duration,
};

/// What runs the turns of folders that say nothing else.
pub const DEFAULT_HARNESS: Setting<Harness> = Setting {
    name: "DEFAULT_HARNESS",
    default: "offline",
    about: "What runs the turns of a folder that names no harness of its own.",
    expects: "offline, command, claude or builtin",
    parse: parse::number,
};

/// The model that the harnesses `claude` and `builtin` call.
pub const MODEL: Setting<String> = Setting {
    name: "MODEL",
    default: "claude-sonnet-5-5",
    about: "The model that the harnesses `claude` and `builtin` call through the model gateway.",
    expects: "a model's name such as claude-sonnet-5-5",
    parse: model,
};

/// The folder that a new instance begins with.
pub const DEFAULT_FOLDER: Setting<Option<Folder>> = Setting {
    name: "DEFAULT_FOLDER",
    default: "main",
    about: "The folder that a new instance begins with; `-` for none. Read at the first start only.",
    expects: "a folder such as main, or -",
    parse: |text| match text {
        "-" => Some(None),
        text => text.parse().ok().map(Some),
    },
};

/// Turns in progress at once.
pub const TURNS_ACTIVE_MAX: Setting<u32> = Setting {
    name: "TURNS_ACTIVE_MAX",
    default: "64",
    about: "How many turns routd has in progress at once, each with a socket; runed decides how many of them run.",
    expects: "a number from 1 to 1000",
    parse: active_max,
};

/// Schedules of one folder.
pub const SCHEDULES_PER_FOLDER: Setting<u32> = Setting {
    name: "SCHEDULES_PER_FOLDER",
    default: "100",
    about: "How many schedules a folder has at most, those apart whose last time has passed.",
    expects: "a number from 1 to 10000",
    parse: |text| parse::number(text).filter(|number| (1..=10_000).contains(number)),
};

/// How close two firings of a schedule may come.
pub const SCHEDULES_SHORTEST: Setting<Duration> = Setting {
    name: "SCHEDULES_SHORTEST",
    default: "1m",
    about: "The shortest time between two firings of one schedule; one that is made is refused where it is shorter.",
    expects: "a duration from 1s to 1d",
    parse: shortest,
};

/// How long a call that is held waits.
pub const APPROVAL_LIFETIME: Setting<Duration> = Setting {
    name: "APPROVAL_LIFETIME",
    default: "24h",
    about: "How long a call of a tool that a row holds waits for a person's approval, before it lapses.",
    expects: "a duration from 1m to 90d",
    parse: approval_lifetime,
};

/// Where Anthropic's API is.
pub(crate) const ANTHROPIC_BASE_URL: Setting<Base> = Setting {
    name: "ANTHROPIC_BASE_URL",
    default: "https://api.anthropic.com",
    about: "Where the model gateway finds Anthropic's API, or one that speaks as it does.",
    expects: BASE,
    parse: Base::parse,
};

/// Where OpenAI's API is.
pub(crate) const OPENAI_BASE_URL: Setting<Base> = Setting {
    name: "OPENAI_BASE_URL",
    default: "https://api.openai.com",
    about: "Where the model gateway finds OpenAI's API, or one that speaks as it does; with or without /v1.",
    expects: BASE,
    parse: Base::parse,
};

const BASE: &str = "https://HOST[/PATH], http:// to this machine, or insecure+http://HOST where the network is trusted";

/// What models cost that the built-in table does not have, or has otherwise.
pub(crate) const MODEL_PRICES: Setting<Prices> = Setting {
    name: "MODEL_PRICES",
    default: "{}",
    about: "Prices of models in dollars for a million tokens, over the built-in table of 2026-11-23, as a JSON object.",
    expects: "JSON such as {\"my-model\": {\"input\": 3, \"output\": 15, \"cache_read\": 0.3, \"cache_write\": 3.75}}",
    parse: Prices::parse,
};

/// What becomes of a request for a model whose price is not known.
pub(crate) const MODEL_UNPRICED: Setting<Unpriced> = Setting {
    name: "MODEL_UNPRICED",
    default: "capped",
    about: "What becomes of a request for a model whose price is not known: it is refused where a cap in money holds for it (`capped`), always refused (`refuse`), or counts as costing nothing (`free`).",
    expects: "capped, refuse or free",
    parse: Unpriced::parse,
};

/// How long a model may say nothing.
pub(crate) const MODEL_TIMEOUT: Setting<Duration> = Setting {
    name: "MODEL_TIMEOUT",
    default: "10m",
    about: "How long a model may take to begin its answer, and say nothing within it, before the request is given up.",
    expects: "a duration such as 10m",
    parse: parse::duration,
};

/// How large a file may be.
pub const MEDIA_MAX_FILE_BYTES: Setting<u64> = Setting {
    name: "MEDIA_MAX_FILE_BYTES",
    default: "50MiB",
    about: "How large a file may be that comes with a message or that an agent sends. An agent's home keeps ten times \
            as much of what came.",
    expects: "a number of bytes, such as 52428800 or 50MiB",
    parse: bytes,
};

/// How much a folder may have sent.
pub const MEDIA_FOLDER_BYTES: Setting<u64> = Setting {
    name: "MEDIA_FOLDER_BYTES",
    default: "1GiB",
    about: "How many bytes the files have together that one folder's agent sent and that are kept.",
    expects: "a number of bytes, such as 500MiB or 1GiB",
    parse: bytes,
};

/// How long what agents sent is kept.
pub const MEDIA_RETENTION: Setting<Duration> = Setting {
    name: "MEDIA_RETENTION",
    default: "30d",
    about: "How long files that agents sent are kept. One that is still to be sent stays longer.",
    expects: "a duration such as 30d",
    parse: parse::duration,
};

/// Where agents in a cluster find their turns.
pub const TURN_URL: Setting<Option<String>> = Setting {
    name: "TURN_URL",
    default: "",
    about: "The address at which agents in a Kubernetes cluster find routd's listener of turns, as their pods see it. Set, turns are served there and not on sockets: set it with `CONTAINER_BACKEND=kubernetes`, and with nothing else.",
    expects: "an address such as https://arizuko-turns.arizuko.svc:8089",
    parse: |text| parse::optional(text, turn_url),
};

/// Where the listener of turns listens.
pub const TURN_LISTEN_ADDR: Setting<SocketAddr> = Setting {
    name: "TURN_LISTEN_ADDR",
    default: ":8089",
    about: "Where routd serves turns to agents in a cluster, with TLS, where TURN_URL is set. Its certificate is its own, and agents are told its hash.",
    expects: "an address such as :8089",
    parse: parse::socket_addr,
};

fn turn_url(text: &str) -> Option<String> {
    parse::url(text).filter(|url| {
        let host = url.strip_prefix("https://").unwrap_or_default();
        !host.is_empty() && !host.contains(['/', '?', '#', '@'])
    })
}

/// What files may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileLimits {
    /// Bytes of one.
    pub(crate) each: u64,
    /// Bytes of all that one folder sent.
    pub(crate) of_folder: u64,
    /// How long they are kept.
    pub(crate) keep: Duration,
}

impl FileLimits {
    /// Bytes of what came with messages that a home keeps.
    pub(crate) const fn of_inbox(&self) -> u64 {
        self.each.saturating_mul(10)
    }
}

/// All of them, for the reference.
pub const SETTINGS: &[&dyn AnySetting] = &[
    &RUN_TIMEOUT,
    &ENGAGEMENT_TTL,
    &DEFAULT_HARNESS,
    &MODEL,
    &DEFAULT_FOLDER,
    &ASSISTANT_NAME,
    &TURNS_ACTIVE_MAX,
    &SCHEDULES_PER_FOLDER,
    &SCHEDULES_SHORTEST,
    &APPROVAL_LIFETIME,
    &ANTHROPIC_BASE_URL,
    &OPENAI_BASE_URL,
    &MODEL_PRICES,
    &MODEL_UNPRICED,
    &MODEL_TIMEOUT,
    &MEDIA_MAX_FILE_BYTES,
    &MEDIA_FOLDER_BYTES,
    &MEDIA_RETENTION,
    &TURN_URL,
    &TURN_LISTEN_ADDR,
];

/// What was set, read once.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) run_timeout: Duration,
    pub(crate) engagement_ms: i64,
    pub(crate) default_harness: Harness,
    pub(crate) model: String,
    pub(crate) default_folder: Option<Folder>,
    pub(crate) assistant: String,
    pub(crate) active_max: u32,
    pub(crate) schedules: Limits,
    /// How long a held call waits, in milliseconds.
    pub(crate) approval_ms: i64,
    pub(crate) anthropic: Base,
    pub(crate) openai: Base,
    pub(crate) prices: Prices,
    pub(crate) unpriced: Unpriced,
    pub(crate) model_timeout: Duration,
    pub(crate) files: FileLimits,
    pub(crate) turn_url: Option<String>,
    pub(crate) turn_listen: SocketAddr,
}

impl Values {
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingError> {
        let engagement = settings.get(&ENGAGEMENT_TTL)?.as_millis();
        Ok(Self {
            run_timeout: settings.get(&RUN_TIMEOUT)?,
            engagement_ms: i64::try_from(engagement).unwrap_or(i64::MAX),
            approval_ms: i64::try_from(settings.get(&APPROVAL_LIFETIME)?.as_millis())
                .unwrap_or(i64::MAX),
            default_harness: settings.get(&DEFAULT_HARNESS)?,
            model: settings.get(&MODEL)?,
            default_folder: settings.get(&DEFAULT_FOLDER)?,
            assistant: settings.get(&ASSISTANT_NAME)?,
            active_max: settings.get(&TURNS_ACTIVE_MAX)?,
            anthropic: settings.get(&ANTHROPIC_BASE_URL)?,
            openai: settings.get(&OPENAI_BASE_URL)?,
            prices: settings.get(&MODEL_PRICES)?,
            unpriced: settings.get(&MODEL_UNPRICED)?,
            model_timeout: settings.get(&MODEL_TIMEOUT)?,
            files: FileLimits {
                each: settings.get(&MEDIA_MAX_FILE_BYTES)?,
                of_folder: settings.get(&MEDIA_FOLDER_BYTES)?,
                keep: settings.get(&MEDIA_RETENTION)?,
            },
            turn_url: settings.get(&TURN_URL)?,
            turn_listen: settings.get(&TURN_LISTEN_ADDR)?,
            schedules: Limits {
                of_folder: settings.get(&SCHEDULES_PER_FOLDER)?,
                shortest: settings.get(&SCHEDULES_SHORTEST)?,
            },
        })
    }
}

/// A name that is one word of a command line and of a path, and begins like neither an option nor a directory.
pub(crate) fn model(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:@/[]".contains(c);
    let fits = (1..=128).contains(&text.len()) && text.chars().all(plain);
    (fits && text.starts_with(|c: char| c.is_ascii_alphanumeric())).then(|| text.to_owned())
}

/// A number of bytes, of at most 16 TiB and not 0.
fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let unit: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=1 << 44).contains(&bytes).then_some(bytes)
}

fn shortest(text: &str) -> Option<Duration> {
    let day = Duration::from_secs(24 * 60 * 60);
    parse::duration(text).filter(|span| (Duration::from_secs(1)..=day).contains(span))
}

fn approval_lifetime(text: &str) -> Option<Duration> {
    let day = Duration::from_secs(24 * 60 * 60);
    parse::duration(text).filter(|span| (Duration::from_secs(60)..=day * 90).contains(span))
}

fn active_max(text: &str) -> Option<u32> {
    parse::number(text).filter(|number| (1..=1000).contains(number))
}
