//! A suite that is injured all the time keeps every message; and the ledger that says so can say otherwise.

use crate::harness::Suite;
use serde_json::Value;
use std::{fs, path::Path};

/// Runs `arizuko chaos`; its exit code and what it printed.
fn chaos(args: &[&str]) -> (Option<i32>, Value) {
    let out = Suite::new().run(&[&["--json", "chaos"], args].concat());
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    let report = serde_json::from_slice(&out.stdout);
    let report = report.unwrap_or_else(|error| panic!("no report ({error}): {errors}"));
    (out.status.code(), report)
}

#[test]
fn no_message_is_lost_or_doubled_under_two_hundred_faults() {
    let (code, report) = chaos(&["--messages", "5000", "--faults", "200", "--seed", "7"]);
    let ledger = &report["ledger"];
    let number = |name: &str| ledger[name].as_u64().unwrap();
    assert_eq!(number("sent"), 5_000, "{ledger}");
    let ends = ["answered", "silent", "interrupted", "failed", "ambiguous"];
    assert_eq!(ends.map(number).iter().sum::<u64>(), 5_000, "each has one end: {ledger}");
    assert!(number("answered") > 3_000, "most are answered whatever happens: {ledger}");
    for wrong in ["lost", "doubled"] {
        assert_eq!(number(wrong), 0, "{ledger}");
    }
    // A clock that is set by hours while routd is down can end the wait for one answer in doubt; see docs/figures.md.
    let late = number("out_of_order");
    let sets = report["faults"].as_object().unwrap().iter();
    let sets = sets.filter(|(what, _)| what.starts_with("clock")).filter_map(|(_, n)| n.as_u64());
    assert!(late <= sets.sum::<u64>(), "{report:#}");
    assert_eq!(code, Some(if late == 0 { 0 } else { 70 }), "{report:#}");
    assert!(number("repeats") > 0, "clients sent again: {ledger}");
    let faults = report["faults"].as_object().unwrap();
    let injected: u64 = faults.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(injected, 200, "{faults:?}");
    for what in ["disk", "clock"] {
        assert!(
            report[what].as_str().is_some_and(|how| !how.is_empty()),
            "it says how: {report:#}"
        );
    }
    let doubts = report["ambiguous"].as_array().unwrap();
    assert_eq!(doubts.len() as u64, number("ambiguous"));
    assert!(doubts.iter().all(|row| row["explained"] == true), "{doubts:?}");
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len() as u64, late, "{problems:?}");
    for empty in ["refused", "deaths"] {
        assert_eq!(report[empty].as_array().map(Vec::len), Some(0), "{report:#}");
    }
    let directory = Path::new(report["directory"].as_str().unwrap());
    assert_eq!(directory.exists(), late > 0, "nothing is left behind: {}", directory.display());
    if late > 0 {
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn a_reply_that_a_platform_shows_twice_is_found() {
    // An adapter that says that it remembers keys, and does not, is asked again and shows it again.
    let args = ["--messages", "60", "--faults", "0", "--seed", "1", "--prove"];
    let (code, report) = chaos(&args);
    assert_eq!(code, Some(70), "{report:#}");
    assert!(report["ledger"]["doubled"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(report["ledger"]["lost"], 0);
    let problems = report["problems"].as_array().unwrap();
    let doubled = problems.iter().find(|one| one["verdict"] == "doubled").unwrap();
    assert!(doubled["why"].as_str().unwrap().contains("2 times"), "{doubled}");
    let steps = doubled["trace"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["what"] == "outbox.sent"), "{doubled}");
    let directory = report["directory"].as_str().unwrap();
    assert!(Path::new(directory).join("routd.log").exists(), "it is kept: {directory}");
    fs::remove_dir_all(directory).unwrap();
}
