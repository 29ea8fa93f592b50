//! The contracts between the daemons: ids, wire types, and the list of endpoints.
//!
//! Data only. Nothing here opens a socket, reads a file or the clock, or knows in which daemon it
//! runs. An [`Endpoint`] is one value, used by the server that mounts it, the client that calls it,
//! the OpenAPI document and the test that tries it without rights, so that they cannot drift.
//!
//! Invariants:
//! - ids and names are parsed once, at the boundary, and have no other way in;
//! - a type that a person fills in refuses unknown fields; one that a daemon reads tolerates them;
//! - no type of this crate can hold a secret. The exceptions are the capability links and bearer
//!   tokens that an endpoint exists to hand out; they print as `(..)`.

pub mod authd;
mod daemon;
mod endpoint;
mod id;
mod jid;
pub mod kit;
pub mod onbod;
mod problem;
pub mod routd;
pub mod runed;
mod time;
pub mod turn;

pub use self::time::Timestamp;
pub use daemon::{Daemon, UnknownDaemon};
pub use endpoint::{Endpoint, Method, Needs, Nothing, Route, fill_path};
pub use id::{Folder, IdError, Opaque, Topic};
pub use jid::{Address, Jid, JidError};
pub use problem::{Code, Problem};
