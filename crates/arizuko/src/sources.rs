//! The sources of secrets: the one place that names providers.

mod remote;

pub use remote::{Remote, Remotes};

use crate::{
    failure::{Exit, Failure},
    instance::{self, Environment, Instance},
    issued,
};
use kit::{SECRETS_OVERLAP, Setting, Settings, parse};
use provider_env::Env;
use provider_file::{Directory, Dotenv, PathValues};
use secrets::{
    Answer, Change, Malformed, Name, Policy, Secret, SecretSource, SourceError, WriteError,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long one source may take to answer a command.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Where Kubernetes manifests mount the projected Secret.
const MOUNTED: &str = "/var/run/secrets/arizuko";

/// The secrets that may be given as the path of a file, wherever they are given: a mounted
/// `kubernetes.io/tls` Secret is used as it is.
const PATH_SECRETS: [Name; 2] = [Name::literal("PROXYD_TLS_CERT"), Name::literal("PROXYD_TLS_KEY")];

/// The sources, in the order in which they are asked.
pub static SECRETS_SOURCES: Setting<Option<Vec<Spec>>> = Setting {
    name: "SECRETS_SOURCES",
    default: "",
    about: "Where secrets come from, in the order in which the places are asked, separated by commas. Unset: file:///var/run/secrets/arizuko where that is, then env:, then dotenv: on the instance's .env.",
    expects: "a list of file:///DIR, env:, dotenv:///FILE, vault+https://HOST:8200/MOUNT/PATH?auth=…, aws-sm://REGION/NAME?auth=… and gcp-sm://PROJECT/NAME",
    parse: |text| {
        parse::optional(text, |text| text.split(',').map(|one| Spec::parse(one.trim())).collect())
    },
};

/// How often remote sources are asked.
pub static SECRETS_POLL_INTERVAL: Setting<Duration> = Setting {
    name: "SECRETS_POLL_INTERVAL",
    default: "30s",
    about: "How often each source is asked without being told to, within a tenth either way; a server up to a quarter sooner, and never later.",
    expects: "a duration such as 30s",
    parse: parse::duration,
};

/// How often files are looked at.
pub static SECRETS_FILE_POLL: Setting<Duration> = Setting {
    name: "SECRETS_FILE_POLL",
    default: "1s",
    about: "How often files that hold secrets are looked at, beside the kernel's notices.",
    expects: "a duration such as 1s",
    parse: parse::duration,
};

/// How long a source may be silent.
pub static SECRETS_MAX_STALENESS: Setting<Duration> = Setting {
    name: "SECRETS_MAX_STALENESS",
    default: "1h",
    about: "How long a source may be silent before the daemons call themselves degraded.",
    expects: "a duration such as 1h",
    parse: parse::duration,
};

/// One place of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A directory with a file for each secret.
    File(PathBuf),
    /// The environment, and files that `NAME_FILE` names.
    Env,
    /// A file of `NAME=value` lines; the instance's own where no path is given.
    Dotenv(Option<PathBuf>),
    /// A server.
    Remote(Remote),
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        if let Some(remote) = Remote::parse(text) {
            return Some(Self::Remote(remote));
        }
        let (scheme, rest) = text.split_once(':')?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let absolute = || path.starts_with('/').then(|| PathBuf::from(path));
        match (scheme, rest) {
            ("env", "" | "//") => Some(Self::Env),
            ("dotenv", "" | "//") => Some(Self::Dotenv(None)),
            ("file", _) => absolute().map(Self::File),
            ("dotenv", _) => absolute().map(|path| Self::Dotenv(Some(path))),
            _ => None,
        }
    }
}

/// The keeper's policy, as the operator set it.
///
/// # Errors
/// A setting does not parse.
pub fn policy(settings: &Settings, default: Policy) -> Result<Policy, Failure> {
    Ok(Policy {
        poll_interval: settings.get(&SECRETS_POLL_INTERVAL)?,
        overlap: settings.get(&SECRETS_OVERLAP)?,
        max_staleness: settings.get(&SECRETS_MAX_STALENESS)?,
        ..default
    })
}

