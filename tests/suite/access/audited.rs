//! What the log and the owners' databases say of refusals.

use crate::harness::Suite;
use serde_json::Value;
use std::{collections::BTreeSet, fs};

/// The daemons that have an audit log of their own.
pub const OWNERS: [&str; 4] = ["authd", "routd", "runed", "onbod"];

/// A refusal, as it is to be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    pub daemon: String,
    pub subject: String,
    pub route: String,
    pub status: u16,
    pub reason: String,
    pub from: String,
}

/// The refusals that the log tells of.
fn logged(suite: &Suite, log: &str) -> BTreeSet<Refused> {
    let text = fs::read_to_string(suite.scratch(log)).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let audit = lines.filter(|line| {
        line["target"] == "arizuko::audit" && line["message"] == "a request was refused"
    });
    audit
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            assert!(line["times"].as_u64().unwrap() >= 1, "{line}");
            Refused {
                daemon: text("daemon"),
                subject: text("subject"),
                route: text("route"),
                status: u16::try_from(line["status"].as_u64().unwrap()).unwrap(),
                reason: text("reason"),
                from: text("from"),
            }
        })
        .collect()
}

/// The refusals that the owners have written down.
pub fn kept(suite: &Suite) -> BTreeSet<Refused> {
    let rows = suite.json(&["audit", "--limit", "100000"]);
    let rows = rows.as_array().unwrap().iter().filter(|row| row["action"] == "request.refuse");
    rows.map(|row| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let detail = text("detail");
        let field = |name: &str| {
            let found = detail.split(' ').find_map(|field| field.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {detail}")).to_owned()
        };
        assert!(field("times=").parse::<u64>().unwrap() >= 1);
        Refused {
            daemon: text("daemon"),
            subject: text("actor"),
            route: text("target"),
            status: field("status=").parse().unwrap(),
            reason: field("reason="),
            from: field("from="),
        }
    })
    .collect()
}

/// Waits until all of `wanted` is in the log and, where the daemon has one, in its audit log.
pub fn all(suite: &Suite, logs: &[&str], wanted: &BTreeSet<Refused>) {
    let mut found = BTreeSet::new();
    for log in logs {
        found.extend(logged(suite, log));
    }
    let missing: Vec<_> = wanted.difference(&found).collect();
    assert!(missing.is_empty(), "{} refusals have no log line: {missing:#?}", missing.len());
    let owned: BTreeSet<Refused> =
        wanted.iter().filter(|r| OWNERS.contains(&r.daemon.as_str())).cloned().collect();
    // Written off the path of the request: soon, and not at once.
    let mut missing = owned;
    for _look in 0..40 {
        let kept = kept(suite);
        missing.retain(|refused| !kept.contains(refused));
        if missing.is_empty() {
            return;
        }
    }
    panic!("{} refusals have no row: {missing:#?}", missing.len());
}

/// That nothing of `credentials` stands in the log or the rows.
pub fn without(suite: &Suite, logs: &[&str], credentials: &BTreeSet<String>) {
    let mut all = suite.ok(&["--json", "audit", "--limit", "100000"]);
    for log in logs {
        all.push_str(&fs::read_to_string(suite.scratch(log)).unwrap());
    }
    for credential in credentials {
        let leaked = all.contains(credential.as_str());
        assert!(!leaked, "a credential is written down: {credential}");
    }
}
