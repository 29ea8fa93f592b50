//! What one instance carries, measured from outside: each figure beside the same-run ceiling, where it has one.
//!
//! `load [--program P] [--seconds N] [NAME…]` starts an instance of its own in a temporary directory, on loopback, and
//! prints one line for each figure: its name, a tab, the figure in words. The load generator takes its part of the same
//! processors. Without names everything is measured. `tests/bench/figures` writes the lines into the documentation.

#![expect(
    clippy::disallowed_methods,
    reason = "what it starts ends with it, and nobody waits for it to stop"
)]

mod ceiling;
mod client;
mod edge;
mod ingest;
mod instance;
mod routing;
mod small;
mod soak;
mod spread;
mod stream;
mod swap;
mod turns;

use clap::Parser;
use std::{path::PathBuf, time::Duration};

/// Whatever went wrong: a figure that cannot be taken is not a figure.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The command line.
#[derive(Debug, Parser)]
#[command(about = "Measure what one instance carries")]
struct Args {
    /// The program to measure.
    #[arg(long, default_value = "target/release/arizuko")]
    program: PathBuf,
    /// Where the instances are made: a directory on the disk to be measured.
    #[arg(long, default_value = "target")]
    on: PathBuf,
    /// How long each load lasts.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What to measure; everything where nothing is named.
    names: Vec<String>,
}

/// What a measurement needs to know.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Where instances are made.
    pub on: PathBuf,
    /// How long each load lasts.
    pub span: Duration,
}

/// The measurements by name. Each prints its own lines.
const NAMES: [&str; 11] = [
    "start",
    "handle",
    "swap",
    "ingest",
    "routing",
    "turns",
    "stream",
    "edge",
    "flood",
    "conversations",
    "soak",
];

async fn run(bench: &Bench, name: &str) -> Result<(), Failed> {
    match name {
        "start" => small::start(bench).await,
        "handle" => swap::handle(bench).await,
        "swap" => swap::swap(bench).await,
        "ingest" => ingest::ingest(bench).await,
        "routing" => routing::routing(bench).await,
        "turns" => turns::turns(bench).await,
        "stream" => stream::stream(bench).await,
        "edge" => edge::edge(bench).await,
        "flood" => routing::flood(bench).await,
        "conversations" => small::conversations(bench).await,
        "soak" => soak::soak(bench).await,
        _ => Err(format!("{name} is not measured; these are: {}", NAMES.join(" ")).into()),
    }
}

/// Prints one figure. Standard output is what the figures are read from.
#[expect(clippy::print_stdout, reason = "it is what this program is for")]
pub fn say(name: &str, figure: &str) {
    println!("{name}\t{figure}");
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let args = Args::parse();
    let bench = Bench {
        program: args.program.canonicalize()?,
        on: args.on.canonicalize()?,
        span: Duration::from_secs(args.seconds),
    };
    let all = NAMES.map(str::to_owned).to_vec();
    let names = if args.names.is_empty() { all } else { args.names };
    for name in &names {
        run(&bench, name).await.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}
