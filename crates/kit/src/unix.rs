//! Serving on a private Unix socket.

use crate::{
    StartError,
    connections::{self, Limits},
};
use axum::{Router, extract::ConnectInfo};
use std::{
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Bytes that the path of a Unix socket can have (`sun_path`, without its terminating zero).
pub const SOCKET_PATH_MAX: usize = 107;

/// Who is at the other end of a Unix socket, as the kernel says.
///
/// In a handler: `ConnectInfo(peer): ConnectInfo<PeerCred>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCred {
    /// The user id; `None` where the kernel did not say.
    pub uid: Option<u32>,
    /// The process id, where the kernel says.
    pub pid: Option<i32>,
}

impl PeerCred {
    fn of(stream: &UnixStream) -> Self {
        match stream.peer_cred() {
            Ok(cred) => Self { uid: Some(cred.uid()), pid: cred.pid() },
            Err(_) => Self { uid: None, pid: None },
        }
    }
}

/// Re-exported so that a handler's crate needs no more of axum than its router.
pub type PeerInfo = ConnectInfo<PeerCred>;

/// A Unix socket that is bound and not yet served. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    listener: Option<UnixListener>,
    path: RemoveOnDrop,
}

#[derive(Debug)]
struct RemoveOnDrop {
    path: PathBuf,
    /// Device and inode: what this made.
    id: (u64, u64),
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // Whoever started after this may have put a socket of its own there.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id) {
            // It may be gone already, with its directory.
            let _gone = std::fs::remove_file(&self.path).is_err();
        }
    }
}

fn id(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Binds a Unix socket at `path`, for its owner alone (mode 0600). A socket that a killed process
/// left there is removed first; anything else at the path is left alone and is an error.
///
/// # Errors
/// The path is too long for a socket, or cannot be bound.
pub fn bind_unix(path: &Path) -> Result<UnixSocket, StartError> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(StartError::Config {
            what: format!(
                "the socket path {} has {} bytes, and a Unix socket's has at most {SOCKET_PATH_MAX}",
                path.display(),
                path.as_os_str().len()
            ),
            hint: "choose a shorter --data-dir".into(),
        });
    }
    let failed = |source| StartError::CannotCreate { path: path.into(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Ok(_) => return Err(failed(io::Error::from(io::ErrorKind::AlreadyExists))),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(failed)?;
    let id = std::fs::symlink_metadata(path).map(|made| id(&made)).map_err(failed)?;
    let path = RemoveOnDrop { path: path.into(), id };
    Ok(UnixSocket { listener: Some(listener), path })
}

impl UnixSocket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path.path
    }

    /// Serves `router` until `stop`; then finishes what is in flight and removes the file.
    pub async fn serve(mut self, router: Router, stop: CancellationToken) {
        let Some(listener) = self.listener.take() else { return };
        let router = router.fallback(crate::api::no_such_path);
        let peer = |stream: &UnixStream, _| PeerCred::of(stream);
        connections::serve(listener, router, stop, Limits::SOCKET, peer).await;
    }
}

/// Binds `path` and serves `router` on it until `stop`. See [`bind_unix`].
///
/// # Errors
/// The path is too long for a socket, or cannot be bound.
pub fn serve_unix(
    path: &Path,
    router: Router,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static, StartError> {
    Ok(bind_unix(path)?.serve(router, stop))
}