/// The sources of `instance`, in the order in which they are asked.
///
/// # Errors
/// The list does not parse, or the URL of a server will not do.
pub fn chain(
    instance: &Instance,
    environment: &Environment,
) -> Result<Vec<Arc<dyn SecretSource>>, Failure> {
    let poll = instance.settings.get(&SECRETS_FILE_POLL)?;
    let overlap = instance.settings.get(&SECRETS_OVERLAP)?;
    let make = |spec: &Spec| -> Result<Arc<dyn SecretSource>, Failure> {
        let inner: Arc<dyn SecretSource> = match spec {
            Spec::File(path) if is_copy(path, environment) => {
                Arc::new(Directory::copied(path, poll))
            }
            Spec::File(path) => Arc::new(Directory::new(path, poll)),
            Spec::Env => Arc::new(Env::new(environment.clone(), poll)),
            Spec::Dotenv(path) => {
                let path = path.clone().unwrap_or_else(|| instance.dotenv());
                Arc::new(Dotenv::new(path, poll))
            }
            Spec::Remote(remote) => instance.remotes.get(remote, overlap)?,
        };
        Ok(Arc::new(PathValues::new(inner, PATH_SECRETS, poll)))
    };
    specs(instance)?.iter().map(make).collect()
}

/// Whether systemd filled this directory when it started the unit, and never will again.
fn is_copy(path: &Path, environment: &Environment) -> bool {
    environment.get("CREDENTIALS_DIRECTORY").is_some_and(|copy| path == Path::new(copy))
}

/// Whether one of the sources of `instance` is a server.
pub fn has_server(instance: &Instance) -> bool {
    specs(instance).is_ok_and(|specs| specs.iter().any(|spec| matches!(spec, Spec::Remote(_))))
}

fn specs(instance: &Instance) -> Result<Vec<Spec>, Failure> {
    if let Some(specs) = instance.settings.get(&SECRETS_SOURCES)? {
        return Ok(specs);
    }
    let mounted = Path::new(MOUNTED).is_dir().then(|| Spec::File(MOUNTED.into()));
    Ok(mounted.into_iter().chain([Spec::Env, Spec::Dotenv(None)]).collect())
}

/// What making the generated secrets came to.
#[derive(Debug, Default)]
pub struct Provision {
    /// Those that were missing and were made.
    pub made: Vec<Name>,
    /// Where they were written.
    pub place: Option<String>,
    /// Those that are missing and could not be written anywhere.
    pub missing: Vec<Name>,
    /// What each source said that was not to be written, with the place.
    pub refusals: Vec<(Spec, String)>,
}

/// Makes the secrets that no configured source has, in the first source that can be written, all at
/// once: in `.env` alone, or, if `anywhere`, in whichever there is.
///
/// # Errors
/// A source cannot be read, or one that can be written was not.
pub async fn provision(
    instance: &Instance,
    environment: &Environment,
    anywhere: bool,
) -> Result<Provision, Failure> {
    let is_own = |spec: &Spec| matches!(spec, Spec::Dotenv(path) if path.as_ref().is_none_or(|p| *p == instance.dotenv()));
    let (specs, chain) = (specs(instance)?, chain(instance, environment)?);
    let mut provision = Provision::default();
    if !anywhere && !specs.iter().any(is_own) {
        return Ok(provision);
    }
    for name in issued::GENERATED {
        if holder(&chain, &name).await?.is_none() {
            provision.missing.push(name);
        }
    }
    if provision.missing.is_empty() {
        return Ok(provision);
    }
    let values = provision.missing.iter().map(|name| Ok((name.clone(), random()?)));
    let values: Vec<(Name, Secret)> = values.collect::<Result<_, Failure>>()?;
    let changes: Vec<Change<'_>> = values.iter().map(|(n, v)| Change::Set(n, v)).collect();
    for (spec, source) in specs.iter().zip(&chain).filter(|(spec, _)| anywhere || is_own(spec)) {
        if is_own(spec) && !instance.dotenv().exists() {
            let head = "# The secrets of this instance. Whoever reads this file is the instance: keep it 0600.\n\
                        # Change a value while the instance runs, and every daemon takes it up.\n";
            instance::write_new(&instance.dotenv(), head.as_bytes())?;
        }
        match put(source.as_ref(), &changes).await? {
            Put::Done => {
                provision.made = std::mem::take(&mut provision.missing);
                provision.place = Some(source.place());
                break;
            }
            Put::NotHere(instead) => provision.refusals.push((spec.clone(), instead)),
        }
    }
    Ok(provision)
}

