//! What rotations came to, and whether that will do. Pure.

use super::units::SourceKind;
use crate::{chaos::report::nearest_rank, output::table};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Of each kind, the findings that are kept in words.
const KEPT: usize = 50;

/// What was counted of one unit.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Rotations that everybody took up.
    pub rotations: u32,
    /// Those of them that `arizuko secrets rotate` made.
    pub by_command: u32,
    /// Probes with a retired value within its overlap that were accepted.
    pub accepted_within: u32,
    /// Probes after its overlap that were refused.
    pub refused_after: u32,
    /// Probes after its overlap that were accepted.
    pub accepted_after: u32,
    /// From the write to its use everywhere.
    pub took: Vec<Duration>,
}

/// Everything that is counted while rotations go on.
#[derive(Debug, Default)]
pub struct Tally {
    /// By unit.
    pub units: BTreeMap<String, Count>,
    /// Requests that were refused or broke, and why.
    pub failed: Findings,
    /// Retired values that were accepted, and where.
    pub late: Findings,
    /// Rotations that a daemon did not take up, or took up twice.
    pub miscounted: Findings,
    /// Tokens that were minted with service keys.
    pub minted: u64,
    /// TLS handshakes that showed a pair that may be shown.
    pub handshakes: u64,
}

/// Things that must not happen: how many, and the first of them in words.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Vec<String>,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, what: String) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(what);
        }
    }
}

/// What a run's rotations came to.
#[derive(Debug, Serialize)]
pub struct Rotated {
    source: SourceKind,
    overlap_ms: u64,
    secrets: Vec<Row>,
    tokens_minted: u64,
    tls_handshakes: u64,
    /// Requests that failed: of senders, of adapters, for tokens, at the TLS listener, and probes within an overlap.
    failed_requests: Findings,
    /// Retired values that were accepted after their overlap.
    late_acceptances: Findings,
    /// Rotations that were not taken up once by each daemon.
    miscounted: Findings,
}

#[derive(Debug, Serialize)]
struct Row {
    secret: String,
    rotations: u32,
    by_command: u32,
    /// Probes.
    accepted_within_overlap: u32,
    refused_after_overlap: u32,
    accepted_after_overlap: u32,
    /// Milliseconds from the write until every daemon that reads it says so.
    propagation_ms_p50: u64,
    propagation_ms_p99: u64,
}

impl Rotated {
    /// Puts it together.
    pub fn new(source: SourceKind, overlap: Duration, wanted: u32, mut tally: Tally) -> Self {
        for (unit, count) in &tally.units {
            if count.rotations != wanted {
                let line = format!("{unit} was rotated {} times of {wanted}", count.rotations);
                tally.miscounted.add(line);
            }
        }
        Self {
            source,
            overlap_ms: millis(overlap),
            secrets: tally.units.into_iter().map(row).collect(),
            tokens_minted: tally.minted,
            tls_handshakes: tally.handshakes,
            failed_requests: tally.failed,
            late_acceptances: tally.late,
            miscounted: tally.miscounted,
        }
    }

    /// Adds requests that somebody else counted as failed.
    pub fn add_failed(&mut self, failed: impl IntoIterator<Item = String>) {
        failed.into_iter().for_each(|what| self.failed_requests.add(what));
    }

    /// Whether nothing failed, nothing was accepted too late, and every refusal means something.
    pub fn is_clean(&self) -> bool {
        self.wrong() == 0 && self.unproved().is_empty()
    }

    fn wrong(&self) -> u64 {
        self.failed_requests.count + self.late_acceptances.count + self.miscounted.count
    }

    /// The secrets of which no retired value was seen to be accepted first and refused then: a probe that is always
    /// refused proves nothing.
    fn unproved(&self) -> Vec<&str> {
        let proved = |row: &&Row| {
            // The edge shows its certificate and accepts none.
            let within = row.accepted_within_overlap * 2 >= row.rotations;
            let after = row.refused_after_overlap >= row.rotations;
            (within || row.secret.starts_with("PROXYD_TLS")) && after
        };
        self.secrets.iter().filter(|row| !proved(row)).map(|row| row.secret.as_str()).collect()
    }

