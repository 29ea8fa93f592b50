//! `arizuko secrets init`.

use crate::{
    failure::{Exit, Failure},
    instance::{Environment, Instance},
    output::Output,
    rotation,
    sources::{self, Provision, Spec},
};
use secrets::Name;
use serde::Serialize;

/// The answer.
#[derive(Serialize)]
struct Made {
    generated: Vec<Name>,
    place: Option<String>,
    /// Commands that make what could not be made here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    by_hand: Vec<String>,
}

pub(super) async fn run(
    instance: &Instance,
    environment: &Environment,
    output: Output,
) -> Result<(), Failure> {
    let _alone = rotation::lock(instance).await?;
    let provision = sources::provision(instance, environment, true).await?;
    let by_hand = by_hand(&provision);
    let (generated, place) = (provision.made, provision.place);
    let made = Made { generated, place, by_hand };
    output.print(&made, text)?;
    if provision.missing.is_empty() {
        return Ok(());
    }
    let said = provision.refusals.iter().map(|(_, said)| said.as_str()).collect::<Vec<_>>();
    let line = format!(
        "no source has {}, and none is written from here ({}); the commands above make them",
        listed(&provision.missing),
        said.join("; ")
    );
    Err(Failure::new(Exit::Config, line))
}

fn text(made: &Made) -> String {
    match (&made.place, made.generated.as_slice()) {
        (Some(place), names) => format!("generated {} in {place}", listed(names)),
        (None, _) if made.by_hand.is_empty() => "nothing was missing".into(),
        (None, _) => made.by_hand.join("\n"),
    }
}

/// Commands for a shell that make what is missing. No value is ever an argument, which other users
/// of the machine could read.
fn by_hand(provision: &Provision) -> Vec<String> {
    if provision.missing.is_empty() {
        return Vec::new();
    }
    let names = provision.missing.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
    let make = format!(
        "for name in {names}; do openssl rand -hex 32 | tr -d '\\n' > \"$dir/$name\"; done"
    );
    let mounted = provision.refusals.iter().any(|(spec, _)| matches!(spec, Spec::File(_)));
    let mut lines: Vec<String> = vec!["umask 077; dir=$(mktemp -d)".into(), make];
    if mounted {
        lines.push("kubectl create secret generic arizuko --from-file=\"$dir\"".into());
        lines.push("rm -r \"$dir\"".into());
    } else {
        let set = |name: &Name| format!("export {name}_FILE=\"$dir/{name}\"");
        lines.extend(provision.missing.iter().map(set));
    }
    lines
}

fn listed(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
