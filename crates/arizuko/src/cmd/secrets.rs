//! `arizuko secrets`.

mod fit;
#[cfg(feature = "kubernetes")]
mod in_cluster;
mod init;
#[cfg(not(feature = "kubernetes"))]
mod no_cluster;
mod renew;

use super::stdin;
use crate::{
    check,
    cli::Secrets,
    daemons::{PROGRAMS, bundles},
    failure::{Exit, Failure},
    fleet::{Ask, Fleet, databases},
    instance::{Environment, Instance},
    otlp,
    output::{Mark, Output, ago, table},
    rotation,
    session::Session,
    sources, tidy,
};
#[cfg(not(feature = "kubernetes"))]
use no_cluster as in_cluster;
use secrets::Name;
use std::sync::Arc;

pub(super) async fn run(
    instance: &Instance,
    environment: &Environment,
    command: Secrets,
    output: Output,
) -> Result<(), Failure> {
    match command {
        Secrets::Status => status(instance, output).await,
        Secrets::Refresh => refresh(instance, environment, output).await,
        Secrets::Check => check(instance, environment, output).await,
        Secrets::Set { name, at } => match at.kubernetes_secret {
            Some(_) => in_cluster::set(environment, &name, &at, output).await,
            None => set(instance, environment, &name, output).await,
        },
        Secrets::Rotate { name, leaked, at } => match at.kubernetes_secret {
            Some(_) => in_cluster::rotate(environment, &name, leaked, &at, output).await,
            None => renew::rotate(instance, environment, &name, leaked, output).await,
        },
        Secrets::Forget { name, at } => match at.kubernetes_secret {
            Some(_) => in_cluster::forget(environment, &name, &at, output).await,
            None => renew::forget(instance, environment, &name, output).await,
        },
        Secrets::Rekey => renew::rekey(instance, output).await,
        Secrets::Init => init::run(instance, environment, output).await,
    }
}

/// What every daemon has, and what opens the databases.
async fn status(instance: &Instance, output: Output) -> Result<(), Failure> {
    let session = Session::begin(instance).await?;
    let mut fleet = Fleet::ask(&session, Ask::Status).await;
    // That one of their owners does not answer is said beside.
    fleet.databases = databases(&session).await.unwrap_or_default();
    show(&fleet, output)
}

/// What every daemon says of its secrets.
async fn ask(instance: &Instance, ask: Ask<'_>) -> Result<Fleet, Failure> {
    Ok(Fleet::ask(&Session::begin(instance).await?, ask).await)
}

/// Has every daemon read its sources again, and removes what has served its time there.
async fn refresh(
    instance: &Instance,
    environment: &Environment,
    output: Output,
) -> Result<(), Failure> {
    let fleet = ask(instance, Ask::Refresh).await?;
    match tidy::tidy(instance, environment).await {
        Ok(removed) => {
            removed
                .iter()
                .for_each(|name| output.note(&format!("{name} has served, and is removed")));
        }
        // Not what was asked for; `arizuko status` shows what is left behind.
        Err(failure) => tracing::debug!(%failure, "previous values could not be removed"),
    }
    show(&fleet, output)
}

fn show(fleet: &Fleet, output: Output) -> Result<(), Failure> {
    output.print(fleet, |fleet| text(fleet, output))?;
    fleet.whole()
}

fn text(fleet: &Fleet, output: Output) -> String {
    let mut rows = Vec::new();
    for of in &fleet.daemons {
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
    let heads = ["DAEMON", "GEN", "SECRET", "SOURCE", "VERSION", "PRINT", "AGE", "STATE"];
    let mut text = table(&heads, &rows);
    if !fleet.not_running.is_empty() {
        let names: Vec<&str> = fleet.not_running.iter().map(|daemon| daemon.name()).collect();
        text.push_str(&format!("\nnot running: {}", names.join(", ")));
    }
    text
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
            let state = match (&finding.problem, finding.is_there) {
                (Some(_), _) => output.mark("problem", Mark::Bad),
                (None, true) => output.mark("good", Mark::Good),
                (None, false) => "absent".into(),
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
    let name = parse(name)?;
    let value = stdin::secret(&format!("the value of {name}"), output)?;
    let alone = rotation::lock(instance).await?;
    let value = Arc::new(value);
    let others = fit::found(instance, environment, fit::beside(&name)).await?;
    let fit = fit::judge(&name, &value, &others)?;
    let place = sources::write(instance, environment, &name, &value).await?;
    drop((value, alone));
    output.note(&format!("{name} is written to {place}"));
    if !is_used(&name) {
        output.note(&format!(
            "nothing in this build uses {name}; `arizuko secrets check` lists what is used"
        ));
    }
    if let fit::Fit::Waits { others, reason } = &fit {
        output.note(&format!("it is used once {others} belongs to it; now, {reason}"));
    }
    if let Some(session) = rotation::running(instance).await? {
        let fleet = Fleet::ask(&session, Ask::Refresh).await.only(&name);
        show(&fleet, output)?;
        return match fit {
            fit::Fit::Good => taken(&fleet, &name),
            fit::Fit::Waits { .. } => Ok(()),
        };
    }
    output.print(&Fleet::default(), |_| {
        format!("{name} is in {place}; the instance does not run, and takes it up when it starts")
    })
}

/// Whether a daemon of this program asks for `name`, or for what it is the previous value of.
fn is_used(name: &Name) -> bool {
    let needs = PROGRAMS.iter().flat_map(bundles).flat_map(|bundle| bundle.needs());
    let mut needs = needs.into_iter();
    otlp::uses(name) || needs.any(|need| need.name == *name || need.name.previous() == *name)
}

fn parse(name: &str) -> Result<Name, Failure> {
    name.parse().map_err(|error: secrets::NameError| Failure::new(Exit::Usage, error.to_string()))
}

/// Whether every daemon that uses `name` took the value up.
fn taken(fleet: &Fleet, name: &Name) -> Result<(), Failure> {
    let all = fleet.daemons.iter().flat_map(|daemon| &daemon.secrets);
    let Some(reason) = all.filter_map(|secret| secret.error.as_ref()).next() else {
        return Ok(());
    };
    let line = format!("{name} is written, and a daemon does not use it: {reason}");
    Err(Failure::new(Exit::Data, line))
}
