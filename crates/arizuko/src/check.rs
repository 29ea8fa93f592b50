//! Reading the configured sources as each daemon would, without running any.

use crate::{
    daemons::{PROGRAMS, bundles},
    failure::Failure,
    instance::{Environment, Instance},
    sources,
};
use proto::Daemon;
use secrets::{Answer, AnyBundle, Name, Secret, SecretSource, Values};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long one source may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What reading the sources came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The sources, in the order in which they are asked.
    pub sources: Vec<String>,
    /// One for each bundle of each daemon.
    pub findings: Vec<Finding>,
}

/// What one daemon would find of one bundle.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Which daemon.
    pub daemon: Daemon,
    /// The bundle's secrets.
    pub names: String,
    /// Where it was found, and what for each source said before that.
    pub found: String,
    /// What is wrong and what to do; `null` where nothing is.
    pub problem: Option<String>,
}

/// Reads every bundle of every daemon.
///
/// # Errors
/// The list of sources does not parse.
pub async fn report(instance: &Instance, environment: &Environment) -> Result<Report, Failure> {
    let chain = sources::chain(instance, environment)?;
    let sources =
        chain.iter().map(|source| format!("{} {}", source.kind(), source.place())).collect();
    let mut findings = Vec::new();
    for program in PROGRAMS {
        for bundle in bundles(program) {
            findings.push(finding(program.daemon, bundle, &chain).await);
        }
    }
    Ok(Report { sources, findings })
}

async fn finding(
    daemon: Daemon,
    bundle: &'static dyn AnyBundle,
    chain: &[Arc<dyn SecretSource>],
) -> Finding {
    let names: Vec<Name> = bundle.needs().iter().map(|need| need.name.clone()).collect();
    let shown: Vec<&str> = names.iter().map(Name::as_str).collect();
    let finding = |found: String, problem: Option<String>| Finding {
        daemon,
        names: shown.join(", "),
        found,
        problem,
    };
    let mut said = Vec::new();
    for source in chain {
        let place = format!("{} {}", source.kind(), source.place());
        let answers = match tokio::time::timeout(PATIENCE, source.read(&names)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => return finding(said.join("; "), Some(error.chain())),
            Err(_) => {
                let line = format!("{place} did not answer within {} s", PATIENCE.as_secs());
                return finding(said.join("; "), Some(line));
            }
        };
        match take(bundle, &names, answers) {
            Taken::Good => return finding(place, None),
            Taken::Bad(reason) => {
                return finding(said.join("; "), Some(format!("{place}: {reason}")));
            }
            Taken::NotHere(missing) => said.push(format!("{place}: no {missing}")),
        }
    }
    if bundle.needs().iter().all(|need| !need.required) {
        return finding("in no source, which is fine: nothing requires it".into(), None);
    }
    let problem = format!(
        "in no source ({}); put it into one of them, as with `arizuko secrets set`",
        said.join("; ")
    );
    finding(String::new(), Some(problem))
}

enum Taken {
    Good,
    Bad(String),
    NotHere(String),
}

fn take(bundle: &dyn AnyBundle, names: &[Name], answers: Vec<Answer>) -> Taken {
    let mut held: BTreeMap<&Name, Arc<Secret>> = BTreeMap::new();
    for (name, answer) in names.iter().zip(answers) {
        match answer {
            Answer::Found(versions) => {
                held.insert(name, Arc::new(versions.current));
            }
            Answer::Missing => {}
            Answer::Rejected(reason) => return Taken::Bad(format!("{name}: {reason}")),
        }
    }
    let lacking =
        bundle.needs().iter().filter(|need| need.required && !held.contains_key(&need.name));
    let lacking: Vec<&str> = lacking.map(|need| need.name.as_str()).collect();
    if !lacking.is_empty() {
        return Taken::NotHere(lacking.join(", "));
    }
    if held.is_empty() {
        return Taken::NotHere(names.iter().map(Name::as_str).collect::<Vec<_>>().join(", "));
    }
    let values = Values::new(held.iter().map(|(name, secret)| (*name, secret)));
    match bundle.check(&values) {
        Ok(()) => Taken::Good,
        Err(reason) => Taken::Bad(reason.to_string()),
    }
}
