//! The arguments of `arizuko backup` and `arizuko restore`.

use clap::Args;
use std::path::PathBuf;

/// Where a backup goes.
#[derive(Args, Debug)]
pub struct Backup {
    /// A directory that is new or empty
    pub dest: PathBuf,
    /// Put the secrets of .env into it too: whoever reads it is the instance then
    #[arg(long)]
    pub with_secrets: bool,
}

/// Where a backup comes from.
#[derive(Args, Debug)]
pub struct Restore {
    /// The directory that `backup` made
    pub src: PathBuf,
    /// Only look whether it is whole and opens; write nothing
    #[arg(long)]
    pub check: bool,
}
