//! The arguments of `arizuko doctor`.

use clap::Args;
use std::time::Duration;

/// What to look at.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Look only; send no message to an agent
    #[arg(long)]
    pub no_turn: bool,
    /// How long the probe's agent may take
    #[arg(long, default_value = "60s", value_parser = super::duration)]
    pub timeout: Duration,
}
