//! The files that agents send, in the data directory: each is whole and on the disk before a row tells of it.
//!
//! What no row tells of, because routd ended in between or nobody wanted it any more, is removed.

use crate::ids;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use kit::StartError;
use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long whoever brings a file may say nothing.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;
/// How old a file is that no row tells of before it is removed: a call that is under way writes its row sooner.
const ORPHAN: Duration = Duration::from_secs(60 * 60);
/// What names of files that are not whole begin with.
const NEW: &str = ".new-";

/// Where the files are.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

/// A file that is whole and on the disk, and goes again unless somebody keeps it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) size: u64,
    /// In lower-case hexadecimal digits.
    pub(crate) sha256: String,
    path: Option<PathBuf>,
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStored {
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("it broke off in the middle")]
    BrokeOff,
    #[error("it cannot be written")]
    Disk(#[from] io::Error),
}

impl Stored {
    /// Its row is written.
    pub(crate) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "a file that nobody wants stays for now");
        }
    }
}

impl Files {
    /// Prepares the directory below `data_dir`. What was being written when a routd before this one ended is removed.
    pub(crate) fn prepare(data_dir: &Path) -> Result<Self, StartError> {
        let directory = data_dir.join("files");
        let cannot = |source| StartError::CannotCreate { path: directory.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(cannot)?;
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).map_err(cannot)?;
        let files = Self { directory };
        files.remove_where(|name, _| name.starts_with(NEW));
        Ok(files)
    }

    /// Writes what comes, at most so many bytes, and answers when it is on the disk.
    pub(crate) async fn receive<E>(
        &self,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most: u64,
    ) -> Result<Stored, NotStored> {
        let id = ids::fresh("f");
        let new = self.directory.join(format!("{NEW}{id}"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&new).await?;
        // From here on it goes by itself where something fails.
        let mut stored = Stored { id, size: 0, sha256: String::new(), path: Some(new.clone()) };
        let mut hash = Context::new(&SHA256);
        loop {
            let piece = match timeout(PIECE_TIME, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Err(NotStored::BrokeOff),
            };
            stored.size += piece.len() as u64;
            if stored.size > most {
                return Err(NotStored::TooLarge(most));
            }
            hash.update(&piece);
            file.write_all(&piece).await?;
        }
        file.sync_all().await?;
        let path = self.directory.join(&stored.id);
        tokio::fs::rename(&new, &path).await?;
        stored.path = Some(path);
        File::open(&self.directory).await?.sync_all().await?;
        stored.sha256 = hex::encode(hash.finish());
        Ok(stored)
    }

    /// The bytes of a file, piece by piece.
    pub(crate) async fn read(
        &self,
        id: &str,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
        let file = File::open(self.directory.join(id)).await?;
        Ok(stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).await?;
            piece.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(piece), file)))
        }))
    }

    /// Removes files that no row tells of, but none that may get its row yet.
    pub(crate) fn sweep(&self, kept: &HashSet<String>) {
        self.remove_where(|name, age| !kept.contains(name) && age > ORPHAN);
    }

    fn remove_where(&self, goes: impl Fn(&str, Duration) -> bool) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // By the disk's own clock, which wrote the other time too.
            if goes(&name, age(&entry))
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "a file that is over stays");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the times of files are the machine's")]
fn age(entry: &fs::DirEntry) -> Duration {
    let written = entry.metadata().and_then(|found| found.modified()).ok();
    let age = written.and_then(|written| SystemTime::now().duration_since(written).ok());
    age.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, io::Error>> + Unpin {
        let all: Vec<_> = sizes.iter().map(|size| Ok(Bytes::from(vec![7; *size]))).collect();
        stream::iter(all)
    }

    fn names(place: &Path) -> Vec<String> {
        let entries = fs::read_dir(place.join("files")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[tokio::test]
    async fn a_file_is_there_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let files = Files::prepare(place.path()).unwrap();
        let stored = files.receive(pieces(&[3, 0, 4]), 7).await.unwrap();
        assert_eq!((stored.size, names(place.path())), (7, vec![stored.id.clone()]));
        assert_eq!(stored.sha256, hex::encode(aws_lc_rs::digest::digest(&SHA256, &[7; 7])));
        let read: Vec<_> = files.read(&stored.id).await.unwrap().collect().await;
        let read: Vec<u8> = read.into_iter().flat_map(|piece| piece.unwrap()).collect();
        assert_eq!(read, [7; 7]);
        let too_large = files.receive(pieces(&[4, 4]), 7).await;
        assert!(matches!(too_large, Err(NotStored::TooLarge(7))), "{too_large:?}");
        let broken = stream::iter([Ok(Bytes::from("x")), Err(())]);
        assert!(matches!(files.receive(broken, 7).await, Err(NotStored::BrokeOff)));
        assert_eq!(names(place.path()).len(), 1, "nothing is left of what was not whole");
        let id = stored.id.clone();
        stored.keep();
        fs::write(place.path().join("files/.new-x"), "x").unwrap();
        let again = Files::prepare(place.path()).unwrap();
        again.sweep(&HashSet::new());
        assert_eq!(names(place.path()), [id], "what is new may get its row yet");
        drop(again.receive(pieces(&[1]), 7).await.unwrap());
        assert_eq!(names(place.path()).len(), 1, "what nobody kept is gone");
    }
}
