//! What a run came to, for people and for programs.

use super::{
    args::Size,
    audit::Problem,
    inject::Injector,
    ledger::{Row, Verdict, Verdicts},
    rotations::Rotated,
    stage::Stage,
};
use crate::output::table;
use proto::Daemon;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// What ran the agents.
const BACKENDS: [&str; 2] =
    ["process; Docker was not verified by this run", "docker: each in a container of its own"];
/// How the disk was full.
const DISKS: [&str; 2] = [
    "full for everybody: the data directory is a file system of its own (tmpfs) that was left no byte (ENOSPC)",
    "full for one process at a time, by a limit (RLIMIT_FSIZE, EFBIG): there are no mounts of one's own here",
];
/// How the clock was set.
const CLOCKS: [&str; 2] = [
    "set back and forward by hours, for all daemons and not for agents (libfaketime)",
    "not injected (libfaketime is not installed)",
];

/// What a run came to.
#[derive(Serialize)]
pub struct Report {
    seed: u64,
    seconds: f64,
    /// How often each kind of fault was injected.
    faults: BTreeMap<String, u32>,
    /// Lies that met a request of routd's.
    lies_told: u32,
    ledger: Ledger,
    /// Milliseconds from SIGKILL to ready, by daemon.
    ready_ms: BTreeMap<Daemon, Times>,
    /// Each message in doubt, and the fault that explains it.
    ambiguous: Vec<Row>,
    /// Each message that is not as it may be, with its trace.
    problems: Vec<Problem>,
    /// Messages that the suite would not take.
    refused: Vec<String>,
    /// Daemons that ended by themselves.
    deaths: Vec<String>,
    /// What came of the rotations, where secrets rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotations: Option<Rotated>,
    /// What ran the agents.
    backend: &'static str,
    /// How the disk was full.
    disk: &'static str,
    /// How the clock was set.
    clock: &'static str,
    directory: String,
}

/// The ledger. Every message that was sent is in exactly one of the others.
#[derive(Clone, Serialize)]
struct Ledger {
    sent: usize,
    answered: usize,
    silent: usize,
    interrupted: usize,
    failed: usize,
    ambiguous: usize,
    out_of_order: usize,
    doubled: usize,
    lost: usize,
    /// Requests beyond the first of each message; they count for nothing.
    repeats: u64,
}

/// How long something took.
#[derive(Clone, Serialize)]
struct Times {
    restarts: usize,
    p50: u64,
    p99: u64,
    max: u64,
}

impl Report {
    /// Puts it together.
    pub fn new(
        size: &Size,
        stage: &Stage,
        injector: &Injector,
        verdicts: Verdicts,
        problems: Vec<Problem>,
        took: Duration,
    ) -> Self {
        let record = stage.load.record();
        let ledger = Ledger {
            sent: record.sent.len(),
            answered: verdicts.count(Verdict::Answered),
            silent: verdicts.count(Verdict::Silent),
            interrupted: verdicts.count(Verdict::Interrupted),
            failed: verdicts.count(Verdict::Failed),
            ambiguous: verdicts.count(Verdict::Ambiguous),
            out_of_order: verdicts.count(Verdict::OutOfOrder),
            doubled: verdicts.count(Verdict::Doubled),
            lost: verdicts.count(Verdict::Lost),
            repeats: record.repeats,
        };
        let times = injector.ready_times().iter().map(|(daemon, took)| (*daemon, times(took)));
        let doubt = |row: &Row| row.verdict == Verdict::Ambiguous;
        Self {
            seed: size.seed,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            faults: injector.counts().clone(),
            lies_told: stage.platform.told(),
            ledger,
            ready_ms: times.collect(),
            ambiguous: verdicts.rows.into_iter().filter(doubt).collect(),
            problems,
            refused: record.refused.clone(),
            deaths: injector.deaths().to_vec(),
            rotations: None,
            backend: BACKENDS[usize::from(stage.fleet.is_contained())],
            disk: DISKS[usize::from(stage.disk.is_none())],
            clock: CLOCKS[usize::from(!stage.has_clock)],
            directory: stage.fleet.dir().display().to_string(),
        }
    }

    /// The same, with what came of rotations.
    pub fn with_rotations(self, rotations: Option<Rotated>) -> Self {
        Self { rotations, ..self }
    }

