//! `arizuko secrets`: status, check, refresh, set.

use crate::{
    addresses::Addresses,
    check,
    cli::Secrets,
    daemons::PROGRAMS,
    failure::{Exit, Failure},
    instance::{Environment, Instance},
    output::{Mark, Output, ago, table},
    session::Session,
    sources,
};
use kit::chain;
use proto::{
    Daemon, Nothing,
    kit::{DaemonSecrets, REFRESH_SECRETS, SECRETS},
};
use secrets::{Name, SECRET_BYTES_MAX, Secret};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Read},
};

/// The answer of `status`, `refresh` and `set`.
#[derive(Serialize)]
struct Status {
    daemons: Vec<DaemonSecrets>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unreachable: BTreeMap<Daemon, String>,
}

pub(super) async fn run(
    instance: &Instance,
    environment: &Environment,
    command: Secrets,
    output: Output,
) -> Result<(), Failure> {
    match command {
        Secrets::Status => show(&status(instance, false).await?, output),
        Secrets::Refresh => show(&status(instance, true).await?, output),
        Secrets::Check => check(instance, environment, output).await,
        Secrets::Set { name } => set(instance, environment, &name, output).await,
    }
}

/// What every daemon says of its secrets, after reading its sources again if `refresh` says so.
async fn status(instance: &Instance, refresh: bool) -> Result<Status, Failure> {
    let session = Session::begin(instance).await?;
    let mut status = Status { daemons: Vec::new(), unreachable: BTreeMap::new() };
    let asks = PROGRAMS.iter().map(|program| {
        let peer = session.peer(program.daemon);
        async move {
            let nothing = Nothing {};
            if refresh {
                peer.call(&REFRESH_SECRETS, &nothing).await
            } else {
                peer.call(&SECRETS, &nothing).await
            }
        }
    });
    let answers = futures::future::join_all(asks).await;
    for (program, answer) in PROGRAMS.iter().zip(answers) {
        match answer {
            Ok(secrets) => status.daemons.push(secrets),
            Err(error) => {
                status.unreachable.insert(program.daemon, chain(&error));
            }
        }
    }
    Ok(status)
}

fn show(status: &Status, output: Output) -> Result<(), Failure> {
    output.print(status, |status| text(status, output))?;
    let Some((daemon, error)) = status.unreachable.first_key_value() else { return Ok(()) };
    let line =
        format!("{daemon} did not answer: {error}; `arizuko status` shows which daemons run");
    Err(Failure::new(Exit::Unavailable, line))
}

fn text(status: &Status, output: Output) -> String {
    let mut rows = Vec::new();
    for of in &status.daemons {
        for secret in of.secrets.iter().filter(|s| s.source.is_some() || s.error.is_some()) {
            let state = match (&secret.error, &secret.previous_accepted_until) {
                (Some(error), _) => output.mark(error, Mark::Bad),
                (None, Some(until)) => output
                    .mark(&format!("the one before it is accepted until {until}"), Mark::Doubtful),
                (None, None) => output.mark("good", Mark::Good),
            };
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            rows.push(vec![
                of.daemon.to_string(),
                of.generation.to_string(),
                secret.name.clone(),
                shown(&secret.source),
                secret.version.as_deref().map_or_else(|| "-".into(), short),
                shown(&secret.fingerprint),
                secret.age_seconds.map_or_else(|| "-".into(), ago),
                state,
            ]);
        }
    }
    table(&["DAEMON", "GEN", "SECRET", "SOURCE", "VERSION", "PRINT", "AGE", "STATE"], &rows)
}

/// A version's name, short enough for a column.
fn short(version: &str) -> String {
    if version.chars().count() <= 24 {
        return version.to_owned();
    }
    let end: String = version.chars().rev().take(23).collect();
    format!("…{}", end.chars().rev().collect::<String>())
}

async fn check(
    instance: &Instance,
    environment: &Environment,
    output: Output,
) -> Result<(), Failure> {
    let report = check::report(instance, environment).await?;
    output.print(&report, |report| {
        let row = |finding: &check::Finding| {
            let state = if finding.problem.is_some() {
                output.mark("problem", Mark::Bad)
            } else {
                output.mark("good", Mark::Good)
            };
            let more = finding.problem.clone().unwrap_or_else(|| finding.found.clone());
            vec![finding.daemon.to_string(), finding.names.clone(), state, more]
        };
        let rows: Vec<_> = report.findings.iter().map(row).collect();
        let sources: Vec<_> = report.sources.iter().map(|source| format!("  {source}")).collect();
        format!(
            "sources, in the order in which they are asked:\n{}\n\n{}",
            sources.join("\n"),
            table(&["DAEMON", "SECRETS", "STATE", "MORE"], &rows)
        )
    })?;
    match report.findings.iter().filter(|finding| finding.problem.is_some()).count() {
        0 => Ok(()),
        count => Err(Failure::new(
            Exit::Config,
            format!("{count} of the secrets' bundles would not do; see above"),
        )),
    }
}

async fn set(
    instance: &Instance,
    environment: &Environment,
    name: &str,
    output: Output,
) -> Result<(), Failure> {
    let name: Name = name.parse().map_err(|error| Failure::new(Exit::Usage, format!("{error}")))?;
    let value = read_value(&name, output)?;
    let place = sources::write(instance, environment, &name, &value).await?;
    drop(value);
    output.note(&format!("{name} is written to {place}"));
    if Addresses::find(instance).is_ok() && instance.run_dir().join("admin.sock").exists() {
        let status = only(status(instance, true).await?, &name);
        show(&status, output)?;
        return taken(&status, &name);
    }
    output.line(&format!(
        "{name} is in {place}; the instance does not run, and takes it up when it starts"
    ))
}

/// Whether every daemon that uses `name` took the value up.
fn taken(status: &Status, name: &Name) -> Result<(), Failure> {
    let all = status.daemons.iter().flat_map(|daemon| &daemon.secrets);
    let Some(reason) = all.filter_map(|secret| secret.error.as_ref()).next() else {
        return Ok(());
    };
    let line = format!("{name} is written, and will not do: {reason}; set it again");
    Err(Failure::new(Exit::Data, line))
}

fn only(mut status: Status, name: &Name) -> Status {
    for daemon in &mut status.daemons {
        daemon.secrets.retain(|secret| secret.name == name.as_str());
    }
    status.daemons.retain(|daemon| !daemon.secrets.is_empty());
    status
}

/// The value on standard input, as a file would hold it: one trailing newline is dropped.
fn read_value(name: &Name, output: Output) -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        output.note(&format!(
            "type the value of {name}, then Ctrl-D (it is shown as you type; a pipe is better):"
        ));
    }
    let most = u64::try_from(SECRET_BYTES_MAX + 3).unwrap_or(u64::MAX);
    let bad = |why: String| {
        Failure::new(Exit::Data, format!("the value of {name} on standard input: {why}"))
    };
    // As large as it can get, so that growing leaves no copy behind.
    let mut bytes = Vec::with_capacity(SECRET_BYTES_MAX + 3);
    let read = std::io::stdin().lock().take(most).read_to_end(&mut bytes);
    read.map_err(|error| bad(error.to_string()))?;
    secrets::files::drop_newline(&mut bytes);
    Secret::new(bytes).map_err(|error| bad(error.to_string()))
}
