//! The sources of secrets: the one place that names providers.

use crate::{
    failure::{Exit, Failure},
    instance::{self, Environment, Instance},
};
use kit::{Setting, Settings, parse};
use provider_env::Env;
use provider_file::{Directory, Dotenv, PathValues};
use secrets::{Answer, Name, Policy, Secret, SecretSource, SourceError, WriteError};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

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
    expects: "a list of file:///DIR, env: and dotenv:///FILE",
    parse: |text| {
        parse::optional(text, |text| text.split(',').map(|one| Spec::parse(one.trim())).collect())
    },
};

/// How often remote sources are asked.
pub static SECRETS_POLL_INTERVAL: Setting<Duration> = Setting {
    name: "SECRETS_POLL_INTERVAL",
    default: "30s",
    about: "How often each source is asked without being told to, within a tenth either way.",
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

/// How long a replaced value is accepted.
pub static SECRETS_OVERLAP: Setting<Duration> = Setting {
    name: "SECRETS_OVERLAP",
    default: "5m",
    about: "How long a value is still accepted after another replaced it.",
    expects: "a duration such as 5m",
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

/// What `create` generates: the secrets that only daemons of the instance show each other.
const GENERATED: [&str; 3] = ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"];

/// One place of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A directory with a file for each secret.
    File(PathBuf),
    /// The environment, and files that `NAME_FILE` names.
    Env,
    /// A file of `NAME=value` lines; the instance's own where no path is given.
    Dotenv(Option<PathBuf>),
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
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
/// The list does not parse.
pub fn chain(
    instance: &Instance,
    environment: &Environment,
) -> Result<Vec<Arc<dyn SecretSource>>, Failure> {
    let poll = instance.settings.get(&SECRETS_FILE_POLL)?;
    let make = |spec: &Spec| -> Arc<dyn SecretSource> {
        let inner: Arc<dyn SecretSource> = match spec {
            Spec::File(path) => Arc::new(Directory::new(path, poll)),
            Spec::Env => Arc::new(Env::new(environment.clone(), poll)),
            Spec::Dotenv(path) => {
                let path = path.clone().unwrap_or_else(|| instance.dotenv());
                Arc::new(Dotenv::new(path, poll))
            }
        };
        Arc::new(PathValues::new(inner, PATH_SECRETS, poll))
    };
    Ok(specs(instance)?.iter().map(make).collect())
}

fn specs(instance: &Instance) -> Result<Vec<Spec>, Failure> {
    if let Some(specs) = instance.settings.get(&SECRETS_SOURCES)? {
        return Ok(specs);
    }
    let mounted = Path::new(MOUNTED).is_dir().then(|| Spec::File(MOUNTED.into()));
    Ok(mounted.into_iter().chain([Spec::Env, Spec::Dotenv(None)]).collect())
}

/// Generates into `.env` the secrets that no configured source has. Nothing is generated where the
/// operator named sources and `dotenv:` is not among them.
///
/// # Errors
/// A source cannot be read, or `.env` cannot be written.
pub async fn generate(
    instance: &Instance,
    environment: &Environment,
) -> Result<Vec<&'static str>, Failure> {
    let own = |spec: &Spec| matches!(spec, Spec::Dotenv(path) if path.as_ref().is_none_or(|p| *p == instance.dotenv()));
    if !specs(instance)?.iter().any(own) {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    let chain = chain(instance, environment)?;
    for name in GENERATED {
        if holder(&chain, &literal(name)?).await?.is_none() {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if !instance.dotenv().exists() {
        let head = "# The secrets of this instance. Whoever reads this file is the instance: keep it 0600.\n\
                    # Change a value while the instance runs, and every daemon takes it up.\n";
        instance::write_new(&instance.dotenv(), head.as_bytes())?;
    }
    let dotenv = Dotenv::new(instance.dotenv(), Duration::from_secs(1));
    let mut generated = Vec::new();
    for name in missing {
        let value =
            Secret::random().map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))?;
        if let Put::NotHere(instead) = put(&dotenv, &literal(name)?, &value).await? {
            return Err(Failure::new(Exit::CannotCreate, instead));
        }
        generated.push(name);
    }
    Ok(generated)
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
    let chain = chain(instance, environment)?;
    if let Some(source) = holder(&chain, name).await? {
        // Whoever has it is the one that the daemons read: no other place would do.
        return match put(source.as_ref(), name, value).await? {
            Put::Done => Ok(source.place()),
            Put::NotHere(instead) => Err(Failure::new(
                Exit::Config,
                format!("{name} comes from {}: {instead}", source.place()),
            )),
        };
    }
    let mut said = Vec::new();
    for source in &chain {
        match put(source.as_ref(), name, value).await? {
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

async fn put(source: &dyn SecretSource, name: &Name, value: &Secret) -> Result<Put, Failure> {
    let Some(writer) = source.writer() else {
        return Ok(Put::NotHere("it cannot be written; change it where it is set".into()));
    };
    match writer.write(name, value).await {
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
        let answers = source.read(std::slice::from_ref(name)).await.map_err(refused)?;
        if answers.iter().any(|answer| !matches!(answer, Answer::Missing)) {
            return Ok(Some(source));
        }
    }
    Ok(None)
}

fn refused(error: SourceError) -> Failure {
    let exit = match &error {
        SourceError::Denied { .. } => Exit::Permission,
        SourceError::Unreachable { .. } => Exit::TryAgain,
        SourceError::Refused { .. } => Exit::Config,
    };
    Failure::new(exit, error.chain())
}

fn literal(name: &str) -> Result<Name, Failure> {
    name.parse()
        .map_err(|error: secrets::NameError| Failure::new(Exit::Software, error.to_string()))
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
