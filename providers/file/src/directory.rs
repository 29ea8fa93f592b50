//! A directory in which each secret is a file.

use crate::{
    mount::{self, DATA, Mount},
    watch::{Identity, Place, Watch, Watching, link, mark},
    write,
};
use async_trait::async_trait;
use secrets::{
    Answer, Name, Secret, SecretSource, SecretWriter, SourceError, Versions, WriteError,
    files::Links,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The version of what cannot change while this process runs.
const STATIC: &str = "static";

/// A directory of secrets, one file each, named as the secret is.
#[derive(Debug)]
pub struct Directory {
    files: Arc<Files>,
    watch: Watch<Files>,
}

#[derive(Debug)]
struct Files {
    root: PathBuf,
    /// Whether it was filled once, before this process began.
    is_copy: bool,
    /// What was read last, and so is looked at.
    names: Mutex<Vec<Name>>,
}

impl Directory {
    /// Reads the files in `root`, looks at them every `poll`, and has the system tell as well.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, poll: Duration) -> Self {
        Self::watching(root, Watching::every(poll))
    }

    /// Reads the files in `root`, and watches them in that way.
    #[must_use]
    pub fn watching(root: impl Into<PathBuf>, watching: Watching) -> Self {
        Self::of(root.into(), false, watching)
    }

    /// Reads the files in `root`, which systemd copied there before this process began (`LoadCredential=`,
    /// systemd.exec(5)). Their version is `static`, and they are not written.
    #[must_use]
    pub fn copied(root: impl Into<PathBuf>, poll: Duration) -> Self {
        Self::of(root.into(), true, Watching::every(poll))
    }

    fn of(root: PathBuf, is_copy: bool, watching: Watching) -> Self {
        let files = Arc::new(Files { root, is_copy, names: Mutex::default() });
        Self { watch: Watch::new(files.clone(), watching), files }
    }
}

#[async_trait]
impl SecretSource for Directory {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn place(&self) -> String {
        self.files.root.display().to_string()
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let (files, names) = (self.files.clone(), names.to_vec());
        let work = move || {
            files.remember(&names);
            // Before the read, so that what changes during it counts as a change.
            let identity = files.identity();
            (identity, files.read(&names))
        };
        let (identity, answers) = write::off_thread(&self.place(), work).await?;
        self.watch.read(identity);
        answers
    }

    async fn changed(&self) {
        self.watch.changed().await;
    }

    fn writer(&self) -> Option<&dyn SecretWriter> {
        Some(self)
    }
}

#[async_trait]
impl SecretWriter for Directory {
    async fn write(&self, name: &Name, value: &Secret) -> Result<(), WriteError> {
        let path = self.writable(name).await?;
        // One newline is dropped when it is read; a value that ends in one needs another.
        let ends_in_newline = value.expose().ends_with(b"\n");
        let newline: &[u8] = if ends_in_newline { b"\n" } else { b"" };
        let content = secrets::Zeroizing::new([value.expose(), newline].concat());
        let place = self.place();
        let work = move || write::replace(&path, &content);
        let written = write::off_thread(&place, work).await;
        write::finished(place, written)
    }

    async fn remove(&self, name: &Name) -> Result<(), WriteError> {
        let path = self.writable(name).await?;
        let place = self.place();
        let work = move || write::remove(&path);
        let removed = write::off_thread(&place, work).await;
        write::finished(place, removed)
    }
}

impl Directory {
    async fn writable(&self, name: &Name) -> Result<PathBuf, WriteError> {
        let place = self.place();
        if self.files.is_copy {
            let instead = format!(
                "systemd copied it there when the unit started; change the file that LoadCredential= names for {name} \
                 and restart the unit"
            );
            return Err(WriteError::ReadOnly { place, instead });
        }
        let root = self.files.root.clone();
        let opened = write::off_thread(&place, move || Mount::open(&root)).await;
        match opened.and_then(|mount| mount) {
            Ok(mount) if mount.is_versioned() => Err(WriteError::ReadOnly {
                place,
                instead: format!(
                    "it is mounted by Kubernetes; change the Secret that is mounted there, for example with \
                     `kubectl edit secret` or whatever keeps it (key {name})"
                ),
            }),
            Ok(_) => Ok(self.files.root.join(name.as_str())),
            Err(error) => Err(WriteError::Failed { place, cause: error.into() }),
        }
    }
}

impl Files {
    fn remember(&self, names: &[Name]) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names.to_vec();
    }

    fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let one = |mount: &Mount, name: &Name| {
            let answer = mount.read(Path::new(name.as_str()), Links::Beneath)?;
            Ok(match answer {
                Answer::Found(versions) if self.is_copy => {
                    Answer::Found(Versions { id: STATIC.into(), ..versions })
                }
                answer => answer,
            })
        };
        let all = |mount: &Mount| names.iter().map(|name| one(mount, name)).collect();
        mount::read_whole(&self.root, all, |answer| matches!(answer, Answer::Missing))
    }
}

impl Place for Files {
    fn directories(&self) -> Vec<PathBuf> {
        vec![self.root.clone()]
    }

    fn identity(&self) -> Identity {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let files = names.iter().map(|name| mark(&self.root.join(name.as_str())));
        [mark(&self.root), link(&self.root.join(DATA))].into_iter().chain(files).collect()
    }
}