/// A new random value.
///
/// # Errors
/// The system gives no random bytes.
pub fn random() -> Result<Secret, Failure> {
    Secret::random().map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))
}

/// A secret where the daemons read it.
#[derive(Debug)]
pub struct Found {
    /// The first source that has it.
    pub source: Arc<dyn SecretSource>,
    /// Its value there, and the reason where that will not do.
    pub current: Result<Secret, Malformed>,
    /// What stands beside it as `NAME_PREVIOUS`, where that is a value.
    pub previous: Option<Secret>,
    /// Whether a command may be able to write it. Only a look from outside: a write tells.
    pub is_ours: bool,
}

impl Found {
    /// Makes `changes` in this source, all at once where it can do that.
    ///
    /// # Errors
    /// It is not to be written from here, with what to do instead, or it could not be.
    pub async fn change(&self, name: &Name, changes: &[Change<'_>]) -> Result<(), Failure> {
        match put(self.source.as_ref(), changes).await? {
            Put::Done => Ok(()),
            Put::NotHere(instead) => {
                let line = format!("{name} comes from {}: {instead}", self.source.place());
                Err(Failure::new(Exit::Config, line))
            }
        }
    }
}

/// Looks for each of `names` where a daemon would find it. Each source is read once.
///
/// # Errors
/// A source cannot be read.
pub async fn find(
    instance: &Instance,
    environment: &Environment,
    names: impl IntoIterator<Item = Name>,
) -> Result<BTreeMap<Name, Found>, Failure> {
    let mut wanted: Vec<Name> = names.into_iter().collect();
    let mut found = BTreeMap::new();
    for (spec, source) in specs(instance)?.iter().zip(chain(instance, environment)?) {
        let asked: Vec<Name> =
            wanted.iter().flat_map(|name| [name.clone(), name.previous()]).collect();
        let mut answers = read(source.as_ref(), &asked).await?.into_iter();
        let mut missing = Vec::new();
        for name in wanted {
            let (current, previous) = (answers.next(), answers.next());
            let current = match current {
                Some(Answer::Found(versions)) => Ok(versions.current),
                Some(Answer::Rejected(reason)) => Err(reason),
                Some(Answer::Missing) | None => {
                    missing.push(name);
                    continue;
                }
            };
            let previous = match previous {
                Some(Answer::Found(versions)) => Some(versions.current),
                _ => None,
            };
            let is_ours = match spec {
                Spec::Dotenv(_) | Spec::Remote(_) => true,
                Spec::File(dir) if is_copy(dir, environment) => false,
                // What the kubelet writes has this link.
                Spec::File(dir) => std::fs::symlink_metadata(dir.join("..data")).is_err(),
                Spec::Env => false,
            };
            let source = source.clone();
            found.insert(name, Found { source, current, previous, is_ours });
        }
        wanted = missing;
    }
    Ok(found)
}

/// Writes `value` where `name` is, or, where it is nowhere, to the first source that can be written.
/// Answers with the place.
///
/// # Errors
/// No source can be written; the line says where to change it instead.
pub async fn write(
    instance: &Instance,
    environment: &Environment,
    name: &Name,
    value: &Secret,
) -> Result<String, Failure> {
    let change = [Change::Set(name, value)];
    // Whoever has it is the one that the daemons read: no other place would do.
    if let Some(found) = find(instance, environment, [name.clone()]).await?.remove(name) {
        found.change(name, &change).await?;
        return Ok(found.source.place());
    }
    let mut said = Vec::new();
    for source in &chain(instance, environment)? {
        match put(source.as_ref(), &change).await? {
            Put::Done => return Ok(source.place()),
            Put::NotHere(instead) => said.push(format!("{}: {instead}", source.place())),
        }
    }
    let line = format!("no source of secrets can be written from here ({})", said.join("; "));
    Err(Failure::new(Exit::Config, line))
}

/// What writing to a source came to.
enum Put {
    Done,
    /// It is not to be written from here; what to do instead.
    NotHere(String),
}

async fn put(source: &dyn SecretSource, changes: &[Change<'_>]) -> Result<Put, Failure> {
    let Some(writer) = source.writer() else {
        return Ok(Put::NotHere("it cannot be written; change it where it is set".into()));
    };
    match writer.change(changes).await {
        Ok(()) => Ok(Put::Done),
        Err(WriteError::ReadOnly { instead, .. }) => Ok(Put::NotHere(instead)),
        Err(error @ WriteError::Unfit { .. }) => Err(Failure::new(Exit::Data, kit::chain(&error))),
        Err(error) => Err(Failure::new(Exit::CannotCreate, kit::chain(&error))),
    }
}

/// The first source that has `name`.
async fn holder<'a>(
    chain: &'a [Arc<dyn SecretSource>],
    name: &Name,
) -> Result<Option<&'a Arc<dyn SecretSource>>, Failure> {
    for source in chain {
        let answers = read(source.as_ref(), std::slice::from_ref(name)).await?;
        if answers.iter().any(|answer| !matches!(answer, Answer::Missing)) {
            return Ok(Some(source));
        }
    }
    Ok(None)
}

