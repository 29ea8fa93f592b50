//! `arizuko doctor`.

use crate::{
    cli::Doctor,
    doctor::{self, Finding, Level, Wanted},
    failure::Failure,
    instance::{Environment, Instance},
    output::{Mark, Output},
};
use serde::Serialize;

#[derive(Serialize)]
struct Report {
    instance: String,
    findings: Vec<Finding>,
}

pub(super) async fn run(
    instance: &Instance,
    environment: &Environment,
    args: &Doctor,
    output: Output,
) -> Result<(), Failure> {
    let wanted = Wanted { turn: (!args.no_turn).then_some(args.timeout) };
    let findings = doctor::examine(instance, environment, wanted).await;
    let report = Report { instance: instance.name.clone(), findings };
    output.print(&report, |report| text(&report.findings, output))?;
    doctor::verdict(&report.findings)
}

fn text(findings: &[Finding], output: Output) -> String {
    let line = |one: &Finding| {
        let mark = match one.level {
            Level::Good => output.mark("good   ", Mark::Good),
            Level::Advice => output.mark("advice ", Mark::Doubtful),
            Level::Unknown => output.mark("unknown", Mark::Doubtful),
            Level::Problem => output.mark("problem", Mark::Bad),
        };
        let next =
            one.next.as_ref().map(|next| format!("\n         -> {next}")).unwrap_or_default();
        format!("{mark}  {}: {}: {}{next}", one.check, one.place, one.what)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}
