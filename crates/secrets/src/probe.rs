//! Looking for a bundle without keeping it: what `arizuko secrets check` does.

use crate::{
    AnyBundle, Name, SecretSource,
    keeper::{Search, currents, questions, reading, search, values},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::timeout;

/// What looking for a bundle came to. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Each source that was asked, with its answer.
    pub asked: Vec<String>,
    /// The source that the bundle would come from.
    pub source: Option<String>,
    /// The names of the bundle that this source has.
    pub present: Vec<Name>,
    /// Why a daemon that needs the bundle would not start, or would go without it although
    /// somebody meant it to be there.
    pub problem: Option<String>,
}

/// Looks for `bundle` in `chain` by the keeper's own rules, with `read_timeout` for each source.
///
/// That no source has it is a problem only where something in it is required; whether the daemon
/// can do without the bundle as a whole, its caller knows.
pub async fn probe(
    chain: &[Arc<dyn SecretSource>],
    bundle: &dyn AnyBundle,
    read_timeout: Duration,
) -> Probe {
    let mut probe = Probe { asked: Vec::new(), source: None, present: Vec::new(), problem: None };
    let names: BTreeSet<Name> = bundle.needs().iter().map(|need| need.name.clone()).collect();
    for source in chain {
        let place = format!("{} ({})", source.place(), source.kind());
        match look(source.as_ref(), &names, read_timeout, bundle).await {
            Ok(Look::Has(present)) => {
                probe.source = Some(place);
                probe.present = present;
                return probe;
            }
            Ok(Look::NotHere(said)) => probe.asked.push(format!("{place}: {said}")),
            Err(problem) => {
                probe.problem = Some(format!("{place}: {problem}"));
                return probe;
            }
        }
    }
    if bundle.needs().iter().any(|need| need.required) {
        let asked = probe.asked.join("; ");
        probe.problem = Some(format!("no source has it all. Asked: {asked}"));
    }
    probe
}

enum Look {
    Has(Vec<Name>),
    NotHere(String),
}

/// What one source has of the bundle; the error is a reason to go no further.
async fn look(
    source: &dyn SecretSource,
    names: &BTreeSet<Name>,
    read_timeout: Duration,
    bundle: &dyn AnyBundle,
) -> Result<Look, String> {
    let answers = timeout(read_timeout, source.read(&questions(names)))
        .await
        .map_err(|_| format!("no answer within {read_timeout:?}"))?
        .map_err(|error| error.chain())?;
    let reading = reading(names, answers).ok_or("it did not answer for every name")?;
    match search(bundle.needs(), &reading) {
        Search::NotHere { said, .. } => Ok(Look::NotHere(said)),
        Search::Unusable(name, reason) => Err(format!("{name}: {reason}")),
        Search::Has(held) => {
            let set = currents(&held);
            let present: Vec<Name> = held.into_keys().collect();
            match bundle.check(&values(&set)) {
                Ok(()) => Ok(Look::Has(present)),
                Err(reason) => {
                    let names = present.iter().map(Name::as_str).collect::<Vec<_>>();
                    Err(format!("{}: {reason}", names.join(", ")))
                }
            }
        }
    }
}
