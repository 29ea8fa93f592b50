//! Secrets from the environment: `NAME=value`, or `NAME_FILE=/path` for the file that holds it.
//!
//! The smallest provider, and the one to copy when writing another.
//!
//! A plain variable is what it was when the process started, and never changes: it is shown as
//! static, and is readable by whoever may read this user's processes. A file that a `NAME_FILE`
//! names is read at each look, and looked at every second. Each such file is read by itself: two
//! that belong together are better taken from a mounted directory, which is read as of one moment.

use async_trait::async_trait;
use rustix::fs::CWD;
use secrets::{
    Answer, Malformed, Name, Secret, SecretSource, SourceError, Versions, Zeroizing,
    files::{self, FileError, FileId, Links},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// `SECRETS_FILE_POLL`: how often the files that a `NAME_FILE` names are looked at.
pub const POLL: Duration = Duration::from_secs(1);

/// The version id of a plain variable.
const STATIC: &str = "static";

/// The environment as it was when the process started.
pub struct Env {
    variables: Arc<BTreeMap<String, Zeroizing<String>>>,
    poll: Duration,
    seen: Mutex<Seen>,
}

/// What is at each path that was read.
type Identity = BTreeMap<PathBuf, Option<FileId>>;

#[derive(Default)]
struct Seen {
    identity: Identity,
    /// The last read found other files than the one before. They are read once more at the next
    /// look, as a file that is written twice within one tick of its file system's clock looks the
    /// same after the second time.
    settle: bool,
}

impl Env {
    /// Takes the variables; the caller decides whose they are. Files that a `NAME_FILE` names are
    /// looked at every `poll`; see [`POLL`].
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, poll: Duration) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
        Self { variables: Arc::new(variables), poll, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The paths of the files that hold these names.
    fn paths(&self, names: &[Name]) -> BTreeSet<PathBuf> {
        names.iter().filter_map(|name| file_of(&self.variables, name)).collect()
    }
}

fn file_of(variables: &BTreeMap<String, Zeroizing<String>>, name: &Name) -> Option<PathBuf> {
    variables.get(&format!("{name}_FILE")).map(|path| PathBuf::from(path.as_str()))
}

fn identity(paths: impl IntoIterator<Item = PathBuf>) -> Identity {
    let id = |path: &PathBuf| rustix::fs::stat(path).ok().map(|stat| FileId::of(&stat));
    paths.into_iter().map(|path| (id(&path), path)).map(|(id, path)| (path, id)).collect()
}

fn answer(
    variables: &BTreeMap<String, Zeroizing<String>>,
    name: &Name,
) -> Result<Answer, SourceError> {
    let rejected = |reason: String| Ok(Answer::Rejected(Malformed(reason.into())));
    match (variables.get(name.as_str()), file_of(variables, name)) {
        (None, None) => Ok(Answer::Missing),
        (Some(_), Some(_)) => {
            rejected(format!("{name} and {name}_FILE are both set; remove one of them"))
        }
        (Some(value), None) => Ok(match Secret::new(value.as_bytes().to_vec()) {
            Ok(current) => Answer::Found(Versions {
                current,
                previous: None,
                id: STATIC.to_owned(),
                changed_at: None,
            }),
            Err(reason) => Answer::Rejected(reason),
        }),
        (None, Some(path)) => {
            match files::open(CWD, &path, Links::Follow).and_then(files::Opened::versions) {
                Ok(versions) => Ok(Answer::Found(versions)),
                Err(FileError::Missing) => {
                    rejected(format!("{}, which {name}_FILE names, is not there", path.display()))
                }
                Err(FileError::Malformed(reason)) => {
                    rejected(format!("{}, which {name}_FILE names: {reason}", path.display()))
                }
                Err(FileError::Io(cause)) => Err(SourceError::Unreachable {
                    place: path.display().to_string(),
                    cause: cause.into(),
                }),
            }
        }
    }
}

#[async_trait]
impl SecretSource for Env {
    fn kind(&self) -> &'static str {
        "env"
    }

    fn place(&self) -> String {
        "the environment (set NAME or NAME_FILE)".to_owned()
    }

    fn is_static(&self) -> bool {
        // What counts is what was asked for: an environment is full of other `_FILE` variables.
        self.seen().identity.is_empty()
    }

    fn is_static_for(&self, name: &Name) -> bool {
        self.variables.contains_key(name.as_str())
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let (variables, names) = (self.variables.clone(), names.to_vec());
        let paths = self.paths(&names);
        let work = move || {
            // Before the read, so that what changes during it counts as a change.
            let identity = identity(paths);
            let answers = names.iter().map(|name| answer(&variables, name)).collect();
            (identity, answers)
        };
        let (identity, answers) = tokio::task::spawn_blocking(work).await.map_err(|error| {
            SourceError::Unreachable { place: self.place(), cause: error.into() }
        })?;
        let mut seen = self.seen();
        seen.settle |= seen.identity != identity;
        seen.identity = identity;
        answers
    }

    async fn changed(&self) {
        if self.is_static() {
            return std::future::pending().await;
        }
        loop {
            let paths: Vec<_> = self.seen().identity.keys().cloned().collect();
            // It fails only when the runtime stops; then nothing is worth doing.
            let Ok(now) = tokio::task::spawn_blocking(move || identity(paths)).await else {
                return std::future::pending().await;
            };
            {
                let mut seen = self.seen();
                let same_files = seen.identity.keys().eq(now.keys());
                if same_files && seen.identity != now {
                    // A hint counts as seen: whoever gets it reads, and finds what is remembered
                    // here, so that the read cannot ask for one more.
                    seen.identity = now;
                    seen.settle = true;
                    return;
                }
            }
            sleep(self.poll).await;
            if std::mem::take(&mut self.seen().settle) {
                return;
            }
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({} variables)", self.variables.len())
    }
}
