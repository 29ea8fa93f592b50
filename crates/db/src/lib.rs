//! SQLite, opened right: one owner, one writer, forward-only migrations.
//!
//! A [`Database`] is one file that one daemon owns. What it promises:
//!
//! - **An answer means it is on the disk.** [`Database::write`] returns `Ok` only after `COMMIT` returned under
//!   `synchronous=FULL`. When `COMMIT` fails, every job that shared it is told so, and none is acknowledged.
//! - **Writes share the cost of the disk.** One thread takes everything that waits into one transaction (group
//!   commit). Each job has a savepoint of its own, so a job that fails, or panics, is undone alone.
//! - **A job that was handed over runs**, also when its caller has gone away since. What must follow a commit (waking
//!   a loop) is therefore registered in the job, with [`Tx::after_commit`], and not done by the caller afterwards.
//! - **Readers never wait for the writer.** A small pool of read-only connections; every read is one snapshot, and
//!   sees all that was acknowledged before it began.
//! - **One owner.** A lock beside the file, which the kernel releases when a process dies, refuses a second one; an
//!   application id in the file refuses another daemon's database.
//! - **A schema moves forward only.** A newer one, or a migration whose text changed, is refused before anything is
//!   written.
//!
//! Deferred constraints are the one thing a job must not use: they fail at `COMMIT`, and then for the whole batch.

pub mod audit;
mod backup;
mod connect;
mod cut;
mod database;
pub mod epoch;
mod error;
mod lock;
mod migrate;
mod readers;
mod stats;
mod watcher;
mod writer;

pub use backup::BackupError;
pub use connect::{EXAMINED_WHOLE, Schema, examine, look};
pub use cut::{Cut, CutError};
pub use database::{Database, Health, Options, WeakDatabase};
pub use error::{Constraint, Error, OpenError};
pub use migrate::Migration;
pub use rusqlite;
pub use stats::Stats;
pub use watcher::Watcher;
pub use writer::Tx;
