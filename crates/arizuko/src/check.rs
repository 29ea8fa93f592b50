//! Reading the configured sources as each daemon would, without running any.

use crate::{
    daemons::{PROGRAMS, bundles},
    failure::Failure,
    instance::{Environment, Instance},
    otlp, sources,
};
use kit::{AUTHD_SERVICE_KEY, Settings};
use proto::Daemon;
use secrets::{AnyBundle, Name, SecretSource, probe};
use serde::Serialize;
use std::sync::Arc;

/// What reading the sources came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The sources, in the order in which they are asked.
    pub sources: Vec<String>,
    /// One for each bundle of each daemon.
    pub findings: Vec<Finding>,
}

/// What one daemon would find of one bundle.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Which daemon.
    pub daemon: Daemon,
    /// The names that were found, or all of the bundle where none was.
    pub names: String,
    /// Where they were found, or what each source said.
    pub found: String,
    /// What is wrong and what to do; `null` where nothing is.
    pub problem: Option<String>,
    /// Whether a source has it.
    #[serde(rename = "there")]
    pub is_there: bool,
}

/// Reads every bundle of every daemon.
///
/// # Errors
/// The list of sources does not parse.
pub async fn report(instance: &Instance, environment: &Environment) -> Result<Report, Failure> {
    let chain = sources::chain(instance, environment)?;
    let sources = chain.iter().map(|source| format!("{} ({})", source.place(), source.kind()));
    let mut report = Report { sources: sources.collect(), findings: Vec::new() };
    for program in PROGRAMS {
        for bundle in bundles(program) {
            report.findings.push(finding(program.daemon, bundle, &chain).await);
        }
        if let Some(bundle) = otlp::bundles(&instance.settings) {
            report.findings.push(finding(program.daemon, bundle, &chain).await);
        }
    }
    need_a_service_key(&mut report);
    need_what_is_set(&mut report, &instance.settings);
    Ok(report)
}

/// authd has a bundle for each key, and can do without any of them; not without all.
fn need_a_service_key(report: &mut Report) {
    let shared = &AUTHD_SERVICE_KEY.to_string();
    let is_key = |of: &&mut Finding| of.daemon == Daemon::Authd && of.names.starts_with(shared);
    let mut keys: Vec<&mut Finding> = report.findings.iter_mut().filter(is_key).collect();
    // Its source is shown where it is there, and its problem where it will not do.
    if keys.iter().any(|of| of.is_there || of.problem.is_some()) {
        return;
    }
    if let Some(first) = keys.iter_mut().find(|of| of.names == *shared) {
        first.problem = Some(authd::NO_SERVICE_KEY.into());
    }
}

/// What nothing requires by itself, and what a setting asks for that is of no use without it.
const NEEDED: [(&str, &str); 2] = [
    ("TELEGRAM_WEBHOOK_URL", "TELEGRAM_WEBHOOK_SECRET"),
    ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"),
];

fn need_what_is_set(report: &mut Report, settings: &Settings) {
    for (setting, secret) in NEEDED {
        if settings.raw(setting, "").0.is_empty() {
            continue;
        }
        let absent = |of: &&mut Finding| of.names == secret && !of.is_there && of.problem.is_none();
        for finding in report.findings.iter_mut().filter(absent) {
            finding.problem = Some(format!(
                "{setting} is set, which needs it, and it is in no source; give it with `arizuko secrets set {secret}`, or take {setting} back"
            ));
        }
    }
}

async fn finding(
    daemon: Daemon,
    bundle: &'static dyn AnyBundle,
    chain: &[Arc<dyn SecretSource>],
) -> Finding {
    let probe = probe(chain, bundle, sources::PATIENCE).await;
    let all = bundle.needs().iter().map(|need| &need.name);
    let names: Vec<&str> = match probe.present.as_slice() {
        [] => all.map(Name::as_str).collect(),
        present => present.iter().map(Name::as_str).collect(),
    };
    let is_there = probe.source.is_some();
    let found = match (probe.source, probe.asked.is_empty()) {
        (Some(source), _) => source,
        (None, true) => String::new(),
        (None, false) => "in no source, which is fine: nothing requires it".into(),
    };
    Finding { daemon, names: names.join(", "), found, problem: probe.problem, is_there }
}
