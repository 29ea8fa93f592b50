//! Secrets from files of this machine.
//!
//! - [`Directory`]: one file a secret, named as it is: a mounted Kubernetes Secret, Docker's
//!   `/run/secrets`, systemd's credentials, or a directory that an agent writes.
//! - [`Dotenv`]: all secrets in one `.env` file of a bare host, which `arizuko` itself may write.
//! - [`PathValues`]: around another source, for names whose value may be the path of a file.
//!
//! # How a version is read whole
//!
//! The kubelet never changes a mounted file. It writes a new directory, makes `..data` point at it
//! in one rename, and removes the old one. So a read opens the directory that `..data` points at
//! once, and takes all names from that one handle: they are all of one version, whatever happens
//! meanwhile. Where the old directory was removed during the read, the read begins anew.
//!
//! # How a change is noticed
//!
//! By inotify on the directory (never on a file: the file that is watched is gone with the first
//! change), and by a look of our own every second, which also finds what inotify cannot: network
//! mounts, an exhausted limit of watches, a directory that did not exist. Both compare the identity
//! of what was read last with what is there now, and neither carries any data: a hint means "look
//! again".

mod directory;
mod dotenv;
mod mount;
mod path_values;
mod watch;
mod write;

pub use directory::Directory;
pub use dotenv::Dotenv;
pub use path_values::PathValues;
pub use watch::{POLL, Watching};
