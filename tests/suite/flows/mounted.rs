//! `arizuko secrets rotate`, `set` and `forget` on a Kubernetes Secret, from a machine that has a kubeconfig and nothing
//! of the instance: the manifests' own pod, its volumes as a kubelet fills them, and the API on the wire.

use crate::harness::{Tls, Town, View, eventually, reply_of};
use cluster::{ACCOUNT, CLERK, OPERATOR, VIEWER};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

const PLACE: [&str; 2] = ["--kubernetes-secret", "arizuko/arizuko"];

fn failed(out: &Output) -> (i32, String) {
    assert!(
        !out.status.success(),
        "it was meant to fail: {}",
        String::from_utf8_lossy(&out.stdout)
    );
    (out.status.code().unwrap(), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Runs `arizuko secrets set` with a value.
fn set(town: &Town, name: &str, value: &str) -> Output {
    let mut command = town.workstation(OPERATOR);
    command.args(["--json", "secrets", "set", name]).args(PLACE);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(out: &Output) -> Value {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// That what the kubelet would have brought after a minute came at once.
fn at_once(renewed: &Value) {
    let file = renewed["source_to_file_ms"].as_u64().unwrap();
    assert!(file < 55_000, "the pod was not touched: {renewed}");
    assert!(file > 0, "a file takes longer than no time: {renewed}");
    assert!(renewed["file_to_last_use_ms"].is_u64(), "{renewed}");
    eprintln!(
        "{}: {file} ms to the file, {} ms to its last use",
        renewed["secret"], renewed["file_to_last_use_ms"]
    );
}

#[test]
fn a_secret_of_a_cluster_is_rotated_from_afar_and_every_daemon_has_it_when_the_command_ends() {
    let town = Town::made();
    let before = town.secret();
    let renewed = town.operated(&["rotate", "CHANNEL_SECRET_WEBD"]);
    // Whoever presents it and whoever checks it, each under the name that it has there.
    assert_eq!(renewed["daemons"], json!(["routd", "webd"]));
    assert!(renewed["previous_accepted_until"].is_string());
    at_once(&renewed);
    let after = town.secret();
    assert_eq!(after["CHANNEL_SECRET_WEBD_PREVIOUS"], before["CHANNEL_SECRET_WEBD"]);
    assert_ne!(after["CHANNEL_SECRET_WEBD"], before["CHANNEL_SECRET_WEBD"]);
    let mut others = after.clone();
    others.retain(|name, _| !name.starts_with("CHANNEL_SECRET_WEBD"));
    let mut others_before = before.clone();
    others_before.remove("CHANNEL_SECRET_WEBD");
    assert_eq!(others, others_before, "no other key was touched");
    assert!(town.pod()["metadata"]["annotations"]["arizuko/touched"].is_string());

    let renewed = town.operated(&["rotate", "SECRETS_KEY"]);
    assert_eq!(renewed["daemons"].as_array().unwrap().len(), 2, "{renewed}");
    at_once(&renewed);
    let forgotten = town.operated(&["forget", "SECRETS_KEY"]);
    assert_eq!(forgotten["removed_previous"], true);
    assert!(!town.secret().contains_key("SECRETS_KEY_PREVIOUS"));
    assert_eq!(town.suite.ok(&["ask", "again"]).trim(), reply_of("again"));

    let calls = town.cluster.calls();
    let ours: Vec<_> = calls.iter().filter(|call| call.user == OPERATOR).collect();
    assert!(ours.iter().all(|call| !call.denied), "{ours:?}");
    let of_the_suite = calls.iter().filter(|call| call.user == ACCOUNT);
    let foreign = of_the_suite.filter(|call| {
        call.resource == "secrets" || call.verb == "patch" || call.resource == "pods/exec"
    });
    assert_eq!(foreign.count(), 0, "no account of the suite has a part in it");
    let restarts = town.pod()["status"]["containerStatuses"].clone();
    assert!(restarts.as_array().unwrap().iter().all(|of| of["restartCount"] == 0), "{restarts}");
}

/// What a daemon says is the value that it uses under a name.
fn print_of(town: &Town, daemon: &str, name: &str) -> String {
    let all = town.suite.secrets()[daemon]["secrets"].as_array().unwrap().clone();
    let state = all.into_iter().find(|state| state["name"] == name).unwrap();
    state["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn the_command_lasts_until_the_last_daemon_has_the_value_and_touches_the_pod_until_then() {
    let town = Town::made();
    let of_webd = || print_of(&town, "webd", "CHANNEL_SECRET");
    let of_routd = || print_of(&town, "routd", "CHANNEL_SECRET_WEBD");
    let old = (of_webd(), of_routd());
    town.cluster.hold("webd-secrets");
    let mut command = town.workstation(OPERATOR);
    command.args(["secrets", "rotate", "CHANNEL_SECRET_WEBD"]).args(PLACE);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let waits = lines.find(|line| line.as_ref().unwrap().contains("waiting until"));
    let waits = waits.expect("it waits for what has not come").unwrap();
    assert!(waits.contains("webd has the old one"), "{waits}");
    eventually("the other daemon has it", || (of_routd() != old.1).then_some(()));
    assert_eq!(of_webd(), old.0);
    assert!(child.try_wait().unwrap().is_none(), "it has ended, and webd has the old value");

    town.cluster.let_go("webd-secrets");
    let let_go = Instant::now();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("in use by routd, webd"), "{said}");
    // The kubelet by itself looks a minute after its last look.
    assert!(let_go.elapsed() < Duration::from_secs(45), "it was touched once: {let_go:?}");
    assert_ne!(of_webd(), old.0);
}

#[test]
fn what_leaked_is_refused_when_the_command_ends() {
    let town = Town::made();
    let (before, view) =
        (town.secret(), View::new(&town.suite, &town.secret()["AUTHD_SERVICE_KEY_DASHD"]));
    let old = &before["AUTHD_SERVICE_KEY_TIMED"];
    assert!(view.token_of("timed", old).is_ok());
    let renewed = town.operated(&["rotate", "AUTHD_SERVICE_KEY_TIMED", "--leaked"]);
    assert_eq!(renewed["daemons"], json!(["authd", "timed"]));
    assert_eq!(view.token_of("timed", old), Err(401));
    let after = town.secret();
    assert!(!after.contains_key("AUTHD_SERVICE_KEY_TIMED_PREVIOUS"), "it is kept nowhere");
    assert!(view.token_of("timed", &after["AUTHD_SERVICE_KEY_TIMED"]).is_ok());

    let renewed = town.operated(&["rotate", "SECRETS_KEY", "--leaked"]);
    assert_eq!(renewed["leaked"], true);
    let after = town.secret();
    assert!(!after.contains_key("SECRETS_KEY_PREVIOUS"));
    let status = town.suite.json(&["secrets", "status"]);
    for database in status["databases"].as_array().unwrap() {
        assert_eq!(database["opened_by"].as_array().unwrap().len(), 1, "{database}");
    }
    eventually("an answer", || {
        let asked = town.suite.run(&["ask", "still"]);
        (String::from_utf8_lossy(&asked.stdout).trim() == reply_of("still")).then_some(())
    });
}

#[test]
fn a_value_is_set_judged_first_and_taken_up() {
    let town = Town::made();
    let out = said(&set(&town, "ANTHROPIC_API_KEY", "sk-ant-first-0123456789"));
    assert_eq!(out["daemons"], json!(["routd"]));
    at_once(&out);
    let out = said(&set(&town, "ANTHROPIC_API_KEY", "sk-ant-first-0123456789"));
    assert_eq!(out["was_there"], true, "and nothing is waited for");
    // One of two that belong together is not waited for; its files are brought all the same.
    let touched = || town.pod()["metadata"]["annotations"]["arizuko/touched"].clone();
    let earlier = touched();
    let out = said(&set(&town, "PROXYD_TLS_CERT", &Tls::new().cert));
    assert_eq!(out["daemons"], json!([]), "{out}");
    assert_ne!(touched(), earlier);
    let before = town.secret();
    let (code, line) = failed(&set(&town, "SECRETS_KEY", "short"));
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("nothing was written"), "{line}");
    assert_eq!(town.secret(), before);
}

#[test]
fn whoever_else_writes_the_secret_loses_nothing() {
    let town = Town::made();
    let renewed = |change: fn(&mut Value)| {
        town.cluster.meddle(change);
        town.operator(&["rotate", "CHANNEL_SECRET_TELED"])
    };
    let before = town.secret();
    let other = |secret: &mut Value| secret["data"]["OPENAI_API_KEY"] = "c2stb3RoZXI=".into();
    assert!(renewed(other).status.success(), "another key is no reason to give up");
    let after = town.secret();
    assert_eq!(after["OPENAI_API_KEY"], "sk-other", "what somebody else wrote is there");
    assert_eq!(after["CHANNEL_SECRET_TELED_PREVIOUS"], before["CHANNEL_SECRET_TELED"]);

    let same = |secret: &mut Value| secret["data"]["CHANNEL_SECRET_TELED"] = "dGhlaXJz".into();
    let (code, line) = failed(&renewed(same));
    assert_eq!(code, 75, "{line}");
    let last = town.secret();
    assert_eq!(last["CHANNEL_SECRET_TELED"], "theirs", "nothing was written over theirs");
    assert_eq!(last["CHANNEL_SECRET_TELED_PREVIOUS"], before["CHANNEL_SECRET_TELED"]);
}

#[test]
fn what_cannot_be_done_whole_is_refused_before_anything_is_written() {
    let town = Town::made();
    let before = town.secret();
    let rotate = |user: &str, args: &[&str]| {
        let mut command = town.workstation(user);
        failed(&command.args(["secrets", "rotate"]).args(args).output().unwrap())
    };
    let key = "CHANNEL_SECRET_SLAKD";
    // Who may not touch pods or ask in them, though they may write Secrets.
    let (code, line) = rotate(VIEWER, &[key, PLACE[0], PLACE[1]]);
    assert_eq!(code, 77, "{line}");
    assert!(line.contains("pods/exec") && line.contains("nothing was changed"), "{line}");
    // And who may ask in them, and not touch them: the files would come in their own time.
    let (code, line) = rotate(CLERK, &[key, PLACE[0], PLACE[1]]);
    assert_eq!(code, 77, "{line}");
    assert!(line.contains("annotate the pod") && line.contains("nothing was changed"), "{line}");
    for (args, expected, words) in [
        (vec![key, PLACE[0], "arizuko/nowhere"], 65, "no Secret arizuko/nowhere"),
        (vec![key, PLACE[0], "arizuko"], 64, "NAMESPACE/NAME"),
        (vec!["CHANNEL_SECRET_OTHER", PLACE[0], PLACE[1]], 64, "nothing here uses"),
        (vec![key, PLACE[0], PLACE[1], "--kubernetes-context", "none"], 78, "--kubernetes-context"),
    ] {
        let (code, line) = rotate(OPERATOR, &args);
        assert_eq!(code, expected, "{args:?}: {line}");
        assert!(line.contains(words), "{args:?}: {line}");
    }
    let mut nobody = town.workstation(OPERATOR);
    nobody.env("KUBECONFIG", "/nowhere/config").args(["secrets", "rotate", key]).args(PLACE);
    assert_eq!(failed(&nobody.output().unwrap()).0, 78);

    let owned = json!([{"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "arizuko", "uid": "1"}]);
    town.cluster.change("secrets", "arizuko", |secret| {
        secret["metadata"]["ownerReferences"] = owned.clone()
    });
    let (code, line) = rotate(OPERATOR, &[key, PLACE[0], PLACE[1]]);
    assert_eq!(code, 78);
    assert!(line.contains("ExternalSecret arizuko"), "{line}");
    town.cluster.change("secrets", "arizuko", |secret| {
        secret["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        secret["immutable"] = true.into();
    });
    let (code, line) = rotate(OPERATOR, &[key, PLACE[0], PLACE[1]]);
    assert_eq!(code, 78);
    assert!(line.contains("immutable"), "{line}");
    town.cluster.change("secrets", "arizuko", |secret| secret["immutable"] = false.into());

    // One container that has it where it never changes.
    let pod = json!({
        "metadata": {"name": "fixed", "labels": {"app": "other"}},
        "spec": {"restartPolicy": "Never", "nodeSelector": {"none": "such"}, "containers": [
            {"name": "teled", "image": "arizuko:0.1.0", "envFrom": [{"secretRef": {"name": "arizuko"}}]},
        ]},
    });
    town.cluster.create("pods", pod);
    let (code, line) = rotate(OPERATOR, &[key, PLACE[0], PLACE[1]]);
    assert_eq!(code, 78);
    assert!(line.contains("a variable of its environment") && line.contains("fixed"), "{line}");
    assert_eq!(town.secret(), before, "none of them wrote anything");
}

/// What is there is what no daemon could use: to keep it as the value before would lose the one that they use.
#[test]
fn a_key_that_is_not_in_use_is_not_replaced_and_no_pod_is_touched_for_asking() {
    let town = Town::made();
    let touched = || town.pod()["metadata"]["annotations"]["arizuko/touched"].clone();
    let is_refused = || {
        let status = town.suite.run(&["secrets", "status"]);
        String::from_utf8_lossy(&status.stdout).contains("shorter than 32 bytes")
    };
    let good = town.put("SECRETS_KEY", "short");
    eventually("nobody can use what is there", || is_refused().then_some(()));
    let before = town.secret();
    let (code, line) = failed(&town.operator(&["rotate", "SECRETS_KEY"]));
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("put the one before it back first"), "{line}");
    assert!(touched().is_null(), "that it may be touched was only asked");
    assert_eq!(town.secret(), before);
    town.put("SECRETS_KEY", &good);
    eventually("what is there is in use", || (!is_refused()).then_some(()));
    assert!(town.operated(&["rotate", "SECRETS_KEY"])["daemons"].is_array());
}
