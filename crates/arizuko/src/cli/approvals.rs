//! The command line of calls that wait for a person.

use clap::Subcommand;
use proto::{Folder, Opaque, routd::ApprovalState};

/// What to do with calls that are held.
#[derive(Debug, Subcommand)]
pub enum Approval {
    /// The calls that wait, newest first
    List {
        /// Those of this folder alone
        #[arg(long)]
        folder: Option<Folder>,
        /// Those in this state: pending, approved, running, done, failed, denied, expired or interrupted
        #[arg(long, default_value = "pending")]
        state: ApprovalState,
        /// Whatever became of them
        #[arg(long, conflicts_with = "state")]
        all: bool,
    },
    /// One call, with all its arguments and what came of it
    Show {
        /// Its id
        id: Opaque,
    },
    /// Have a call made, once, with exactly its arguments
    Approve {
        /// Its id
        id: Opaque,
        /// Why, for the agent
        #[arg(long)]
        reason: Option<String>,
    },
    /// Have a call never made
    Deny {
        /// Its id
        id: Opaque,
        /// Why, for the agent
        #[arg(long)]
        reason: Option<String>,
    },
}
