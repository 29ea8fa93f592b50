//! Whether a value would do, by the rules of the daemons that are to use it, before it is written.

use crate::{
    daemons::{PROGRAMS, bundles},
    failure::{Exit, Failure},
    instance::{Environment, Instance},
    sources,
};
use secrets::{Malformed, Name, Need, Secret, Values};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a value that is about to be written is.
#[derive(Debug)]
pub(super) enum Fit {
    /// Every daemon that uses it would take it.
    Good,
    /// It is good by itself, and does not belong to what stands beside it: of several values that
    /// are written one after the other, one is the first.
    Waits {
        /// The names of what stands beside it.
        others: String,
        /// Why they do not belong together.
        reason: Malformed,
    },
}

/// The names that stand beside `name` in the bundles that it is in.
pub(super) fn beside(name: &Name) -> BTreeSet<Name> {
    let bundles = PROGRAMS.iter().flat_map(bundles);
    let ours = bundles.filter(|bundle| bundle.needs().iter().any(|need| is_for(need, name)));
    let names = ours.flat_map(|bundle| bundle.needs()).map(|need| need.name.clone());
    names.filter(|other| other != name).collect()
}

/// What the sources of `instance` have of these names, as far as it is good.
///
/// # Errors
/// A source cannot be read.
pub(super) async fn found(
    instance: &Instance,
    environment: &Environment,
    names: BTreeSet<Name>,
) -> Result<BTreeMap<Name, Arc<Secret>>, Failure> {
    let found = sources::find(instance, environment, names).await?;
    let good = found.into_iter().filter_map(|(name, of)| Some((name, Arc::new(of.current.ok()?))));
    Ok(good.collect())
}

/// Has every bundle that `name` is in judge `value`, together with `others`: what is good of the rest.
///
/// # Errors
/// A daemon would refuse the value.
pub(super) fn judge(
    name: &Name,
    value: &Arc<Secret>,
    others: &BTreeMap<Name, Arc<Secret>>,
) -> Result<Fit, Failure> {
    let mut fit = Fit::Good;
    for bundle in PROGRAMS.iter().flat_map(bundles) {
        let Some(need) = bundle.needs().iter().find(|need| is_for(need, name)) else { continue };
        let refused = |reason| refused(name, reason);
        if let Some(alone) = need.alone {
            alone(value).map_err(refused)?;
        }
        let is_other =
            |other: &Name| *other != need.name && bundle.needs().iter().any(|n| n.name == *other);
        let beside = others.iter().filter(|(other, _)| is_other(other));
        let Err(reason) = bundle.check(&Values::new(beside.chain([(&need.name, value)]))) else {
            continue;
        };
        if need.alone.is_some() {
            let names = bundle.needs().iter().map(|need| &need.name);
            let names: Vec<&str> = names.filter(|n| **n != need.name).map(Name::as_str).collect();
            fit = Fit::Waits { others: names.join(", "), reason };
        } else if bundle.check(&Values::new([(&need.name, value)])).is_err() {
            return Err(refused(reason));
        }
    }
    Ok(fit)
}

fn is_for(need: &Need, name: &Name) -> bool {
    need.name == *name || need.name.previous() == *name
}

fn refused(name: &Name, reason: Malformed) -> Failure {
    Failure::new(Exit::Data, format!("{name} would not do: {reason}; nothing was written"))
}
