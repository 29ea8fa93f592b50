//! The words of `arizuko keys`.

use clap::Subcommand;

/// What to do with the keys that sign tokens.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Keys {
    /// The keys that sign tokens, and where each is in its life
    List,
    /// Publish the next key now; it signs five minutes later, and no token ends
    Rotate,
}
