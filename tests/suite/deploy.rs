//! What is under `deploy/` and what the documents tell operators to type holds together, and agrees with the program.
//! The programs of `tests/deploy` examine it, with validators that others wrote.

use crate::harness::program;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names an interpreter that has what `check.py` needs.
const VARIABLE: &str = "DEPLOY_PYTHON";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The daemons of the program, as it tells them.
fn daemons() -> Vec<String> {
    let mut asked = Command::new(program());
    let dir = tempfile::tempdir().unwrap();
    asked.args(["--json", "secrets", "check"]).env("DATA_DIR", dir.path());
    let out = asked.output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut found: Vec<String> = Vec::new();
    for row in told["findings"].as_array().unwrap() {
        let name = row["daemon"].as_str().unwrap();
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

#[test]
fn every_daemon_of_the_program_is_wherever_daemons_are_listed() {
    let daemons = daemons();
    assert!(daemons.len() >= 10, "{daemons:?}");
    for daemon in daemons {
        for (place, expected) in [
            ("deploy/docker/rootfs", daemon.clone()),
            ("deploy/compose/compose.yaml", format!("  {daemon}:\n")),
            ("deploy/compose/compose.yaml", format!("/{daemon}:/var/run/secrets/arizuko:ro")),
            ("deploy/systemd/arizuko.target", format!("arizuko-{daemon}.service")),
            ("deploy/systemd/arizuko.sysusers", format!("g arizuko-{daemon} -")),
            (&format!("deploy/systemd/arizuko-{daemon}.service"), format!("run {daemon}\n")),
            ("deploy/kubernetes/base/70-deployment.yaml", format!("args: [run, {daemon}]")),
            ("deploy/helm/arizuko/templates/deployment.yaml", format!("args: [run, {daemon}]")),
            ("deploy/prometheus/prometheus.yaml", format!("daemon: {daemon} ")),
            ("tests/deploy/check.py", format!("\"{daemon}\"")),
        ] {
            assert!(read(place).contains(&expected), "{place} has no `{}`", expected.trim());
        }
        if daemon != "authd" {
            let key = format!("AUTHD_SERVICE_KEY_{}", daemon.to_uppercase());
            assert!(read("deploy/kubernetes/make-secret").contains(&key), "make-secret: {key}");
            let listed = read("deploy/compose/secrets");
            let listed = listed.lines().find(|line| line.starts_with("daemons=")).unwrap();
            assert!(listed.contains(&daemon), "deploy/compose/secrets: {daemon}");
        }
    }
}

#[test]
fn manifests_overlays_and_chart_are_what_they_say() {
    let mut places: Vec<PathBuf> =
        std::env::var_os(VARIABLE).map(PathBuf::from).into_iter().collect();
    places.push(root().join("target/ci-tools/bin/python3"));
    places.push("python3".into());
    let has = |python: &PathBuf| {
        let mut asked = Command::new(python);
        asked.args(["-c", "import kubernetes_validate, yaml"]).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    let Some(python) = places.into_iter().find(has) else {
        eprintln!(
            "deploy: not verified (no kubernetes-validate; name an interpreter that has it in {VARIABLE})"
        );
        return;
    };
    let mut command = Command::new(python);
    let out = command.arg(root().join("tests/deploy/check.py")).arg("--program").arg(program());
    let out = out.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    eprintln!("{said}");
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

/// Runs a program of `tests/deploy` with the interpreter of the tests, or whichever there is.
fn examined(script: &str, more: &[&str]) {
    let ours = root().join("target/ci-tools/bin/python3");
    let python = if ours.exists() { ours } else { "python3".into() };
    if !Command::new(&python).arg("--version").output().is_ok_and(|out| out.status.success()) {
        eprintln!("deploy: {script} not verified (no Python)");
        return;
    }
    let mut command = Command::new(python);
    let out = command.arg(root().join("tests/deploy").join(script)).args(more).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    eprintln!("{said}");
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn alerts_fire_when_they_should_and_the_dashboard_asks_for_what_there_is() {
    let program = program();
    examined("alerts.py", &["--program", program.to_str().unwrap()]);
}

#[test]
fn the_reference_of_metrics_is_what_the_daemons_tell() {
    let program = program();
    examined("metrics.py", &["--program", program.to_str().unwrap()]);
}

#[test]
fn every_command_of_the_documents_works_as_it_is_written() {
    let program = program();
    examined("commands.py", &["--program", program.to_str().unwrap()]);
}

#[test]
fn the_simulation_of_a_fleet_still_follows_the_source() {
    examined("../bench/fleet", &["200"]);
}

#[test]
fn systemd_takes_the_units_as_they_are() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("deploy: units not verified (no systemd-analyze)");
        return;
    };
    assert!(found.status.success());
    // A copy whose program is there: what is verified is the units, not this machine.
    let place = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for entry in fs::read_dir(root().join("deploy/systemd")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(place.path().join(&name), text.replace("/usr/local/bin/arizuko", "/bin/true"))
            .unwrap();
        if name.ends_with(".service") {
            units.push(name);
        }
    }
    for unit in units {
        let mut asked = Command::new("systemd-analyze");
        asked.args(["verify", "--man=no"]).arg(place.path().join(&unit));
        asked.env("SYSTEMD_UNIT_PATH", format!("{}:", place.path().display()));
        let out = asked.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        let ours: Vec<_> = said.lines().filter(|line| line.contains("arizuko")).collect();
        assert!(out.status.success() && ours.is_empty(), "{unit}: {said}");
    }
}
