//! Names whose value may be the path of a file.

use crate::{
    mount::{self, DATA, Mount},
    watch::{Identity, Place, Watch, Watching, link, mark},
    write,
};
use async_trait::async_trait;
use secrets::{
    Answer, Malformed, Name, SecretSource, SecretWriter, SourceError, Versions, files::Links,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Around another source: for some names, a value that begins with `/` is the path of a file,
/// which holds the real value and is watched.
///
/// Files of one directory are read through one handle, so that a certificate and its key from one
/// mounted Secret are of one version.
#[derive(Debug)]
pub struct PathValues {
    source: Arc<dyn SecretSource>,
    names: BTreeSet<Name>,
    files: Arc<Files>,
    watch: Watch<Files>,
}

/// The files that the last read led to.
#[derive(Debug, Default)]
struct Files(Mutex<BTreeSet<PathBuf>>);

impl PathValues {
    /// Around `source`, for `names` and the `NAME_PREVIOUS` of each. Looks at the files every
    /// `poll`, and has the system tell as well.
    pub fn new(
        source: Arc<dyn SecretSource>,
        names: impl IntoIterator<Item = Name>,
        poll: Duration,
    ) -> Self {
        Self::watching(source, names, Watching::every(poll))
    }

    /// As [`PathValues::new`], with the files watched in that way.
    pub fn watching(
        source: Arc<dyn SecretSource>,
        names: impl IntoIterator<Item = Name>,
        watching: Watching,
    ) -> Self {
        let names = names.into_iter().flat_map(|name| [name.previous(), name]).collect();
        let files = Arc::new(Files::default());
        Self { source, names, watch: Watch::new(files.clone(), watching), files }
    }
}

#[async_trait]
impl SecretSource for PathValues {
    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    fn place(&self) -> String {
        self.source.place()
    }

    fn is_static(&self) -> bool {
        // Its own variables may be; files that they name are not.
        self.source.is_static() && self.files.paths().is_empty()
    }

    fn is_remote(&self) -> bool {
        self.source.is_remote()
    }

    fn is_static_for(&self, name: &Name) -> bool {
        self.source.is_static_for(name) && !self.names.contains(name)
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let mut answers = self.source.read(names).await?;
        let mut paths = BTreeMap::new();
        for (at, (name, answer)) in names.iter().zip(&answers).enumerate() {
            if let Answer::Found(versions) = answer
                && self.names.contains(name)
                && versions.current.expose().starts_with(b"/")
            {
                paths.insert(at, PathBuf::from(OsStr::from_bytes(versions.current.expose())));
            }
        }
        let files = self.files.clone();
        let work = move || {
            files.remember(paths.values().cloned().collect());
            let identity = files.identity();
            (identity, read_all(&paths))
        };
        let (identity, found) = write::off_thread(&self.place(), work).await?;
        self.watch.read(identity);
        for (at, answer) in found? {
            if let Some(slot) = answers.get_mut(at) {
                let named = std::mem::replace(slot, Answer::Missing);
                *slot = led_to(named, answer);
            }
        }
        Ok(answers)
    }

    async fn changed(&self) {
        tokio::select! {
            () = self.source.changed() => {}
            () = self.watch.changed() => {}
        }
    }

    fn writer(&self) -> Option<&dyn SecretWriter> {
        self.source.writer()
    }
}

/// The answer for a name whose value leads to a file.
fn led_to(named: Answer, file: Answer) -> Answer {
    match (named, file) {
        (Answer::Found(named), Answer::Found(file)) => {
            // Either may change: the path that is named, or what is there.
            let id = format!("{} {}", named.id, file.id);
            Answer::Found(Versions { id, ..file })
        }
        (_, Answer::Rejected(reason)) => {
            Answer::Rejected(Malformed(format!("the file that it names: {reason}").into()))
        }
        _ => Answer::Rejected(Malformed::because("the file that it names is not there")),
    }
}

/// Reads files, those of one directory as of one moment.
fn read_all(paths: &BTreeMap<usize, PathBuf>) -> Result<Vec<(usize, Answer)>, SourceError> {
    let mut directories: BTreeMap<&Path, Vec<(usize, &OsStr)>> = BTreeMap::new();
    let mut answers = Vec::new();
    for (at, path) in paths {
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(file)) => {
                directories.entry(directory).or_default().push((*at, file));
            }
            _ => answers.push((*at, Answer::Rejected(Malformed::because("that is no file")))),
        }
    }
    for (directory, files) in directories {
        let read = |mount: &Mount| {
            // Where the operator's own links lead is theirs to say; a mounted version's may not
            // leave it.
            let one = |(at, file): &(usize, &OsStr)| {
                Ok((*at, mount.read(Path::new(file), Links::Follow)?))
            };
            files.iter().map(one).collect()
        };
        let is_gap = |(_, answer): &(usize, Answer)| matches!(answer, Answer::Missing);
        match mount::read_whole(directory, read, is_gap) {
            Ok(read) => answers.extend(read),
            // The path is part of a value: it is a wrong value, not a source that is down.
            Err(SourceError::Unreachable { cause, .. } | SourceError::Denied { cause, .. }) => {
                let reason = format!("its directory cannot be read: {cause}");
                let rejected =
                    |(at, _): (usize, _)| (at, Answer::Rejected(Malformed(reason.clone().into())));
                answers.extend(files.into_iter().map(rejected));
            }
            Err(SourceError::Refused { reason, .. }) => {
                let rejected =
                    |(at, _): (usize, _)| (at, Answer::Rejected(Malformed(reason.clone().into())));
                answers.extend(files.into_iter().map(rejected));
            }
        }
    }
    Ok(answers)
}

impl Files {
    fn remember(&self, paths: BTreeSet<PathBuf>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = paths;
    }

    fn paths(&self) -> BTreeSet<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Place for Files {
    fn directories(&self) -> Vec<PathBuf> {
        let paths = self.paths();
        let parents: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        parents.into_iter().map(Path::to_owned).collect()
    }

    fn identity(&self) -> Identity {
        let files: Vec<_> = self.paths().iter().map(|path| mark(path)).collect();
        let data = self.directories().into_iter().map(|directory| link(&directory.join(DATA)));
        files.into_iter().chain(data).collect()
    }
}
