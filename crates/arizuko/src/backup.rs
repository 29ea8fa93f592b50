//! What a backup is: a directory that holds an instance as it was at one moment, and says so.
//!
//! ```text
//! manifest.json          what is here, with the checksum of each file; which SECRETS_KEY opens it
//! manifest.json.sha256   the manifest's own checksum, as `sha256sum -c` reads it
//! store/*.db             every database, all as of the same moment
//! homes/…  files/…       as they were a moment later
//! settings.env           and, where that was asked for, .env
//! ```

pub mod manifest;
pub mod tree;

use crate::failure::{Exit, Failure};
use db::{OpenError, Schema};
use secrets::seal::Wrap;
use std::path::Path;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// The name of the file that holds the manifest's checksum.
pub const MANIFEST_SUM: &str = "manifest.json.sha256";
/// The directory of databases, in an instance and in a backup.
pub const STORE: &str = "store";
/// The directories that are copied as they are.
pub const TREES: [&str; 2] = ["homes", "files"];

/// Reads the wrapped keys of a database file.
type Wraps = fn(&Path) -> Result<Vec<Wrap>, OpenError>;

/// A database of an instance.
#[derive(Debug)]
pub struct Kept {
    /// The file below `store/`.
    pub file: &'static str,
    /// What it must look like.
    pub schema: Schema,
    /// Where something in it is sealed: reads its wrapped key.
    pub wraps: Option<Wraps>,
}

/// Every database that a daemon of this program owns.
pub static DATABASES: [Kept; 6] = [
    Kept { file: "authd.db", schema: authd::SCHEMA, wraps: Some(authd::wraps) },
    Kept { file: "routd.db", schema: routd::SCHEMA, wraps: Some(routd::wraps) },
    Kept { file: "runed.db", schema: runed::SCHEMA, wraps: None },
    Kept { file: "onbod.db", schema: onbod::SCHEMA, wraps: None },
    Kept { file: "teled.db", schema: teled::SCHEMA, wraps: None },
    Kept { file: "slakd.db", schema: slakd::SCHEMA, wraps: None },
];

/// The database in the file of this name, if a daemon of this program owns it.
pub fn database(file: &str) -> Option<&'static Kept> {
    DATABASES.iter().find(|kept| kept.file == file)
}

/// A database that does not do, as a command says it.
pub fn unfit(error: &OpenError) -> Failure {
    Failure { code: error.exit_code(), line: kit::chain(error) }
}

/// What is damaged, in a backup.
pub fn damaged(what: impl std::fmt::Display) -> Failure {
    let line = format!("{what}; this backup is damaged: use another");
    Failure::new(Exit::Data, line)
}