    /// Whether the ledger closes, and every rotation passed unnoticed.
    pub fn is_clean(&self) -> bool {
        let unnoticed = self.rotations.as_ref().is_none_or(Rotated::is_clean);
        unnoticed && self.problems.is_empty() && self.refused.is_empty() && self.deaths.is_empty()
    }

    /// What is wrong, in a few words.
    pub fn faulty(&self) -> String {
        let Ledger { lost, doubled, out_of_order, .. } = self.ledger;
        let doubt = self.ambiguous.iter().filter(|row| !row.explained).count();
        let mut said = format!(
            "{lost} lost, {doubled} doubled, {out_of_order} out of order, {doubt} in doubt without a reason, {} refused, {} daemons ended by themselves",
            self.refused.len(),
            self.deaths.len()
        );
        if let Some(rotations) = &self.rotations {
            said.push_str("; ");
            said.push_str(&rotations.faulty());
        }
        said
    }
}

fn times(took: &[Duration]) -> Times {
    let mut took: Vec<u64> =
        took.iter().map(|one| u64::try_from(one.as_millis()).unwrap_or(u64::MAX)).collect();
    took.sort_unstable();
    Times {
        restarts: took.len(),
        p50: nearest_rank(&took, 50),
        p99: nearest_rank(&took, 99),
        max: nearest_rank(&took, 100),
    }
}

/// A percentile by nearest rank, of times in order: one that was really measured.
pub fn nearest_rank(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The report as tables.
pub fn text(report: &Report) -> String {
    let faults: Vec<Vec<String>> =
        report.faults.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect();
    let ready: Vec<Vec<String>> = report
        .ready_ms
        .iter()
        .map(|(daemon, times)| {
            let Times { restarts, p50, p99, max } = times;
            let numbers = [*restarts as u64, *p50, *p99, *max];
            std::iter::once(daemon.to_string()).chain(numbers.map(|n| n.to_string())).collect()
        })
        .collect();
    let ledger = &report.ledger;
    let counts = [
        ("sent", ledger.sent),
        ("answered", ledger.answered),
        ("silent", ledger.silent),
        ("interrupted", ledger.interrupted),
        ("failed", ledger.failed),
        ("ambiguous", ledger.ambiguous),
        ("out of order", ledger.out_of_order),
        ("doubled", ledger.doubled),
        ("lost", ledger.lost),
    ];
    let counts: Vec<Vec<String>> =
        counts.into_iter().map(|(name, count)| vec![name.into(), count.to_string()]).collect();
    let mut text = format!(
        "seed {}, {} seconds\n\n{}\n\n{}\n({} requests were repeats)\n\n{}\n",
        report.seed,
        report.seconds,
        table(&["FAULT", "TIMES"], &faults),
        table(&["MESSAGES", "NUMBER"], &counts),
        ledger.repeats,
        table(&["KILLED", "TIMES", "READY p50 ms", "p99 ms", "max ms"], &ready),
    );
    let mut line = |line: String| {
        text.push('\n');
        text.push_str(&line);
    };
    report.rotations.iter().for_each(|rotated| line(rotated.text()));
    for row in &report.ambiguous {
        line(format!("in doubt: {} in {}: {}", row.id, row.chat, row.why));
    }
    report.refused.iter().for_each(|why| line(format!("refused: {why}")));
    report.deaths.iter().for_each(|why| line(why.clone()));
    for Problem { row, trace } in &report.problems {
        line(format!("{:?}: {} in {}: {}", row.verdict, row.id, row.chat, row.why));
        for step in trace.iter().flat_map(|trace| &trace.steps) {
            line(format!("    {} {} {}", step.at, step.what, step.detail));
        }
    }
    line(format!("agents: {}", report.backend));
    line(format!("disk: {}", report.disk));
    line(format!("clock: {}", report.clock));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let milliseconds = |all: &[u64]| -> Vec<Duration> {
            all.iter().map(|one| Duration::from_millis(*one)).collect()
        };
        let of = |all: &[u64]| {
            let Times { restarts, p50, p99, .. } = times(&milliseconds(all));
            (restarts, p50, p99)
        };
        assert_eq!(of(&[30, 10, 20]), (3, 20, 30));
        assert_eq!(of(&[7]), (1, 7, 7));
        assert_eq!(of(&[]), (0, 0, 0));
        assert_eq!(of(&(1..=200).collect::<Vec<_>>()), (200, 100, 198));
    }
}
