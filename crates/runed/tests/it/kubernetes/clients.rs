//! The cluster of these tests, met by clients that were written for real ones. Where one is not installed, its test says
//! so and verifies nothing.

use cluster::{Cluster, Image, Options, Runtime};
use std::path::Path;
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
        ..Options::default()
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
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools/bin/python3");
    let has = Command::new(&tools).args(["-c", "import kubernetes"]).output();
    if !has.is_ok_and(|out| out.status.success()) {
        eprintln!("Python with kubernetes: not verified (not installed)");
        return;
    }
    let cluster = cluster();
    let said = run(Command::new(tools)
        .args(["-c", include_str!("client.py")])
        .arg(cluster.kubeconfig())
        .arg(cluster.token("arizuko", "agent", "nobody", "no-uid")));
    assert!(said.ends_with("all of it\n"), "{said}");
    assert!(cluster.list("jobs").is_empty() && cluster.list("pods").is_empty(), "nothing is left");
}

#[test]
fn kubectl_finds_a_cluster() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
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
        command.env("HOME", cluster.place());
        run(command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(args))
    };
    kubectl(&["create", "--validate=false", "-f", job.to_str().unwrap()]);
    kubectl(&["wait", "--for=condition=complete", "job/one", "--timeout=30s"]);
    let pods = kubectl(&["get", "pods", "-l", "job-name=one", "-o", "name"]);
    assert_eq!(kubectl(&["logs", pods.trim()]), "hello\n");
    kubectl(&["delete", "job", "one", "--cascade=foreground", "--timeout=30s"]);
    assert_eq!(kubectl(&["get", "jobs", "-o", "name"]), "");
    assert!(kubectl(&["get", "runtimeclasses", "-o", "name"]).contains("gvisor"));
    assert!(cluster.list("pods").is_empty(), "nothing is left");
}
