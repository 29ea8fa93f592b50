//! `arizuko secrets set`, `rotate` and `forget` with `--kubernetes-secret`.

use super::{fit, is_used, parse};
use crate::{
    cli::InCluster,
    cmd::stdin,
    failure::{Exit, Failure},
    instance::Environment,
    issued,
    mounted::{Forgotten, Latency, Mounted, Renewed, open},
    output::Output,
};
use proto::Daemon;
use secrets::{Name, seal::SECRETS_KEY};
use std::sync::Arc;

pub(super) async fn rotate(
    environment: &Environment,
    name: &str,
    leaked: bool,
    at: &InCluster,
    output: Output,
) -> Result<(), Failure> {
    let name = &issued::parse(name)?;
    let cluster = open(environment, at).await?;
    let renewed = Mounted { cluster, name, output }.rotate(leaked).await?;
    output.print(&renewed, rotated_text)
}

pub(super) async fn set(
    environment: &Environment,
    name: &str,
    at: &InCluster,
    output: Output,
) -> Result<(), Failure> {
    let name = &parse(name)?;
    let cluster = open(environment, at).await?;
    let value = Arc::new(stdin::secret(&format!("the value of {name}"), output)?);
    let mounted = Mounted { cluster, name, output };
    let fit = fit::judge(name, &value, &mounted.values(fit::beside(name)).await?)?;
    if !is_used(name) {
        output.note(&format!(
            "nothing in this build uses {name}; `arizuko secrets check` lists what is used"
        ));
    }
    if let fit::Fit::Waits { others, reason } = &fit {
        output.note(&format!("it is used once {others} belongs to it; now, {reason}"));
    }
    let renewed = mounted.set(&value, matches!(fit, fit::Fit::Good)).await?;
    output.print(&renewed, set_text)
}

pub(super) async fn forget(
    environment: &Environment,
    name: &str,
    at: &InCluster,
    output: Output,
) -> Result<(), Failure> {
    let name = &parse(name)?;
    if name.as_str().ends_with("_PREVIOUS") {
        let line = format!("{name} is the value before another; name that one");
        return Err(Failure::new(Exit::Usage, line));
    }
    let cluster = open(environment, at).await?;
    let forgotten = Mounted { cluster, name, output }.forget().await?;
    output.print(&forgotten, forgotten_text)
}

fn listed(daemons: &[Daemon]) -> String {
    daemons.iter().map(|daemon| daemon.name()).collect::<Vec<_>>().join(", ")
}

fn in_use(of: &Renewed) -> String {
    let (name, place) = (&of.secret, &of.place);
    match of.daemons.as_slice() {
        [] => format!("{name} is new in the Secret {place}, and in use by nothing that runs"),
        daemons => {
            format!("{name} is new in the Secret {place}, and in use by {}", listed(daemons))
        }
    }
}

fn took(latency: &Latency) -> String {
    let seconds = |ms: u64| {
        let tenths = ms.div_ceil(100);
        format!("{}.{} s", tenths / 10, tenths % 10)
    };
    let (file, used) = (seconds(latency.source_to_file_ms), seconds(latency.file_to_last_use_ms));
    format!("from the Secret to the last file: {file}; from its file to the last use: {used}")
}

fn rotated_text(of: &Renewed) -> String {
    let (name, place) = (&of.secret, &of.place);
    let previous = name.previous();
    let mut lines = vec![in_use(of)];
    lines.extend(of.latency.as_ref().map(took));
    lines.push(match (of.leaked, of.previous_accepted_until) {
        (true, _) if *name == SECRETS_KEY => {
            "the old value opens no database; everything is sealed anew, and every token ended"
                .into()
        }
        (true, _) if of.daemons.is_empty() => format!("{previous} is not kept"),
        (true, _) => "the old value is refused everywhere, and what was made with it".into(),
        (false, until) => {
            let until = until.map_or_else(
                || "for one overlap".to_owned(),
                |until| format!("until {until}, also after a restart"),
            );
            format!(
                "the old value is accepted {until}; after that, remove {previous} with `arizuko secrets forget {name} --kubernetes-secret {place}`"
            )
        }
    });
    lines.join("\n")
}

fn set_text(of: &Renewed) -> String {
    if of.was_there {
        return format!("{} of the Secret {} has that value already", of.secret, of.place);
    }
    let mut lines = vec![in_use(of)];
    lines.extend(of.latency.as_ref().map(took));
    lines.join("\n")
}

fn forgotten_text(of: &Forgotten) -> String {
    let name: &Name = &of.secret;
    let first = match of.daemons.as_slice() {
        [] => format!("nothing runs, so there was nobody to forget earlier values of {name}"),
        daemons => {
            format!("earlier values of {name} are accepted no more by {}", listed(daemons))
        }
    };
    if of.removed_previous {
        format!("{first}\n{} is removed from the Secret {}", name.previous(), of.place)
    } else {
        first
    }
}
