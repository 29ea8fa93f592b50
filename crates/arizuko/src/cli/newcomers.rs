//! The command line of letting people in.

use clap::Subcommand;
use proto::{Opaque, onbod::AdmissionState};
use std::time::Duration;

/// What to do with invites.
#[derive(Debug, Subcommand)]
pub enum Invite {
    /// Make an invite; it is shown once
    Create {
        /// Where the folders of those who come lie, such as team/{person} [default: ONBOARDING_FOLDER]
        #[arg(long, value_name = "FOLDER/{person}")]
        folder_template: Option<String>,
        /// How many may come by it
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
        /// For how long
        #[arg(long, default_value = "7d", value_parser = super::duration)]
        expires: Duration,
    },
    /// The invites, without their tokens
    List,
    /// End an invite; who came by it stays
    Revoke {
        /// Its id
        id: Opaque,
    },
}

/// What to do with newcomers.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// Who waits, oldest first
    List {
        /// Everybody who wrote and was not passed over, whatever became of them
        #[arg(long)]
        all: bool,
        /// Only those in this state: greeted, waiting, admitting, admitted or refused
        #[arg(long, conflicts_with = "all")]
        state: Option<AdmissionState>,
    },
    /// Let somebody in: at once where they have logged in, else as soon as they have
    Approve {
        /// Its id
        id: Opaque,
        /// A line for them
        #[arg(long)]
        note: Option<String>,
    },
    /// Refuse somebody, for good
    Refuse {
        /// Its id
        id: Opaque,
        /// A line for them
        #[arg(long)]
        note: Option<String>,
    },
}

/// What to do with gates.
#[derive(Debug, Subcommand)]
pub enum Gate {
    /// Let so many people in each day (UTC); again: change how many
    Set {
        /// '*' for everybody, or one person's id such as 'user:p0123456789abcdef01234567'
        pattern: String,
        /// How many a day
        #[arg(long, value_name = "N")]
        per_day: u32,
    },
    /// The gates, and how many came in by each today
    List,
    /// Close a gate
    Rm {
        /// Its pattern
        pattern: String,
    },
}