/// Reads a source for a command, which does not wait for ever.
async fn read(source: &dyn SecretSource, names: &[Name]) -> Result<Vec<Answer>, Failure> {
    match tokio::time::timeout(PATIENCE, source.read(names)).await {
        Ok(answers) => answers.map_err(refused),
        Err(_) => {
            let (place, limit) = (source.place(), PATIENCE.as_secs());
            let line = format!(
                "{place} did not answer within {limit} s; see what it waits for, and try again"
            );
            Err(Failure::new(Exit::TryAgain, line))
        }
    }
}

fn refused(error: SourceError) -> Failure {
    let exit = match &error {
        SourceError::Denied { .. } => Exit::Permission,
        SourceError::Unreachable { .. } => Exit::TryAgain,
        SourceError::Refused { .. } => Exit::Config,
    };
    Failure::new(exit, error.chain())
}

#[cfg(test)]
mod tests {
    use super::Spec;

    #[test]
    fn a_list_of_sources_is_taken_whole_or_not_at_all() {
        let parse = super::SECRETS_SOURCES.parse;
        let list = parse("file:///run/s, env:,dotenv:///srv/.env").unwrap().unwrap();
        assert_eq!(
            list,
            [Spec::File("/run/s".into()), Spec::Env, Spec::Dotenv(Some("/srv/.env".into()))]
        );
        let servers = parse("vault+https://bao:8200/kv/az?auth=token&token_file=/t,env:").unwrap();
        assert!(matches!(servers.as_deref(), Some([Spec::Remote(_), Spec::Env])));
        assert_eq!(parse("").unwrap(), None, "empty is not set");
        for bad in [
            "file://rel",
            "file:",
            "env:X",
            "vault://x",
            "file:///a,",
            "/run/secrets",
            "dotenv://x",
        ] {
            assert!(parse(bad).is_none(), "{bad} must be refused");
        }
    }
}
