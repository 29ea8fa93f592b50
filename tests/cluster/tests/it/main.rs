//! The cluster of these tests, met by clients that were written for real ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, with the reason"
)]

use cluster::{Cluster, Image, Options, Runtime};
use std::process::Command;

fn cluster() -> Cluster {
    let shell = Image::Program { program: "/bin/sh".into(), name: "sh".into(), args: Vec::new() };
    Cluster::start(Options {
        runtime: Runtime::Process,
        images: [("shell:1".to_owned(), shell)].into(),
        claims: [("data".to_owned(), std::env::temp_dir())].into(),
        pod_pids: 100,
        node: vec![("pool".into(), "agents".into())],
        classes: vec!["gvisor".into()],
    })
}

fn run(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{errors}");
    said.into_owned()
}

#[test]
fn the_official_python_client_finds_a_cluster() {
    let Some(python) = platforms::tools::python(&["kubernetes"]) else { return };
    let cluster = cluster();
    let script = include_str!("client.py");
    let kubeconfig = cluster.kubeconfig();
    let said = run(Command::new(python)
        .args(["-c", script])
        .arg(&kubeconfig)
        .arg(cluster.token("arizuko", "agent", "nobody", "no-uid")));
    assert!(said.ends_with("all of it\n"), "{said}");
    assert!(cluster.list("jobs").is_empty() && cluster.list("pods").is_empty(), "nothing is left");
}

#[test]
fn kubectl_finds_a_cluster() {
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        eprintln!("kubectl: not verified (not installed)");
        return;
    }
    let cluster = cluster();
    let job = cluster.place().join("job.json");
    let text = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "agent", "image": "shell:1", "args": ["-c", "echo hello"]}]}}}}"#;
    std::fs::write(&job, text).unwrap();
    let kubectl = |args: &[&str]| {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(args);
        run(&mut command)
    };
    kubectl(&["create", "--validate=false", "-f", job.to_str().unwrap()]);
    kubectl(&["wait", "--for=condition=complete", "job/one", "--timeout=30s"]);
    let pods = kubectl(&["get", "pods", "-l", "job-name=one", "-o", "name"]);
    assert_eq!(kubectl(&["logs", pods.trim()]), "hello\n");
    kubectl(&["delete", "job", "one", "--cascade=foreground", "--timeout=30s"]);
    assert_eq!(kubectl(&["get", "jobs", "-o", "name"]), "");
    assert!(kubectl(&["get", "runtimeclasses"]).contains("gvisor"));
    assert!(cluster.list("pods").is_empty(), "nothing is left");
}
