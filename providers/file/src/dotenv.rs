//! A `.env` file.

mod parse;

use crate::{
    watch::{Identity, Mark, Place, Watch, Watching},
    write,
};
use async_trait::async_trait;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, Stat, Uid};
use secrets::Zeroizing;
use secrets::{
    Answer, Change, Name, Secret, SecretSource, SecretWriter, SourceError, Versions, WriteError,
    files::{self, FileError, FileId, Links},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Most bytes of the file.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often a read begins anew because somebody was writing the file in place.
const TRIES: u32 = 8;

/// How long another writer of the file is waited for, in all.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// All secrets in one file, of which only its owner may read anything.
#[derive(Debug)]
pub struct Dotenv {
    file: Arc<EnvFile>,
    watch: Watch<EnvFile>,
}

#[derive(Debug)]
struct EnvFile(PathBuf);

impl Dotenv {
    /// The file at `path`, which need not exist yet: looks at it every `poll`, and has the system
    /// tell as well.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, poll: Duration) -> Self {
        Self::watching(path, Watching::every(poll))
    }

    /// The file at `path`, watched in that way.
    #[must_use]
    pub fn watching(path: impl Into<PathBuf>, watching: Watching) -> Self {
        let file = Arc::new(EnvFile(path.into()));
        Self { watch: Watch::new(file.clone(), watching), file }
    }
}

