//! `arizuko chaos`: a real suite, many messages, random faults, and a ledger that must close.
//!
//! It starts every daemon as a process of its own in a directory and on a loopback address of their own, has
//! senders write through the edge and through a chat platform that lies, injures one process after the other, and
//! then asks from outside what became of every message that somebody was told is kept. What it found is decided by
//! [`ledger`], which is pure; everything else here only does and observes.

mod args;
mod audit;
mod clock;
mod containers;
mod disk;
mod faults;
mod fleet;
mod inject;
mod ledger;
mod load;
mod platform;
mod proof;
mod report;
mod rotations;
mod stage;
mod watch;
mod wire;

pub use args::Chaos;

use crate::{
    failure::{Exit, Failure},
    output::Output,
};
use inject::Injector;
use stage::Stage;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the senders may take for their share of the messages between two faults. A suite that is slower than
/// that meets its next fault with messages still to come.
const SHARE_MAX: Duration = Duration::from_secs(20);

/// Runs it.
///
/// # Errors
/// The suite cannot be started; or a message was lost, doubled, out of order, refused, or in doubt without a reason.
pub async fn run(args: &Chaos, output: Output) -> Result<(), Failure> {
    let size = args.size()?;
    let rotations =
        size.rotations.as_ref().map(|of| format!(", {} rotations of each secret", of.count));
    output.note(&format!(
        "chaos: {} messages, {} faults{}, seed {}",
        size.messages,
        size.faults,
        rotations.unwrap_or_default(),
        size.seed
    ));
    let mut stage = Stage::set(&size, args.told()).await?;
    output.note(&format!("the suite runs in {}", stage.fleet.dir().display()));
    let outcome = tokio::select! {
        outcome = perform(&mut stage, &size, output) => outcome,
        () = interrupted() => Err(Failure::new(Exit::TryAgain, "stopped before the end")),
    };
    let keep = !outcome.as_ref().is_ok_and(report::Report::is_clean);
    stage.end(keep).await?;
    let dir = stage.fleet.dir().display().to_string();
    let report = match outcome {
        Ok(report) => report,
        Err(failure) => {
            let line = format!("{}; the logs and databases are kept in {dir}", failure.line);
            return Err(Failure { code: failure.code, line });
        }
    };
    output.print(&report, report::text)?;
    if !report.is_clean() {
        let line = format!(
            "the ledger does not close ({}); the logs and databases are kept in {dir}, the seed was {}",
            report.faulty(),
            size.seed
        );
        return Err(Failure::new(Exit::Software, line));
    }
    stage.fleet.remove()
}

/// The run itself: load, faults, the wait for every end, the books.
async fn perform(
    stage: &mut Stage,
    size: &args::Size,
    output: Output,
) -> Result<report::Report, Failure> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let address = stage.fleet.address().to_owned();
    let served = stage.platform.serve(&address, &mut tasks).await;
    served.map_err(|error| {
        Failure::new(Exit::TryAgain, format!("no port for the platform: {error}"))
    })?;
    stage.begin(&mut tasks, size.seed);
    let mut rotated = None;
    let mut messages = size.messages;
    if let Some(prepared) = stage.take_prepared() {
        let environment = stage.fleet.environment().clone();
        let run = rotations::run(stage, prepared, &environment, messages, output).await?;
        rotated = Some(run);
        messages = 0;
    }
    let faults = faults::plan(size.seed, size.faults);
    let mut injector = Injector::new(stage.platform.clone(), size.seed);
    let (mut given, count) = (0, u64::from(size.faults) + 1);
    for (index, fault) in (0_u64..).zip(&faults) {
        // The messages are spread evenly over the faults; the last share comes after the last one.
        let share = u64::from(messages) * (index + 1) / count - given;
        given += share;
        stage.load.allow(share);
        injector.inject(&mut stage.fleet, stage.disk.as_ref(), fault).await?;
        stage.load.caught_up(SHARE_MAX).await;
        if (index + 1) % 100 == 0 {
            output.note(&format!("{} of {} faults", index + 1, size.faults));
        }
    }
    stage.load.allow(u64::from(messages) - given);
    stage.platform.be_honest();
    stage.fleet.set_clock(0);
    stage.load.finish().await;
    output.note("every message is sent; waiting for their ends");
    let audited = audit::audit(stage).await?;
    let books = audited.books(stage, injector.happened());
    let verdicts = ledger::close(&books);
    let problems = audit::traces(stage, &verdicts).await;
    if let Some(rotated) = &mut rotated {
        // Whoever was not served at once was served badly, as nothing was injured.
        let record = stage.load.record();
        rotated.add_failed(record.failed.iter().chain(&stage.platform.unheard()).cloned());
    }
    let report = report::Report::new(size, stage, &injector, verdicts, problems, began.elapsed());
    Ok(report.with_rotations(rotated))
}

async fn interrupted() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return std::future::pending().await };
    tokio::select! {
        // Where this signal cannot be heard, the other one can.
        heard = tokio::signal::ctrl_c() => if heard.is_err() { std::future::pending().await },
        _ = terminate.recv() => {}
    }
}
