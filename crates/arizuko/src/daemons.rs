//! Every daemon of this binary, each named once.

use crate::{instance, otlp, sources};
use kit::{AnySetting, Program, Setting, SettingError, Settings, logs, parse, service_key_bundle};
use proto::Daemon;
use secrets::AnyBundle;
use std::net::SocketAddr;

macro_rules! program {
    ($name:ident $daemon:ident) => {
        Program {
            daemon: Daemon::$daemon,
            bundles: $name::BUNDLES,
            settings: $name::SETTINGS,
            start: |context| Box::pin($name::start(context)),
        }
    };
}

/// The daemons, in the order in which they start.
pub static PROGRAMS: &[Program] = &[
    program!(authd Authd),
    program!(routd Routd),
    program!(runed Runed),
    program!(timed Timed),
    program!(onbod Onbod),
    program!(webd Webd),
    program!(teled Teled),
    program!(slakd Slakd),
    program!(dashd Dashd),
    program!(proxyd Proxyd),
];

/// Where a daemon listens.
pub static LISTEN_ADDR: Setting<Option<SocketAddr>> = Setting {
    name: "LISTEN_ADDR",
    default: "",
    about: "Where a daemon that runs by itself listens. Unset: its default port on every address. In `arizuko up`, <DAEMON>_LISTEN_ADDR.",
    expects: "an address such as :8081 or 127.0.0.1:8081",
    parse: |text| parse::optional(text, parse::socket_addr),
};

/// Where proxyd answers what is not for the public.
pub static PROXYD_ADMIN_ADDR: Setting<SocketAddr> = Setting {
    name: "PROXYD_ADMIN_ADDR",
    default: "127.0.0.1:8091",
    about: "Where proxyd answers /ready, /metrics and /v1/secrets, which its public listeners never do.",
    expects: "an address such as 127.0.0.1:8091",
    parse: parse::socket_addr,
};

/// The settings that belong to no daemon.
pub fn common() -> impl Iterator<Item = &'static &'static dyn AnySetting> {
    COMMON.iter().chain(otlp::SETTINGS)
}

const COMMON: &[&dyn AnySetting] = &[
    &instance::INSTANCE_NAME,
    &instance::DATA_DIR,
    &LISTEN_ADDR,
    &PROXYD_ADMIN_ADDR,
    &sources::SECRETS_SOURCES,
    &sources::SECRETS_POLL_INTERVAL,
    &sources::SECRETS_FILE_POLL,
    &kit::SECRETS_OVERLAP,
    &sources::SECRETS_MAX_STALENESS,
    &logs::LOG_LEVEL,
    &logs::LOG_FORMAT,
];

/// The program of `daemon`, if this binary has it.
pub fn program(daemon: Daemon) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.daemon == daemon)
}

/// Looks whether every setting that `programs` read parses, before any of them starts.
///
/// # Errors
/// The first that does not.
pub fn check_settings(settings: &Settings, programs: &[&Program]) -> Result<(), SettingError> {
    let own = programs.iter().flat_map(|program| program.settings);
    common().chain(own).try_for_each(|setting| setting.check(settings))
}

/// The names in the settings file that nothing in this binary reads: most likely typing errors.
pub fn unknown_settings(settings: &Settings) -> Vec<&str> {
    let own = PROGRAMS.iter().flat_map(|program| program.settings);
    let mut known: Vec<&str> = common().chain(own).map(|setting| setting.name()).collect();
    known.extend(Daemon::ALL.map(Daemon::url_setting));
    let listens = |name: &str| {
        name.strip_suffix("_LISTEN_ADDR")
            .is_some_and(|daemon| daemon.to_lowercase().parse::<Daemon>().is_ok())
    };
    settings.in_file().filter(|name| !known.contains(name) && !listens(name)).collect()
}

/// Every bundle of `program`, its service key among them.
pub fn bundles(program: &Program) -> Vec<&'static dyn AnyBundle> {
    let own = service_key_bundle(program.daemon).map(|bundle| bundle as &dyn AnyBundle);
    own.into_iter().chain(program.bundles.iter().copied()).collect()
}

/// The port of `daemon`'s own endpoints. The edge's public port is [`Daemon::default_port`].
pub const fn port(daemon: Daemon) -> u16 {
    match daemon {
        Daemon::Proxyd => 8091,
        other => other.default_port(),
    }
}