#[async_trait]
impl SecretSource for Dotenv {
    fn kind(&self) -> &'static str {
        "dotenv"
    }

    fn place(&self) -> String {
        self.file.0.display().to_string()
    }

    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let (file, names) = (self.file.clone(), names.to_vec());
        let work = move || {
            // Before the read, so that what changes during it counts as a change.
            let identity = file.identity();
            (identity, file.answers(&names))
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
impl SecretWriter for Dotenv {
    async fn write(&self, name: &Name, value: &Secret) -> Result<(), WriteError> {
        self.change(&[Change::Set(name, value)]).await
    }

    async fn remove(&self, name: &Name) -> Result<(), WriteError> {
        self.change(&[Change::Remove(name)]).await
    }

    /// One rename for all of them.
    async fn change(&self, changes: &[Change<'_>]) -> Result<(), WriteError> {
        let mut texts: Vec<(Name, Option<Zeroizing<String>>)> = Vec::with_capacity(changes.len());
        for change in changes {
            texts.push(match *change {
                Change::Set(name, value) => {
                    let place = self.place();
                    let unfit = |cause| WriteError::Unfit { name: name.clone(), place, cause };
                    let value = Zeroizing::new(value.text().map_err(unfit)?.to_owned());
                    (name.clone(), Some(value))
                }
                Change::Remove(name) => (name.clone(), None),
            });
        }
        self.edit(move |text| {
            let mut edited = Zeroizing::new(text.to_owned());
            for (name, value) in &texts {
                edited = match value {
                    Some(value) => parse::set(&edited, name.as_str(), value)?,
                    None => parse::unset(&edited, name.as_str())?,
                };
            }
            Ok(edited)
        })
        .await
    }
}

impl Dotenv {
    /// Changes the text of the file, alone among all who change it this way.
    async fn edit(
        &self,
        edit: impl FnOnce(&str) -> Result<Zeroizing<String>, parse::ParseError> + Send + 'static,
    ) -> Result<(), WriteError> {
        let place = self.place();
        let failed = |cause| WriteError::Failed { place: place.clone(), cause };
        let (directory, _) = write::parent(&self.file.0).map_err(|error| failed(error.into()))?;
        let mut tries = 0;
        while rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
            tries += 1;
            if tries == LOCK_TRIES {
                return Err(failed("another process is writing it; try again".into()));
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        let file = self.file.clone();
        let work = move || {
            let result = file.replace(edit);
            // The lock ends with the handle.
            drop(directory);
            result
        };
        match write::off_thread(&place, work).await {
            Ok(Err(error)) => Err(WriteError::Failed { place, cause: error.into() }),
            Ok(Ok(written)) => write::finished(place, Ok(written)),
            Err(error) => write::finished(place, Err(error)),
        }
    }
}

/// The file as it was read: its text, and what it is.
struct Text {
    text: Zeroizing<String>,
    stat: Stat,
}

impl EnvFile {
    fn answers(&self, names: &[Name]) -> Result<Vec<Answer>, SourceError> {
        let Some(read) = self.read()? else {
            return Ok(names.iter().map(|_| Answer::Missing).collect());
        };
        let entries = parse::parse(&read.text).map_err(|error| self.refused(error.to_string()))?;
        let id = FileId::of(&read.stat);
        let answer = |name: &Name| {
            let Some(entry) = entries.iter().find(|entry| entry.name == name.as_str()) else {
                return Answer::Missing;
            };
            match Secret::new(entry.value.as_bytes().to_vec()) {
                Ok(current) => Answer::Found(Versions {
                    current,
                    previous: None,
                    id: id.version(),
                    changed_at: id.modified_at(),
                }),
                Err(reason) => Answer::Rejected(reason),
            }
        };
        Ok(names.iter().map(answer).collect())
    }

    /// The whole file, from one read; `None` where there is none.
    fn read(&self) -> Result<Option<Text>, SourceError> {
        for _ in 0..TRIES {
            let opened = match files::open(CWD, &self.0, Links::Refuse) {
                Ok(opened) => opened,
                Err(FileError::Missing) => return Ok(None),
                Err(error) => return Err(self.unreadable(error)),
            };
            let stat = *opened.stat();
            self.check(&stat)?;
            let bytes = opened.bytes(FILE_BYTES_MAX).map_err(|error| self.unreadable(error))?;
            let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            if length != stat.st_size || self.identity() != [Mark::File(FileId::of(&stat))] {
                // Written while it was read, so that it may be half of one version and half of
                // another.
                continue;
            }
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| self.refused("it is not UTF-8 text".into()))?;
            return Ok(Some(Text { text: Zeroizing::new(text.to_owned()), stat }));
        }
        let cause = "it is being written all the time".into();
        Err(SourceError::Unreachable { place: self.place(), cause })
    }

    /// Only its owner may read it, and the owner is this user or root.
    fn check(&self, stat: &Stat) -> Result<(), SourceError> {
        let mode = Mode::from_raw_mode(stat.st_mode);
        let path = self.0.display();
        if mode != Mode::RUSR | Mode::WUSR && mode != Mode::RUSR {
            return Err(self.refused(format!(
                "its mode is {:04o}, which must be 0600 or 0400; run `chmod 600 {path}`",
                mode.as_raw_mode()
            )));
        }
        let (owner, this) = (Uid::from_raw(stat.st_uid), rustix::process::geteuid());
        if owner != this && !owner.is_root() {
            let (owner, this) = (owner.as_raw(), this.as_raw());
            // Root alone comes this far with another's file, and mostly from the command line: to
            // give the file to root would then take it from the daemon that reads it.
            return Err(self.refused(format!(
                "it belongs to user {owner}, and this is user {this}; run this as that user, as with `sudo -u '#{owner}'`, or, if user {this} is to read it from now on, run `chown {this} {path}`"
            )));
        }
        Ok(())
    }

    fn replace(
        &self,
        edit: impl FnOnce(&str) -> Result<Zeroizing<String>, parse::ParseError>,
    ) -> Result<io::Result<()>, SourceError> {
        let read = self.read()?;
        let text = read.as_ref().map_or("", |read| read.text.as_str());
        let edited = edit(text).map_err(|error| self.refused(error.to_string()))?;
        if *edited == text {
            return Ok(Ok(()));
        }
        Ok(write::replace(&self.0, edited.as_bytes()))
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn refused(&self, reason: String) -> SourceError {
        SourceError::Refused { place: self.place(), reason }
    }

    fn unreadable(&self, error: FileError) -> SourceError {
        let place = self.place();
        match error {
            FileError::Missing => SourceError::Unreachable { place, cause: "it is gone".into() },
            FileError::Malformed(reason) => self.refused(reason.to_string()),
            FileError::Io(cause) => SourceError::Unreachable { place, cause: cause.into() },
        }
    }
}

impl Place for EnvFile {
    fn directories(&self) -> Vec<PathBuf> {
        let parent = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        vec![parent.unwrap_or(Path::new(".")).to_owned()]
    }

    fn identity(&self) -> Identity {
        vec![match rustix::fs::statat(CWD, &self.0, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Mark::File(FileId::of(&stat)),
            Err(_) => Mark::Absent,
        }]
    }
}
