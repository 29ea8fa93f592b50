//! Every secret rotates a hundred times while people write, and nobody notices.

use crate::harness::{Store, Suite};
use serde_json::Value;
use std::path::Path;

const TIMES: u64 = 100;
/// In a server, which is polled: each takes a second or two.
const TIMES_IN_SERVER: u64 = 10;

/// What one place for all daemons has.
const IN_ONE_PLACE: [&str; 11] = [
    "AUTHD_SERVICE_KEY",
    "AUTHD_SERVICE_KEY_ONBOD",
    "AUTHD_SERVICE_KEY_PROXYD",
    "AUTHD_SERVICE_KEY_ROUTD",
    "AUTHD_SERVICE_KEY_TIMED",
    "AUTHD_SERVICE_KEY_WEBD",
    "CHANNEL_SECRET",
    "CHANNEL_SECRET_SLAKD",
    "CHANNEL_SECRET_TELED",
    "PROXYD_TLS_CERT+PROXYD_TLS_KEY",
    "SECRETS_KEY",
];

/// Runs `arizuko chaos` with rotations; its exit code and what it printed.
fn rotate(args: &[&str]) -> (Option<i32>, Value) {
    let out = Suite::new().run(&[&["--json", "chaos"], args].concat());
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    let report = serde_json::from_slice(&out.stdout);
    let report = report.unwrap_or_else(|error| panic!("no report ({error}): {errors}"));
    (out.status.code(), report)
}

/// As the report names it, `source` is where `from` leads.
fn many(count: u64, from: &str, source: &str, expected: &[&str]) {
    let times = count.to_string();
    let (code, report) = rotate(&["--rotations", &times, "--from", from, "--seed", "5"]);
    assert_eq!(code, Some(0), "{report:#}");
    let ledger = &report["ledger"];
    assert_eq!(ledger["sent"], count * 3, "{ledger}");
    for wrong in ["lost", "doubled", "out_of_order", "ambiguous"] {
        assert_eq!(ledger[wrong], 0, "{ledger}");
    }
    let rotated = &report["rotations"];
    assert_eq!(rotated["source"], source);
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let rows = rotated["secrets"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["secret"].as_str().unwrap()).collect();
    assert_eq!(names, expected);
    for row in rows {
        assert_eq!(number(row, "rotations"), count, "{row}");
        assert_eq!(number(row, "refused_after_overlap"), count, "{row}");
        assert_eq!(number(row, "accepted_after_overlap"), 0, "{row}");
        let certificate = row["secret"] == "PROXYD_TLS_CERT+PROXYD_TLS_KEY";
        // A refusal means something where the same question was answered otherwise before.
        assert!(certificate || number(row, "accepted_within_overlap") >= count / 2, "{row}");
        let by_command = source != "directory" && !certificate;
        assert_eq!(number(row, "by_command"), if by_command { count / 10 } else { 0 }, "{row}");
    }
    for kind in ["failed_requests", "late_acceptances", "miscounted"] {
        assert_eq!(number(&rotated[kind], "count"), 0, "{rotated:#}");
    }
    assert!(number(rotated, "tokens_minted") > count, "tokens were minted all the time");
    assert!(number(rotated, "tls_handshakes") > count / 2, "and handshakes made");
    for empty in ["problems", "refused", "deaths"] {
        assert_eq!(report[empty].as_array().map(Vec::len), Some(0), "{report:#}");
    }
    let directory = report["directory"].as_str().unwrap();
    assert!(!Path::new(directory).exists(), "nothing is left behind: {directory}");
}

#[test]
fn every_secret_of_a_dotenv_rotates_a_hundred_times_under_load() {
    many(TIMES, "dotenv", "dotenv", &IN_ONE_PLACE);
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn every_secret_of_projected_directories_rotates_a_hundred_times_under_load() {
    many(
        TIMES,
        "directory",
        "directory",
        &[
            "AUTHD_SERVICE_KEY",
            "AUTHD_SERVICE_KEY_ONBOD",
            "AUTHD_SERVICE_KEY_PROXYD",
            "AUTHD_SERVICE_KEY_ROUTD",
            "AUTHD_SERVICE_KEY_RUNED",
            "AUTHD_SERVICE_KEY_TIMED",
            "CHANNEL_SECRET",
            "CHANNEL_SECRET_TELED",
            "CHANNEL_SECRET_WEBD",
            "PROXYD_TLS_CERT+PROXYD_TLS_KEY",
            "SECRETS_KEY",
        ],
    );
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn every_secret_in_openbao_rotates_under_load() {
    in_server("vault");
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn every_secret_in_secrets_manager_rotates_under_load() {
    in_server("aws");
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn every_secret_in_secret_manager_rotates_under_load() {
    in_server("gcp");
}

fn in_server(kind: &str) {
    let Some(store) = Store::start(kind) else { return };
    many(TIMES_IN_SERVER, &store.url("&calls_per_hour=600000"), "server", &IN_ONE_PLACE);
}

#[test]
fn faults_and_rotations_are_not_mixed() {
    let out = Suite::new().run(&["chaos", "--rotations", "1", "--faults", "1"]);
    assert_eq!(out.status.code(), Some(64));
    let line = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(line.contains("--faults 0"), "{line}");
    assert!(out.stdout.is_empty(), "nothing was begun");
}