    /// What is wrong, in a few words.
    pub fn faulty(&self) -> String {
        let mut said = format!(
            "{} requests failed, {} retired values were accepted after their overlap, {} rotations were miscounted",
            self.failed_requests.count, self.late_acceptances.count, self.miscounted.count
        );
        let unproved = self.unproved();
        if !unproved.is_empty() {
            said.push_str(", and the probes prove nothing for ");
            said.push_str(&unproved.join(" "));
        }
        said
    }

    /// As text.
    pub fn text(&self) -> String {
        let row = |row: &Row| {
            let numbers = [
                u64::from(row.rotations),
                u64::from(row.by_command),
                u64::from(row.accepted_within_overlap),
                u64::from(row.refused_after_overlap),
                u64::from(row.accepted_after_overlap),
                row.propagation_ms_p50,
                row.propagation_ms_p99,
            ];
            let numbers = numbers.iter().map(ToString::to_string);
            std::iter::once(row.secret.clone()).chain(numbers).collect()
        };
        let rows: Vec<Vec<String>> = self.secrets.iter().map(row).collect();
        let head = [
            "SECRET",
            "ROTATED",
            "BY COMMAND",
            "OLD TAKEN WITHIN",
            "OLD REFUSED AFTER",
            "OLD TAKEN AFTER",
            "EVERYWHERE p50 ms",
            "p99 ms",
        ];
        let mut text = format!(
            "{}\n{} requests failed, {} late acceptances, {} miscounted; {} tokens minted, {} TLS handshakes; overlap {} ms\n",
            table(&head, &rows),
            self.failed_requests.count,
            self.late_acceptances.count,
            self.miscounted.count,
            self.tokens_minted,
            self.tls_handshakes,
            self.overlap_ms,
        );
        let kinds = [
            ("failed", &self.failed_requests),
            ("accepted too late", &self.late_acceptances),
            ("miscounted", &self.miscounted),
        ];
        for (kind, findings) in kinds {
            for finding in &findings.first {
                text.push_str(&format!("{kind}: {finding}\n"));
            }
        }
        text
    }
}

fn row((secret, count): (String, Count)) -> Row {
    let mut took: Vec<u64> = count.took.iter().map(|took| millis(*took)).collect();
    took.sort_unstable();
    Row {
        secret,
        rotations: count.rotations,
        by_command: count.by_command,
        accepted_within_overlap: count.accepted_within,
        refused_after_overlap: count.refused_after,
        accepted_after_overlap: count.accepted_after,
        propagation_ms_p50: nearest_rank(&took, 50),
        propagation_ms_p99: nearest_rank(&took, 99),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Tally {
        let count = Count {
            rotations: 3,
            accepted_within: 3,
            refused_after: 3,
            took: vec![Duration::from_millis(7); 3],
            ..Count::default()
        };
        let units = [("CHANNEL_SECRET".to_owned(), count)].into();
        Tally { units, ..Tally::default() }
    }

    fn made(tally: Tally) -> Rotated {
        Rotated::new(SourceKind::Dotenv, Duration::from_secs(1), 3, tally)
    }

    #[test]
    fn a_run_is_clean_only_where_every_refusal_means_something() {
        assert!(made(good()).is_clean());
        let spoil = |spoil: fn(&mut Count)| {
            let mut tally = good();
            tally.units.values_mut().for_each(spoil);
            made(tally)
        };
        assert!(!spoil(|count| count.rotations = 2).is_clean(), "one was not taken up");
        assert!(!spoil(|count| count.accepted_within = 0).is_clean(), "always refused");
        let unprobed = spoil(|count| count.refused_after = 2);
        assert!(!unprobed.is_clean(), "one was not probed");
        assert!(unprobed.faulty().contains("CHANNEL_SECRET"), "{}", unprobed.faulty());
    }

    #[test]
    fn one_failure_of_any_kind_is_enough() {
        let with: [fn(&mut Tally) -> &mut Findings; 3] =
            [|tally| &mut tally.failed, |tally| &mut tally.late, |tally| &mut tally.miscounted];
        for findings in with {
            let mut tally = good();
            findings(&mut tally).add("here".into());
            let rotated = made(tally);
            assert!(!rotated.is_clean());
            assert!(rotated.text().contains(": here\n"), "{}", rotated.text());
        }
    }
}
