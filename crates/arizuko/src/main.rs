//! The one binary: every daemon, the agent's side of a turn, and the operator's commands.

mod addresses;
mod backup;
mod chaos;
mod check;
mod cli;
mod cmd;
mod daemons;
mod doctor;
mod failure;
mod fleet;
mod instance;
mod issued;
mod lock;
#[cfg(feature = "kubernetes")]
mod mounted;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
mod otlp;
mod output;
mod rotation;
mod session;
mod sources;
mod strangers;
mod tidy;
mod up;
mod whereabouts;

use clap::{Parser, error::ErrorKind};
use cli::Cli;
use failure::{Exit, Failure};
use instance::Environment;
use std::{
    alloc::System,
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
    time::Duration,
};
use zeroizing_alloc::ZeroAlloc;

/// How long work that cannot be cut off, such as the reading of a file, is waited for at the end.
const AT_THE_END: Duration = Duration::from_secs(2);

/// Whatever is freed is wiped first. What a secret passes through on its way in or out is not all ours: an HTTP
/// library's buffers hold the headers, and are freed as they are.
#[global_allocator]
static MEMORY: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let called_as = args.first().map(Path::new).and_then(Path::file_name).map(OsStr::to_owned);
    let called_as = called_as.as_deref().and_then(OsStr::to_str).unwrap_or_default();
    // The agent's side runs before anything else is set up: it is another program in this file.
    let first = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default();
    match (called_as, first) {
        ("ant", _) => return agent(args.get(1..).unwrap_or_default()),
        (_, "ant") => return agent(args.get(2..).unwrap_or_default()),
        (_, "shim") => return runed::shim_main(args.get(2..).unwrap_or_default()),
        (_, "sandbox") => return runed::sandbox_main(args.get(2..).unwrap_or_default()),
        _ => {}
    }
    if called_as.parse::<proto::Daemon>().is_ok() {
        // `routd …` is `arizuko run routd …`.
        args.splice(0..1, ["arizuko".into(), "run".into(), called_as.into()]);
    }
    let mut cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return misspoken(&error),
    };
    if let cli::Command::Chaos(chaos) = &mut cli.command {
        chaos.prepare(&environment());
    }
    auth::install_crypto();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return report(&Failure::new(Exit::Software, "the TLS library was set up twice"));
    }
    match in_runtime(cmd::run(cli, &environment())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) | Err(failure) => report(&failure),
    }
}

/// Answers a command line that is none of ours, or that asks for help.
fn misspoken(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Whoever closed standard output does not want to know.
        let _closed = error.print().is_err();
        return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { 0 });
    }
    let text = error.render().to_string();
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said: Vec<_> = said.filter(|line| !line.is_empty()).collect();
    let said = said.join(" ").replace(" tip: ", "; ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let said = said.strip_suffix("For more information, try '--help'.").unwrap_or(said).trim();
    report(&Failure::new(Exit::Usage, format!("{said}; see `--help`")))
}

/// Runs the agent's side of a turn.
fn agent(args: &[OsString]) -> ExitCode {
    let options = match ant::parse(args.iter().cloned()) {
        Ok(options) => options,
        Err(error) => return report(&Failure::new(Exit::Usage, error.to_string())),
    };
    if let Err(error) = kit::logs::begin_agent() {
        return report(&Failure::from(error));
    }
    match in_runtime(ant::run(options)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => report(&Failure { code: error.exit_code(), line: kit::chain(&error) }),
        Err(failure) => report(&failure),
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::TryAgain, format!("no threads to run on: {error}; see `ulimit -u`"))
    })?;
    let outcome = runtime.block_on(work);
    // A read that hangs, as of a file on a mount that is gone, must not keep the process.
    runtime.shutdown_timeout(AT_THE_END);
    Ok(outcome)
}

/// The environment, read here and nowhere else. What is not UTF-8 is none of our settings.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn report(failure: &Failure) -> ExitCode {
    use std::io::Write;
    // Whoever closed standard error does not want to know.
    let _closed = writeln!(std::io::stderr(), "arizuko: {failure}").is_err();
    ExitCode::from(failure.code)
}
