//! Whether a value would do, by the rules of the daemons that are to use it, before it is written.

use crate::{
    daemons::{PROGRAMS, bundles},
    failure::{Exit, Failure},
    instance::{Environment, Instance},
    sources,
};
use secrets::{AnyBundle, Malformed, Name, Need, Secret, Values};
use std::{collections::BTreeMap, sync::Arc};

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

/// Has every bundle that `name` is in judge `value`, together with what the sources have of the rest.
///
/// # Errors
/// A daemon would refuse the value; or a source cannot be read.
pub(super) async fn judge(
    instance: &Instance,
    environment: &Environment,
    name: &Name,
    value: &Arc<Secret>,
) -> Result<Fit, Failure> {
    let is_it = |need: &&Need| need.name == *name || need.name.previous() == *name;
    let mut fit = Fit::Good;
    for bundle in PROGRAMS.iter().flat_map(bundles) {
        let Some(need) = bundle.needs().iter().find(is_it) else { continue };
        let refused = |reason| refused(name, reason);
        if let Some(alone) = need.alone {
            alone(value).map_err(refused)?;
        }
        let others = others(instance, environment, bundle, need).await?;
        let whole = others.iter().chain([(&need.name, value)]);
        let Err(reason) = bundle.check(&Values::new(whole)) else { continue };
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

fn refused(name: &Name, reason: Malformed) -> Failure {
    Failure::new(Exit::Data, format!("{name} would not do: {reason}; nothing was written"))
}

/// What the sources have of the other names of `bundle`, as far as it is good.
async fn others(
    instance: &Instance,
    environment: &Environment,
    bundle: &dyn AnyBundle,
    need: &Need,
) -> Result<BTreeMap<Name, Arc<Secret>>, Failure> {
    let names = bundle.needs().iter().map(|other| other.name.clone());
    let names = names.filter(|name| *name != need.name);
    let found = sources::find(instance, environment, names).await?;
    let good = found.into_iter().filter_map(|(name, of)| Some((name, Arc::new(of.current.ok()?))));
    Ok(good.collect())
}
