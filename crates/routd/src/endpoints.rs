//! The sockets of turns in progress: one for each attempt, in a directory that is that attempt's alone. The same is
//! served to the attempt's pod on the listener of turns (`pods`), where agents are in a cluster.
//!
//! The socket is the identity of whoever calls on it, so a number is never used again: an agent that outlives its
//! attempt finds nobody, and not somebody else's turn.

use crate::{app::App, http, store::turns::Turn};
use kit::{Attached, SOCKET_PATH_MAX, Span, StartError};
use proto::turn::SOCKET;
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Room for a number of this many digits is asked for at start.
const DIGITS: usize = 10;

/// The open sockets, by number.
#[derive(Debug)]
pub(crate) struct Endpoints {
    directory: PathBuf,
    open: Mutex<HashMap<i64, Open>>,
}

/// What an attempt is served, and until when.
#[derive(Clone, Debug)]
struct Open {
    turn_id: String,
    attempt: u32,
    served: Attached,
}

impl Endpoints {
    /// Prepares the directory of sockets below `data_dir`, and refuses one whose paths would be too long.
    pub(crate) fn prepare(data_dir: &Path) -> Result<Self, StartError> {
        let directory = data_dir.join("run").join("t");
        let cannot = |source| StartError::CannotCreate { path: directory.clone(), source };
        fs::create_dir_all(data_dir).map_err(cannot)?;
        let absolute = fs::canonicalize(data_dir).map_err(cannot)?.join("run").join("t");
        let longest = absolute.as_os_str().len() + 1 + DIGITS + 1 + SOCKET.len();
        if longest > SOCKET_PATH_MAX {
            return Err(StartError::Config {
                what: format!(
                    "the data directory's path is too long: the sockets below {} would have paths of {longest} \
                     bytes, and a Unix socket's has at most {SOCKET_PATH_MAX}",
                    absolute.display()
                ),
                hint: "choose a shorter --data-dir".into(),
            });
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&absolute).map_err(cannot)?;
        fs::set_permissions(&absolute, PermissionsExt::from_mode(0o700)).map_err(cannot)?;
        Ok(Self { directory: absolute, open: Mutex::default() })
    }

    /// The directory that holds this socket and nothing else.
    pub(crate) fn directory(&self, number: i64) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// Sees to it that the socket of this turn's attempt is bound and served. Binding is done when this returns.
    pub(crate) fn ensure(
        &self,
        app: &Arc<App>,
        turn: &Turn,
        span: &Span,
    ) -> Result<(), StartError> {
        let Some(number) = turn.endpoint else { return Ok(()) };
        let mut open = self.open();
        if open.contains_key(&number) {
            return Ok(());
        }
        let directory = self.directory(number);
        let cannot = |source| StartError::CannotCreate { path: directory.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(cannot)?;
        let socket = kit::bind_unix(&directory.join(SOCKET))?;
        follow_owner(&directory).map_err(cannot)?;
        let closed = app.context.stop.child_token();
        let router = http::turn::router(app, turn, span, closed.clone());
        let stop = app.context.stop.clone();
        let served = Attached { router: router.clone(), closed: closed.clone() };
        let (turn_id, attempt) = (turn.id.clone(), turn.standing.attempt);
        open.insert(number, Open { turn_id, attempt, served });
        app.context.tasks.spawn("turn socket", async move {
            socket.serve(router, closed).await;
            if !stop.is_cancelled() {
                // The attempt is over. A directory that cannot be removed is swept at the next start.
                let _swept_later = fs::remove_dir_all(&directory).is_err();
            }
        });
        Ok(())
    }

    /// Ends a socket. What is in flight on it is answered first.
    pub(crate) fn close(&self, number: i64) {
        if let Some(open) = self.open().remove(&number) {
            open.served.closed.cancel();
        }
    }

    /// What this attempt is served, while it is.
    pub(crate) fn of_attempt(&self, turn_id: &str, attempt: u32) -> Option<Attached> {
        let open = self.open();
        let found = open.values().find(|open| open.turn_id == turn_id && open.attempt == attempt);
        found.map(|open| open.served.clone())
    }

    /// Removes the directories of attempts that are over, which a routd that was killed left behind.
    pub(crate) fn sweep(&self, kept: &HashSet<i64>) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok());
            if number.is_some_and(|number| !kept.contains(&number))
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "a socket's directory stays");
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<i64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a socket to whoever has its directory. An agent in a container is a user of its own, to whom runed gave the
/// directory; a socket that is bound anew while it runs must be its own too.
fn follow_owner(directory: &Path) -> io::Result<()> {
    let (wanted, socket) = (fs::metadata(directory)?, directory.join(SOCKET));
    let found = fs::symlink_metadata(&socket)?;
    match found.uid() == wanted.uid() {
        true => Ok(()),
        false => chown(&socket, Some(wanted.uid()), Some(wanted.gid())),
    }
}
