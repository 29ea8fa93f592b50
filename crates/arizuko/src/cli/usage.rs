//! The command line of what models cost.

use super::{Since, since};
use clap::{Args, Subcommand};
use proto::{Folder, routd::UsageBy};

/// Which usage of models.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Usage {
    /// Only of this folder and those below it
    #[arg(long)]
    pub folder: Option<Folder>,
    /// Sum it up by day, folder, person or model [default: by each of them]
    #[arg(long, value_name = "WHAT")]
    pub by: Option<UsageBy>,
    /// Only of requests since: a time (RFC 3339), or how long ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Something else than showing it
    #[command(subcommand)]
    pub command: Option<UsageCommand>,
}

/// What to do about usage.
#[derive(Clone, Debug, Subcommand)]
pub enum UsageCommand {
    /// Set what a folder and those below it may spend together, or a person, or the whole instance; limits that are
    /// left out are none
    Cap {
        #[command(flatten)]
        of: CapArgs,
        /// Dollars a day (UTC)
        #[arg(long, value_name = "USD", value_parser = dollars)]
        daily: Option<u64>,
        /// Dollars a month (UTC)
        #[arg(long, value_name = "USD", value_parser = dollars)]
        monthly: Option<u64>,
        /// Tokens a day, of every kind
        #[arg(long, value_name = "N")]
        daily_tokens: Option<u64>,
        /// Tokens a month, of every kind
        #[arg(long, value_name = "N")]
        monthly_tokens: Option<u64>,
        /// No cap any more
        #[arg(long, conflicts_with_all = ["daily", "monthly", "daily_tokens", "monthly_tokens"])]
        none: bool,
    },
    /// The caps, and what stands against them
    Caps,
}

/// Dollars as millionths of one.
fn dollars(text: &str) -> Result<u64, String> {
    let wrong = || "write dollars such as 5 or 0.50".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let micro = format!("{whole}{part:0<6}").parse::<u64>().map_err(|_| wrong())?;
    // A billion dollars: beyond that it is a typing error.
    if micro <= 1_000_000_000_000_000 { Ok(micro) } else { Err(wrong()) }
}

/// Whose cap. A folder's stands by itself; the others have a flag.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct CapArgs {
    /// The folder
    pub folder: Option<Folder>,
    /// A person, by the address they write from, such as telegram:user/42: all that they alone asked for, in any folder
    #[arg(long, value_name = "ADDRESS")]
    pub person: Option<String>,
    /// The whole instance
    #[arg(long)]
    pub all: bool,
}
